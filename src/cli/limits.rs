//! `gatepost limit`: how much may be sent, and where to.

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    accounts::{changed, domain, login, open},
    answer::{Answer, columns},
};
use crate::{
    config::Loaded,
    policy::allowance::LimitKind,
    store::limits::{Destination, Subject, SubjectLimits},
};

/// What to do with limits.
#[derive(Debug, Subcommand)]
pub enum LimitCommand {
    /// Set limits; what is not named stays as it is.
    Set(Box<Setting>),
    /// List all limits.
    List,
}

/// A limit's new value, or "none".
type Most = String;

/// Whose limits, and which.
#[derive(Args, Debug)]
pub struct Setting {
    #[command(flatten)]
    whose: Whose,
    /// With --user: of its app password with this label alone.
    #[arg(long, value_name = "LABEL", requires = "user")]
    app_password: Option<String>,
    /// Recipients of one message at most, or none for any number.
    #[arg(long, value_name = "N")]
    recipients_per_message: Option<Most>,
    /// Octets of one message at most.
    #[arg(long, value_name = "N")]
    message_octets: Option<Most>,
    /// Messages within any hour.
    #[arg(long, value_name = "N")]
    messages_per_hour: Option<Most>,
    /// Messages within any day.
    #[arg(long, value_name = "N")]
    messages_per_day: Option<Most>,
    /// Recipients within any hour, each message's added up.
    #[arg(long, value_name = "N")]
    recipients_per_hour: Option<Most>,
    /// Recipients within any day.
    #[arg(long, value_name = "N")]
    recipients_per_day: Option<Most>,
    /// Recipients within any day, in domains that are not ours, whom the account never wrote to.
    #[arg(long, value_name = "N")]
    new_recipients_per_day: Option<Most>,
    /// Mail may go to this domain only, or "ours" for all domains that were added here; repeat it for
    /// more. "anywhere" takes such a limit away.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "app_password")]
    to: Vec<String>,
}

/// Whose limits.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Of all mail together.
    #[arg(long)]
    site: bool,
    /// Of each account that has no such limit of its own.
    #[arg(long)]
    each_user: bool,
    /// Of all accounts together whose own address is in this domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Of one account.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl LimitCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded) -> Result<Answer> {
        let store = open(loaded).await?;
        let setting = match self {
            LimitCommand::List => return Ok(list(&store.limits().await?)),
            LimitCommand::Set(setting) => setting,
        };
        let subject = setting.subject()?;
        let limits = setting.limits()?;
        let to = &setting.to;
        ensure!(
            !limits.is_empty() || !to.is_empty(),
            "nothing to set; see gatepost limit set --help"
        );
        let destinations = destinations(to)?;
        store.set_limits(&subject, &limits).await?;
        if !to.is_empty() {
            store.set_destinations(&subject, &destinations).await?;
        }
        changed(store, loaded).await?;
        let whose = words(&subject);
        Ok(Answer::done(
            format!("Set limits of {whose}."),
            json!({ "done": "limits set", "whose": whose }),
        ))
    }
}

impl Setting {
    fn subject(&self) -> Result<Subject> {
        let Whose {
            each_user,
            domain: of_domain,
            user,
            ..
        } = &self.whose;
        Ok(match (user, of_domain) {
            (Some(user), _) => match &self.app_password {
                Some(label) => Subject::AppPassword(login(user)?, label.clone()),
                None => Subject::Account(login(user)?),
            },
            (None, Some(text)) => Subject::Domain(domain(text)?.canonical()),
            (None, None) if *each_user => Subject::EachAccount,
            (None, None) => Subject::Site,
        })
    }

    fn limits(&self) -> Result<Vec<(LimitKind, Option<u64>)>> {
        let mut limits = Vec::new();
        for kind in LimitKind::ALL {
            let given = match kind {
                LimitKind::MessageRecipients => &self.recipients_per_message,
                LimitKind::MessageOctets => &self.message_octets,
                LimitKind::MessagesHour => &self.messages_per_hour,
                LimitKind::MessagesDay => &self.messages_per_day,
                LimitKind::RecipientsHour => &self.recipients_per_hour,
                LimitKind::RecipientsDay => &self.recipients_per_day,
                LimitKind::NewRecipientsDay => &self.new_recipients_per_day,
            };
            if let Some(text) = given {
                limits.push((kind, most(text)?));
            }
        }
        Ok(limits)
    }
}

/// A number, or none.
pub(super) fn most(text: &str) -> Result<Option<u64>> {
    if text == "none" {
        return Ok(None);
    }
    let number = text.parse().ok();
    let number = number.with_context(|| format!("\"{text}\" is neither a number nor none"))?;
    Ok(Some(number))
}

fn destinations(texts: &[String]) -> Result<Vec<Destination>> {
    if texts.iter().any(|text| text == "anywhere") {
        ensure!(texts.len() == 1, "anywhere stands alone");
        return Ok(Vec::new());
    }
    let destination = |text: &String| match text.as_str() {
        "ours" => Ok(Destination::Ours),
        name => Ok(Destination::Domain(domain(name)?.canonical())),
    };
    texts.iter().map(destination).collect()
}

fn words(subject: &Subject) -> String {
    match subject {
        Subject::Site => "the site".to_owned(),
        Subject::EachAccount => "each account".to_owned(),
        Subject::Domain(name) => format!("domain {name}"),
        Subject::Account(name) => format!("account {name}"),
        Subject::AppPassword(name, label) => format!("app password {label} of {name}"),
    }
}

fn list(limits: &[(Subject, SubjectLimits)]) -> Answer {
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for (subject, found) in limits {
        let whose = words(subject);
        let mut object = Map::new();
        object.insert("whose".to_owned(), json!(whose));
        for kind in LimitKind::ALL {
            let Some(most) = found.limits.most(kind) else {
                continue;
            };
            rows.push([whose.clone(), kind.as_str().to_owned(), most.to_string()]);
            object.insert(kind.as_str().replace('-', "_"), json!(most));
        }
        let to: Vec<&str> = found.destinations.iter().map(name).collect();
        if !to.is_empty() {
            rows.push([whose, "to".to_owned(), to.join(", ")]);
            object.insert("to".to_owned(), json!(to));
        }
        objects.push(Value::Object(object));
    }
    Answer {
        text: columns(["WHOSE", "LIMIT", "VALUE"], rows.into_iter()),
        objects,
    }
}

fn name(destination: &Destination) -> &str {
    match destination {
        Destination::Ours => "ours",
        Destination::Domain(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(most("12").unwrap(), Some(12));
        assert_eq!(most("none").unwrap(), None);
        assert!(most("-1").is_err() && most("many").is_err() && most("").is_err());
        let texts = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        assert_eq!(destinations(&texts(&["anywhere"])).unwrap(), []);
        assert!(destinations(&texts(&["anywhere", "ours"])).is_err());
        let both = destinations(&texts(&["ours", "Ü.example"])).unwrap();
        let expected = [
            Destination::Ours,
            Destination::Domain("xn--tda.example".to_owned()),
        ];
        assert_eq!(both, expected);
    }
}
