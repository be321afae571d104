//! `gatepost dns`: the records that a domain needs so that its mail arrives and its mail programs set
//! themselves up; and whether they are published.

mod check;
mod spf;
mod wanted;
pub(super) mod zone;

use std::{process::ExitCode, time::SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use self::{
    check::{Checked, State},
    wanted::{Facts, Need, Wanted},
};
use super::answer::Answer;
use crate::{
    config::Loaded,
    dns::Dns,
    policy::routes::Transport,
    server::{DATABASE, logging::escape},
    smtp::Domain,
    store::Store,
    tls::{read_pem, tlsa},
};

/// Records of a domain.
#[derive(Args, Debug)]
pub struct Records {
    /// A domain that was added.
    domain: String,
    /// Compare them with what the DNS says; fails where one that mail needs is not there, or one
    /// is wrong.
    #[arg(long)]
    check: bool,
}

impl Records {
    /// Prints the records, or how they stand.
    ///
    /// # Errors
    /// The domain was not added, or the store cannot be read.
    pub async fn run(self, loaded: &Loaded, json: bool) -> Result<ExitCode> {
        let domain =
            Domain::parse(&self.domain).with_context(|| format!("{} is no domain", self.domain))?;
        let path = loaded.config.data_dir.join(DATABASE);
        let store = Store::open(&path).await;
        let store = store.with_context(|| super::cannot_open(&path))?;
        let facts = facts(loaded, &store, &domain).await;
        store.close().await;
        let facts = facts?;
        if !self.check {
            printed(&facts, &facts.wanted()).print(json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let dns = Dns::new(loaded.options.dns.clone());
        let checked = check::check(&dns, &facts, &facts.wanted()).await;
        compared(&checked).print(json)?;
        Ok(match checked.iter().any(Checked::is_bad) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

/// How the records of a domain stand, in few words: those that are wrong or that mail needs, and those
/// that would make something better.
pub(super) async fn standing(
    loaded: &Loaded,
    dns: &Dns,
    store: &Store,
    domain: &Domain,
) -> Result<(Vec<String>, Vec<String>)> {
    let facts = facts(loaded, store, domain).await?;
    let (mut bad, mut wanting) = (Vec::new(), facts.lacking());
    for it in check::check(dns, &facts, &facts.wanted()).await {
        let words = format!("{} {} {}", it.kind, it.name, it.state.as_str());
        match it.state {
            State::Published => {}
            _ if it.is_bad() => bad.push(words),
            _ if it.need == Need::Hint => {}
            _ => wanting.push(words),
        }
    }
    Ok((bad, wanting))
}

async fn facts(loaded: &Loaded, store: &Store, domain: &Domain) -> Result<Facts> {
    let name = domain.canonical();
    if !store.domains().await?.contains(&name) {
        bail!("domain {name} has not been added");
    }
    let routes = loaded.options.queue.routes.routes().iter();
    let mut hosts = routes.filter_map(|route| match &route.transport {
        Transport::Mx(mx) => Some(mx),
        _ => None,
    });
    let host = loaded.options.deliver.hops.hello_name.canonical();
    let pairs = loaded.config.certificates.iter().filter_map(|pair| {
        let chain = read_pem(&pair.cert).ok()?.certificates;
        tlsa(chain.first()?)
    });
    let listeners = &loaded.config.listeners;
    Ok(Facts {
        domain: name,
        host,
        keys: store.dkim_keys(Some(domain)).await?,
        mail_hosts: hosts.next().cloned(),
        submissions: listeners.submissions.first().map(|it| it.port()),
        submission: listeners.submission.first().map(|it| it.port()),
        certificates: pairs.collect(),
        now: SystemTime::now(),
    })
}

/// In the form of a zone file, with a word on what each is for.
fn printed(facts: &Facts, wanted: &[Wanted]) -> Answer {
    let mut text = format!(
        "; Records of {} for mail that is submitted to {}.\n\
         ; Where mail to the domain goes (MX) is not this server's business: leave it as it is.\n",
        facts.domain, facts.host
    );
    let mut about = "";
    for it in wanted {
        if it.about != about {
            about = it.about;
            text.push('\n');
            for line in about.lines() {
                text.push_str(&format!("; {line}\n"));
            }
        }
        // What somebody else may have to decide is not to be pasted unread.
        let mark = match it.need {
            Need::Must | Need::Should => "",
            Need::Hint => "; ",
        };
        text.push_str(&format!("{mark}{}\n", it.line));
    }
    for note in facts.notes() {
        text.push_str(&format!("\n; {note}\n"));
    }
    let objects = wanted.iter().map(|it| {
        json!({
            "name": it.line.name,
            "type": it.line.data.kind(),
            "value": it.line.data.value(),
            "need": it.need.as_str(),
            "about": it.about,
        })
    });
    Answer {
        text,
        objects: objects.collect(),
    }
}

fn compared(checked: &[Checked]) -> Answer {
    let lines = checked.iter().map(|it| {
        let (state, name, kind) = (it.state.as_str(), &it.name, it.kind);
        let words = match it.state {
            State::Published => String::new(),
            _ => format!(": {}", escape(&it.words)),
        };
        format!("{state:9} {kind:4} {name}{words}\n")
    });
    let objects = checked.iter().map(|it| {
        json!({
            "name": it.name,
            "type": it.kind,
            "state": it.state.as_str(),
            "need": it.need.as_str(),
            "words": it.words,
        })
    });
    Answer {
        text: lines.collect(),
        objects: objects.collect(),
    }
}
