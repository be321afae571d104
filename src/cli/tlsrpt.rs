//! `gatepost tlsrpt`: how sessions with mail hosts ended, and the reports on them (RFC 8460).

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{answer::Answer, cannot_open, timestamp};
use crate::{
    admin::control::{self, Request},
    config::Loaded,
    policy::tlsrpt::{Day, TlsResult},
    server::{DATABASE, logging::escape},
    smtp::Domain,
    store::{
        Store,
        tls_reports::{Counted, StoredReport},
    },
};

/// Rows that are shown at most.
const MOST: u32 = 10_000;

/// What to do with reports on TLS.
#[derive(Debug, Subcommand)]
pub enum TlsrptCommand {
    /// Show what was counted, and what became of reports; counts are a minute old at most.
    Show {
        /// Of mail to this domain only.
        domain: Option<String>,
        /// Of this day only (UTC), such as 2026-11-26.
        #[arg(long)]
        day: Option<Day>,
    },
    /// Send a domain what was counted of a day so far, for a trial; the daily report is made all the
    /// same.
    Send {
        /// A domain that publishes where reports go.
        domain: String,
        /// The day (UTC); today by default.
        #[arg(long)]
        day: Option<Day>,
    },
}

impl TlsrptCommand {
    /// Does it.
    ///
    /// # Errors
    /// The store cannot be read; or a report cannot be sent, or nobody wants it.
    pub async fn run(self, loaded: &Loaded) -> Result<Answer> {
        match self {
            TlsrptCommand::Show { domain, day } => {
                let path = loaded.config.data_dir.join(DATABASE);
                let store = Store::open_read_only(&path).await;
                let store = store.with_context(|| cannot_open(&path))?;
                let domain = domain.as_deref().map(name).transpose()?;
                let results = store.tls_results(domain.as_deref(), day, MOST).await?;
                let reports = store.tls_reports(domain.as_deref(), day, MOST).await?;
                store.close().await;
                Ok(shown(&results, &reports))
            }
            TlsrptCommand::Send { domain, day } => {
                let domain = name(&domain)?;
                let day = day.unwrap_or_else(|| Day::of(std::time::SystemTime::now()));
                let request = Request::TlsReport {
                    day: day.0,
                    domain: domain.clone(),
                };
                match control::ask(&loaded.config.data_dir, request)? {
                    Some(control::Answer::TlsReported(told)) => sent(&domain, day, &told),
                    Some(answer) => bail!("the running server answered {answer:?}"),
                    None => bail!("no server runs on {}", loaded.config.data_dir.display()),
                }
            }
        }
    }
}

fn name(text: &str) -> Result<String> {
    let domain = Domain::parse(text).with_context(|| format!("{text} is no domain"))?;
    Ok(domain.canonical())
}

fn sent(domain: &str, day: Day, told: &[(String, bool, String)]) -> Result<Answer> {
    if told.is_empty() {
        bail!("{domain} publishes no place for reports at _smtp._tls.{domain}");
    }
    let failed: Vec<_> = told.iter().filter(|(_, good, _)| !good).collect();
    if let Some((place, _, why)) = failed.first() {
        bail!("the report on {domain} could not be sent to {place}: {why}");
    }
    let lines = told.iter().map(|(place, _, said)| {
        format!(
            "Sent the report of {day} on {domain} to {place}: {}.\n",
            escape(said)
        )
    });
    let objects = told.iter().map(|(place, _, said)| {
        json!({
            "done": "report sent",
            "domain": domain,
            "day": day.to_string(),
            "place": place,
            "said": said,
        })
    });
    Ok(Answer {
        text: lines.collect(),
        objects: objects.collect(),
    })
}

fn shown(results: &[Counted], reports: &[StoredReport]) -> Answer {
    let mut text = String::new();
    let mut objects = Vec::new();
    let mut days: Vec<(Day, &str)> = Vec::new();
    let of_results = results.iter().map(|it| (it.day, &*it.session.domain));
    let of_reports = reports.iter().map(|it| (it.day, it.domain.as_str()));
    days.extend(of_results.chain(of_reports));
    days.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    days.dedup();
    for (day, domain) in days {
        text.push_str(&format!("{day} {domain}\n"));
        let is_here = |it: &&Counted| it.day == day && &*it.session.domain == domain;
        for it in results.iter().filter(is_here) {
            text.push_str(&format!("  {}\n", escape(&counted(it))));
        }
        let is_here = |it: &&StoredReport| it.day == day && it.domain == domain;
        for it in reports.iter().filter(is_here) {
            text.push_str(&format!("  {}\n", escape(&reported(it))));
        }
    }
    objects.extend(results.iter().map(counted_object));
    objects.extend(reports.iter().map(reported_object));
    Answer { text, objects }
}

fn counted(it: &Counted) -> String {
    let session = &it.session;
    let mut words = format!(
        "{} {} {}",
        it.count,
        session.policy.kind.as_str(),
        session.result.as_str()
    );
    if !session.host.is_empty() {
        words.push_str(&format!(", host {}", session.host));
    }
    if let Some(address) = session.receiving {
        words.push_str(&format!(" [{address}]"));
    }
    if !session.reason.is_empty() {
        words.push_str(&format!(": {}", session.reason));
    }
    words
}

fn reported(it: &StoredReport) -> String {
    let mut words = match it.place.as_str() {
        "" => "report: nobody asks for one".to_owned(),
        place => format!("report to {place}: {}", it.state.as_str()),
    };
    if !it.said.is_empty() {
        words.push_str(&format!(", {}", it.said));
    }
    words
}

fn counted_object(it: &Counted) -> Value {
    let session = &it.session;
    let lines: Vec<_> = session.policy.text.lines().collect();
    json!({
        "day": it.day.to_string(),
        "domain": session.domain,
        "policy": session.policy.kind.as_str(),
        "policy_text": lines,
        "result": session.result.as_str(),
        "success": session.result == TlsResult::Success,
        "host": session.host,
        "receiving_ip": session.receiving.map(|it| it.to_string()),
        "sending_ip": session.sending.map(|it| it.to_string()),
        "reason": session.reason,
        "sessions": it.count,
    })
}

fn reported_object(it: &StoredReport) -> Value {
    json!({
        "day": it.day.to_string(),
        "domain": it.domain,
        "place": it.place,
        "state": it.state.as_str(),
        "tries": it.tries,
        "next_at": timestamp(it.next_at),
        "said": it.said,
    })
}
