//! `gatepost trace`: where a message is, how it travelled and what was said of it.

mod object;

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use anyhow::{Result, bail};
use clap::Args;

use self::object::object;
use super::{
    answer::Answer,
    queue::{known_as, last_words, next_attempt, reader},
    timestamp,
};
use crate::{
    envelope::{MxProof, Proof},
    server::logging::escape,
    store::{
        Store,
        queue::{
            QueueRecipient, StoredTls, StoredTry, TRACED_MAX, Trace, TracedMessage, TracedReport,
        },
    },
};

/// What to look for.
#[derive(Args, Debug)]
pub struct Traced {
    /// A queue id, or a Message-ID with or without its brackets.
    #[arg(value_name = "ID|MESSAGE-ID")]
    id: String,
}

impl Traced {
    /// Finds it, in the queue or in what is kept of messages that left it.
    pub async fn run(self, database: &Path) -> Result<Answer> {
        let mut traces = match reader(database).await? {
            None => Vec::new(),
            Some(store) => {
                let found = find(&store, &self.id).await;
                store.close().await;
                found?
            }
        };
        let limit = TRACED_MAX as usize;
        let text = match traces.len() {
            0 => bail!(
                "nothing is known of {}: it was never here, or has left too long ago",
                escape(&self.id)
            ),
            found if found >= limit => format!("The newest {limit} messages of that name.\n\n"),
            _ => String::new(),
        };
        // Found newest first; told as things happened.
        traces.reverse();
        let texts: Vec<_> = traces.iter().map(tell).collect();
        Ok(Answer {
            text: text + &texts.join("\n"),
            objects: traces.iter().map(object).collect(),
        })
    }
}

async fn find(store: &Store, id: &str) -> Result<Vec<Trace>> {
    let now = SystemTime::now();
    if let Some(trace) = store.trace(&known_as(id), now).await? {
        return Ok(vec![trace]);
    }
    let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
    let message_id = format!("<{}>", inner.unwrap_or(id));
    Ok(store.trace_message_id(&message_id, now).await?)
}

fn tell(trace: &Trace) -> String {
    let mut text = format!("{}\n", escape(&trace.id));
    if let Some(message) = &trace.message {
        head(&mut text, message);
    }
    let mut recipients: BTreeMap<u32, Recipient<'_>> = BTreeMap::new();
    for tried in &trace.tries {
        let recipient = recipients.entry(tried.recipient).or_default();
        recipient.address = &tried.address;
        recipient.tries.push(tried);
    }
    for to in &trace.waiting {
        let recipient = recipients.entry(to.number).or_default();
        recipient.address = &to.address;
        recipient.waiting = Some(to);
    }
    for recipient in recipients.values() {
        recipient.tell(&mut text);
    }
    for report in &trace.reports {
        let (id, made_at) = (escape(&report.id), timestamp(report.made_at));
        text += &format!("report {id}, made {made_at}: {}\n", fate(report));
    }
    for event in &trace.events {
        let line = format!("{} <{}>: {}", event.kind, event.recipient, event.text);
        text += &format!("event {}: {}\n", timestamp(event.at), escape(&line));
    }
    text
}

fn head(text: &mut String, message: &TracedMessage) {
    let mut add = |name: &str, value: &str| *text += &format!("  {name:12}{}\n", escape(value));
    add("sender", &format!("<{}>", message.sender));
    for (name, value) in [
        ("account", &message.account_name),
        ("message-id", &message.message_id),
        ("report of", &message.report_of),
    ] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    add("octets", &message.size_octets.to_string());
    add("accepted", &timestamp(message.received_at));
    match message.departed_at {
        Some(at) => add("left", &timestamp(at)),
        None => add("left", "not yet"),
    }
}

/// What is known of one recipient.
#[derive(Default)]
struct Recipient<'a> {
    address: &'a str,
    tries: Vec<&'a StoredTry>,
    waiting: Option<&'a QueueRecipient>,
}

