//! `gatepost app-password`: a password for one device or program, made here and shown once.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use jiff::{Timestamp, civil::Date};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    accounts::{changed, domain, login, open},
    answer::{Answer, columns},
    timestamp,
};
use crate::{
    accounts::make_app_password,
    config::Loaded,
    policy::{sending::Rights, throttle::Network},
    smtp::Mailbox,
    store::{
        Store,
        accounts::StoredAccount,
        app_passwords::{Narrowing, NewAppPassword, StoredAppPassword},
    },
};

/// Characters of a label at most.
const LABEL_MAX: usize = 64;
/// App passwords of one account at most: each sign-in looks at all of them.
const PER_ACCOUNT: usize = 64;

/// What to do with app passwords.
#[derive(Debug, Subcommand)]
pub enum AppPasswordCommand {
    /// Make one and show it, this once.
    Add {
        /// The account's login name.
        user: String,
        /// What it is for, such as phone.
        #[arg(long)]
        label: String,
        /// It may send as this address only; repeat it for more.
        #[arg(long, value_name = "ADDRESS")]
        send_as: Vec<String>,
        /// It may send to this domain only; repeat it for more.
        #[arg(long, value_name = "DOMAIN")]
        to: Vec<String>,
        /// It may be used from this network only, such as 192.0.2.0/24; repeat it for more.
        #[arg(long, value_name = "CIDR")]
        network: Vec<String>,
        /// It ends at this time (2027-01-31T12:00:00Z) or with this day (2027-01-31, in UTC).
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Messages within any day at most.
        #[arg(long, value_name = "N")]
        per_day: Option<u64>,
        /// All its mail waits until it is released (gatepost held).
        #[arg(long)]
        hold: bool,
        /// All its mail goes as with REQUIRETLS (RFC 8689).
        #[arg(long)]
        require_tls: bool,
        /// yes or no: whether copies of its mail are filed among the account's sent mail; no where its
        /// mail program does that itself. Unset: as gatepost user sent-copy has it.
        #[arg(long, value_name = "YES|NO")]
        sent_copy: Option<String>,
    },
    /// List an account's, with their last use.
    List {
        /// The account's login name.
        user: String,
    },
    /// Take one away; sessions that signed in with it can send nothing more.
    Revoke {
        /// The account's login name.
        user: String,
        /// As listed.
        label: String,
    },
    /// Have an account refuse its own password, so that each device needs an app password.
    Only {
        /// The account's login name.
        user: String,
        /// yes or no.
        only: String,
    },
}

impl AppPasswordCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded) -> Result<Answer> {
        let store = open(loaded).await?;
        let now = SystemTime::now();
        let answer = match self {
            AppPasswordCommand::List { user } => {
                let account = account(&store, &user).await?;
                return Ok(list(&store.app_passwords(account.id).await?, now));
            }
            AppPasswordCommand::Add {
                user,
                label,
                send_as,
                to,
                network,
                expires,
                per_day,
                hold,
                require_tls,
                sent_copy,
            } => {
                let account = account(&store, &user).await?;
                check_label(&label)?;
                let narrowing = Narrowing {
                    send_as: addresses(&account, &send_as)?,
                    to: to.iter().map(|text| domain(text)).collect::<Result<_>>()?,
                    networks: networks(&network)?,
                    require_tls,
                    hold,
                    expires_at: expires.map(|text| end(&text, now)).transpose()?,
                    files_copies: match sent_copy.as_deref() {
                        None => None,
                        Some("yes") => Some(true),
                        Some("no") => Some(false),
                        Some(other) => bail!("--sent-copy is yes or no, not \"{other}\""),
                    },
                };
                let others = store.app_passwords(account.id).await?.len();
                ensure!(
                    others < PER_ACCOUNT,
                    "{} has {others} app passwords, the limit is {PER_ACCOUNT}; revoke some",
                    account.name
                );
                let iterations = loaded.options.accounts.scram_iterations;
                let made = make_app_password(&store, &account, iterations).await?;
                let new = NewAppPassword {
                    label: &label,
                    keyed_hash: made.keyed_hash,
                    salt: &made.salt,
                    iterations: made.iterations,
                    keys: &made.keys,
                    narrowing: &narrowing,
                    per_day,
                };
                store.add_app_password(&account.name, new, now).await?;
                let password = made.password.expose_secret();
                Answer::done(
                    format!(
                        "Added app password {label} of {}. It is shown this once:\n{password}",
                        account.name
                    ),
                    json!({
                        "done": "app password added",
                        "name": account.name,
                        "label": label,
                        "password": password,
                    }),
                )
            }
            AppPasswordCommand::Revoke { user, label } => {
                let name = login(&user)?;
                store.remove_app_password(&name, &label).await?;
                Answer::done(
                    format!("Revoked app password {label} of {name}."),
                    json!({ "done": "app password revoked", "name": name, "label": label }),
                )
            }
            AppPasswordCommand::Only { user, only } => {
                let name = login(&user)?;
                let only = match only.as_str() {
                    "yes" => true,
                    "no" => false,
                    other => bail!("say yes or no, not \"{other}\""),
                };
                store.set_app_passwords_only(&name, only).await?;
                let text = match only {
                    true => format!("{name} signs in with app passwords only."),
                    false => format!("{name} signs in with its own password too."),
                };
                Answer::done(
                    text,
                    json!({ "done": "app passwords only", "name": name, "only": only }),
                )
            }
        };
        changed(store, loaded).await?;
        Ok(answer)
    }
}

