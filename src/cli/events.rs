//! `gatepost events`: what accounts should know of and no report could tell.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::{
    answer::{Answer, columns},
    queue::{account, reader},
    timestamp,
};
use crate::store::queue::StoredEvent;

/// Whose events, and how many.
#[derive(Args, Debug)]
pub struct Events {
    /// Of this account alone.
    #[arg(long, value_name = "NAME", value_parser = account)]
    account: Option<String>,
    /// Events at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    limit: u32,
}

impl Events {
    /// Lists them, newest first.
    pub async fn run(self, database: &Path) -> Result<Answer> {
        let events = match reader(database).await? {
            None => Vec::new(),
            Some(store) => {
                let events = store.events(self.account.as_deref(), self.limit).await;
                store.close().await;
                events?
            }
        };
        Ok(answer(&events))
    }
}

fn answer(events: &[StoredEvent]) -> Answer {
    let heading = [
        "AT",
        "ACCOUNT",
        "KIND",
        "QUEUE ID",
        "REPORT OF",
        "RECIPIENT",
        "REASON",
    ];
    let text = match events.is_empty() {
        true => "No events.\n".to_owned(),
        false => columns(heading, events.iter().map(row)),
    };
    Answer {
        text,
        objects: events.iter().map(object).collect(),
    }
}

fn row(event: &StoredEvent) -> [String; 7] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let reason = match &event.code {
        Some(code) => format!("{code} {}", event.text),
        None => event.text.clone(),
    };
    [
        timestamp(event.at),
        or_dash(&event.account_name),
        event.kind.clone(),
        event.queue_id.clone(),
        or_dash(&event.report_of),
        format!("<{}>", event.recipient),
        reason,
    ]
}

/// An event for a program.
pub fn object(event: &StoredEvent) -> Value {
    json!({
        "at": timestamp(event.at),
        "account": event.account_name,
        "kind": event.kind,
        "queue_id": event.queue_id,
        "report_of": event.report_of,
        "recipient": event.recipient,
        "code": event.code,
        "text": event.text,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn events_stand_in_columns_and_move_no_terminal() {
        let event = StoredEvent {
            at: SystemTime::UNIX_EPOCH,
            account_name: None,
            kind: "undeliverable".into(),
            queue_id: "Q1".into(),
            report_of: Some("Q0".into()),
            recipient: "ann@example.org".into(),
            code: Some("5.1.1".into()),
            text: "550 no\u{1b}[2J".into(),
        };
        let answer = answer(&[event]);
        let line = answer.text.lines().nth(1).unwrap();
        assert!(
            line.ends_with("<ann@example.org>  5.1.1 550 no\\u{1b}[2J"),
            "{line}"
        );
        assert_eq!(answer.objects[0]["report_of"], "Q0");
    }
}