impl Recipient<'_> {
    fn tell(&self, text: &mut String) {
        let state = match (self.waiting, self.tries.last()) {
            (Some(to), _) => to.state.as_str(),
            (None, Some(last)) => &last.outcome,
            (None, None) => "unknown",
        };
        *text += &format!("<{}>: {}\n", escape(self.address), escape(state));
        for tried in &self.tries {
            let (at, code) = (timestamp(tried.ended_at), tried.code.as_deref());
            let outcome = format!("{} {}", tried.outcome, code.unwrap_or_default());
            *text += &format!("  {at}  {}\n", escape(outcome.trim_end()));
            if tried.outcome != "cancelled" {
                *text += &format!("    {}\n", escape(&way(tried)));
            }
            *text += &format!("    {}\n", words(tried));
        }
        let Some(to) = self.waiting else { return };
        // Attempts that ended at once, before history began, or a reason to set it aside.
        if self.tries.is_empty() && !last_words(to).is_empty() {
            *text += &format!("    {}\n", escape(&last_words(to)));
        }
        if let Some(next) = next_attempt(to) {
            *text += &format!("  next attempt {next}\n");
        }
        if let Some(at) = to.delay_told_at {
            *text += &format!("  told its sender of the delay {}\n", timestamp(at));
        }
    }
}

/// By which way, as far as it came.
fn way(tried: &StoredTry) -> String {
    let mut way = format!("route {}", tried.next_hop);
    if let Some(host) = &tried.host {
        way += &format!(", host {host}");
    }
    if let Some(peer) = &tried.peer {
        way += &format!(" [{peer}]");
    }
    match &tried.tls {
        Some(tls) => way += &format!(", {}", secured(tls)),
        None if tried.peer.is_some() => way += ", not encrypted",
        None => {}
    }
    let reached = tried.mx_proof.as_deref().filter(|_| tried.peer.is_some());
    way += match reached.and_then(MxProof::parse) {
        Some(MxProof::Dnssec) => ", mail host of the domain by DNSSEC",
        Some(MxProof::Sts) => ", mail host of the domain by its MTA-STS policy",
        Some(MxProof::Unchecked) => ", without DANE and DNSSEC: the resolver does not validate",
        Some(MxProof::None) => ", nothing proves that it is a mail host of the domain",
        None => "",
    };
    way += match tried.requiretls.filter(|_| tried.peer.is_some()) {
        Some(true) => ", REQUIRETLS passed on",
        Some(false) => ", REQUIRETLS not passed on",
        None => "",
    };
    way
}

fn secured(tls: &StoredTls) -> String {
    let short: String = tls.fingerprint.chars().take(FINGERPRINT_SHOWN).collect();
    let proved = match Proof::parse(&tls.proof) {
        Some(Proof::None) => "identity not proved",
        Some(Proof::WebPki) => "identity proved by WebPKI",
        Some(Proof::GivenCa) => "identity proved by the authority given",
        Some(Proof::Pin) => "identity proved by the fingerprint given",
        Some(Proof::DaneEe | Proof::DaneTa) => "identity proved by DANE",
        None => &tls.proof,
    };
    let (version, suite) = (&tls.version, &tls.suite);
    format!("{version}, {suite}, certificate {short}…, {proved}")
}

/// What was said, and by whom.
fn words(tried: &StoredTry) -> String {
    let who = match tried.said_by.as_str() {
        "hop" => "it said: ",
        _ => "",
    };
    let lines: Vec<_> = tried.text.lines().map(escape).collect();
    who.to_owned() + &lines.join(" / ")
}

/// Digits of a fingerprint that a person is shown.
const FINGERPRINT_SHOWN: usize = 16;