async fn account(store: &Store, user: &str) -> Result<StoredAccount> {
    let found = store.account_by_name(&login(user)?).await?;
    found.with_context(|| format!("account {user} does not exist"))
}

/// It goes into logs and is typed at `revoke`.
fn check_label(label: &str) -> Result<()> {
    let is_plain = !label.is_empty()
        && label.trim() == label
        && label.chars().count() <= LABEL_MAX
        && label
            .chars()
            .all(|c| c.is_alphanumeric() || " -_.@+".contains(c));
    ensure!(
        is_plain,
        "a label has 1 to {LABEL_MAX} letters, digits, blanks between them, and - _ . @ +"
    );
    Ok(())
}

/// Addresses that the account may send as itself.
fn addresses(account: &StoredAccount, texts: &[String]) -> Result<Vec<Mailbox>> {
    let rights = Rights::new(account.patterns.clone());
    let mut addresses = Vec::new();
    for text in texts {
        let address = Mailbox::parse(text).with_context(|| format!("{text} is no address"))?;
        ensure!(
            rights.may_send_as(&address),
            "{} may not send as {address} itself; see gatepost user address add",
            account.name
        );
        addresses.push(address);
    }
    Ok(addresses)
}

fn networks(texts: &[String]) -> Result<Vec<Network>> {
    let network = |text: &String| {
        let parsed = text.parse::<Network>();
        parsed.with_context(|| format!("{text} is no network, such as 192.0.2.0/24"))
    };
    texts.iter().map(network).collect()
}

/// A moment, or the end of a day in UTC; not in the past.
pub(super) fn end(text: &str, now: SystemTime) -> Result<SystemTime> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => Some(moment),
        Err(_) => text.parse::<Date>().ok().and_then(|day| {
            let midnight = day.tomorrow().ok()?.in_tz("UTC").ok()?;
            Some(midnight.timestamp())
        }),
    };
    let moment = moment
        .with_context(|| format!("{text} is neither a time (2027-01-31T12:00:00Z) nor a day"))?;
    let second = u64::try_from(moment.as_second()).unwrap_or(0);
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    ensure!(end > now, "{text} is past");
    Ok(end)
}

fn list(passwords: &[StoredAppPassword], now: SystemTime) -> Answer {
    let rows = passwords.iter().map(|password| {
        let (at, from) = match password.last_used {
            Some((at, from)) => (timestamp(at), from.to_string()),
            None => ("never".to_owned(), "-".to_owned()),
        };
        [
            password.label.clone(),
            timestamp(password.created_at),
            at,
            from,
            password.uses.to_string(),
            narrowed_to(&password.narrowing, now).join(", "),
        ]
    });
    Answer {
        text: columns(
            ["LABEL", "CREATED", "LAST USED", "FROM", "USES", "LIMITS"],
            rows,
        ),
        objects: passwords.iter().map(object).collect(),
    }
}

fn narrowed_to(narrowing: &Narrowing, now: SystemTime) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(narrowing.send_as.iter().map(|it| format!("as {it}")));
    words.extend(narrowing.to.iter().map(|it| format!("to {it}")));
    words.extend(narrowing.networks.iter().map(|it| format!("from {it}")));
    words.extend(narrowing.expires_at.map(|end| match end > now {
        true => format!("until {}", timestamp(end)),
        false => format!("ended {}", timestamp(end)),
    }));
    if narrowing.hold {
        words.push("held".to_owned());
    }
    if narrowing.require_tls {
        words.push("REQUIRETLS".to_owned());
    }
    words.extend(narrowing.files_copies.map(|files| match files {
        true => "copy to Sent".to_owned(),
        false => "no copy to Sent".to_owned(),
    }));
    words
}

fn object(password: &StoredAppPassword) -> Value {
    let texts = |texts: Vec<String>| Value::from(texts);
    let narrowing = &password.narrowing;
    json!({
        "label": password.label,
        "created_at": timestamp(password.created_at),
        "last_used_at": password.last_used.map(|(at, _)| timestamp(at)),
        "last_network": password.last_used.map(|(_, from)| from.to_string()),
        "uses": password.uses,
        "send_as": texts(narrowing.send_as.iter().map(Mailbox::to_string).collect()),
        "to": texts(narrowing.to.iter().map(|it| it.to_string()).collect()),
        "networks": texts(narrowing.networks.iter().map(Network::to_string).collect()),
        "expires_at": narrowing.expires_at.map(timestamp),
        "hold": narrowing.hold,
        "require_tls": narrowing.require_tls,
        "sent_copy": narrowing.files_copies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (label, is_good) in [
            ("phone", true),
            ("Büro-Drucker 2. Stock", true),
            ("", false),
            (" phone", false),
            ("a\nb", false),
            ("a\u{202e}b", false),
            ("\"", false),
        ] {
            assert_eq!(check_label(label).is_ok(), is_good, "{label:?}");
        }
        assert!(check_label(&"a".repeat(64)).is_ok());
        assert!(check_label(&"a".repeat(65)).is_err());
    }

    #[test]
    fn ends() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let read = |text: &str| end(text, now).ok().map(timestamp);
        for (text, at) in [
            ("2001-09-10T00:00:00Z", Some("2001-09-10T00:00:00Z")),
            ("2001-09-10T02:00:00+02:00", Some("2001-09-10T00:00:00Z")),
            ("2001-12-31", Some("2002-01-01T00:00:00Z")),
            ("2001-09-08", None),
            ("2001-13-01", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(read(text).as_deref(), at, "{text}");
        }
    }
}