fn fate(report: &TracedReport) -> String {
    let last = report.last.as_ref();
    match (report.waiting.first(), last) {
        (Some(to), _) => {
            let mut text = to.state.as_str().to_owned();
            if let Some(next) = next_attempt(to) {
                text += &format!(", next attempt {next}");
            }
            text
        }
        (None, Some((outcome, text))) => escape(&format!("{outcome}, {text}")),
        (None, None) => "left".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::store::queue::{RecipientState, StoredEvent};

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + second)
    }

    fn a_try(recipient: u32, address: &str, outcome: &str, second: u64) -> StoredTry {
        StoredTry {
            recipient,
            address: address.into(),
            next_hop: "office".into(),
            host: Some("mx1.example.net".into()),
            peer: Some("192.0.2.1:25".into()),
            tls: Some(StoredTls {
                version: "TLSv1.3".into(),
                suite: "TLS13_AES_256_GCM_SHA384".into(),
                fingerprint: "0123456789abcdef".repeat(4),
                proof: "webpki".into(),
            }),
            mx_proof: Some("dnssec".into()),
            requiretls: Some(false),
            started_at: at(second),
            ended_at: at(second + 1),
            outcome: outcome.into(),
            code: Some("4.3.0".into()),
            text: "451-4.3.0 busy\n451 4.3.0 \u{1b}[2J".into(),
            said_by: "hop".into(),
        }
    }

    fn trace() -> Trace {
        let waiting = QueueRecipient {
            number: 1,
            address: "bob@example.net".into(),
            state: RecipientState::Deferred,
            attempts: 1,
            next_attempt_at: at(60),
            last_code: None,
            last_text: None,
            notify: None,
            original: None,
            is_copy: false,
            delay_told_at: Some(at(50)),
        };
        let vain = StoredTry {
            tls: None,
            peer: None,
            text: "no address".into(),
            said_by: "us".into(),
            code: None,
            ..a_try(1, "bob@example.net", "in vain", 1)
        };
        let cancelled = StoredTry {
            text: "cancelled by the operator".into(),
            said_by: "us".into(),
            code: None,
            ..a_try(0, "ann@example.net", "cancelled", 9)
        };
        Trace {
            id: "Q1".into(),
            message: Some(TracedMessage {
                message_id: Some("<1@example.org>".into()),
                account_name: Some("alice".into()),
                sender: "alice@example.org".into(),
                size_octets: 316,
                received_at: at(0),
                departed_at: None,
                report_of: None,
            }),
            waiting: vec![waiting.clone()],
            tries: vec![vain, a_try(1, "bob@example.net", "deferred", 2), cancelled],
            reports: vec![
                TracedReport {
                    id: "R1".into(),
                    made_at: at(50),
                    departed_at: Some(at(51)),
                    waiting: Vec::new(),
                    last: Some(("delivered".into(), "new/1".into())),
                },
                TracedReport {
                    id: "R2".into(),
                    made_at: at(50),
                    departed_at: None,
                    waiting: vec![waiting],
                    last: None,
                },
            ],
            events: vec![StoredEvent {
                at: at(9),
                account_name: Some("alice".into()),
                kind: "cancelled".into(),
                queue_id: "Q1".into(),
                report_of: None,
                recipient: "ann@example.net".into(),
                code: None,
                text: "cancelled by the operator".into(),
            }],
        }
    }

    #[test]
    fn a_person_reads_the_way_of_each_recipient() {
        let expected = "\
Q1
  sender      <alice@example.org>
  account     alice
  message-id  <1@example.org>
  octets      316
  accepted    2026-05-28T20:26:40Z
  left        not yet
<ann@example.net>: cancelled
  2026-05-28T20:26:50Z  cancelled
    cancelled by the operator
<bob@example.net>: deferred
  2026-05-28T20:26:42Z  in vain
    route office, host mx1.example.net
    no address
  2026-05-28T20:26:43Z  deferred 4.3.0
    route office, host mx1.example.net [192.0.2.1:25], TLSv1.3, TLS13_AES_256_GCM_SHA384, \
certificate 0123456789abcdef…, identity proved by WebPKI, mail host of the domain by DNSSEC, \
REQUIRETLS not passed on
    it said: 451-4.3.0 busy / 451 4.3.0 \\u{1b}[2J
  next attempt 2026-05-28T20:27:40Z
  told its sender of the delay 2026-05-28T20:27:30Z
report R1, made 2026-05-28T20:27:30Z: delivered, new/1
report R2, made 2026-05-28T20:27:30Z: deferred, next attempt 2026-05-28T20:27:40Z
event 2026-05-28T20:26:49Z: cancelled <ann@example.net>: cancelled by the operator
";
        assert_eq!(tell(&trace()), expected);
    }

    #[test]
    fn a_program_reads_the_whole_fingerprint() {
        let object = object(&trace());
        let fingerprint = &object["tries"][1]["tls"]["fingerprint"];
        assert_eq!(fingerprint.as_str().unwrap().len(), 64);
        assert_eq!(object["message"]["departed_at"], Value::Null);
        assert_eq!(object["reports"][0]["outcome"], "delivered");
        assert_eq!(object["events"][0]["kind"], "cancelled");
    }

    #[tokio::test]
    async fn what_is_not_known_is_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let (database, id) = (directory.path().join("none.sqlite"), "Q1".to_owned());
        assert!(Traced { id }.run(&database).await.is_err());
    }
}
