//! `gatepost queue`: what is in custody, read beside a running server or without one.

use std::{path::Path, time::SystemTime};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    answer::{Answer, columns},
    cannot_open, timestamp,
};
use crate::store::{
    Store, StoreError,
    queue::{Filter, QueueEntry, QueueRecipient, RecipientState},
};

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List messages that are not handed on yet, oldest first.
    List(QueueList),
}

/// How much to list.
#[derive(Args, Debug)]
pub struct QueueList {
    /// Messages at most; more are said to be there.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    limit: u32,
}

impl QueueCommand {
    /// Does it.
    pub async fn run(self, database: &Path) -> Result<Answer> {
        let QueueCommand::List(list) = self;
        let store = match Store::open_read_only(database).await {
            Ok(store) => store,
            // Nothing was ever accepted.
            Err(StoreError::NotFound) => return Ok(answer(&[], 0)),
            Err(error) => return Err(error).with_context(|| cannot_open(database)),
        };
        let listed = listed(&store, list.limit).await;
        store.close().await;
        let (entries, more) = listed?;
        Ok(answer(&entries, more))
    }
}

/// The oldest `limit` messages, and how many there are beyond them.
async fn listed(store: &Store, limit: u32) -> Result<(Vec<QueueEntry>, u64), StoreError> {
    let (filter, now) = (Filter::default(), SystemTime::now());
    let mut entries = store.queue_list(&filter, now, 0, limit + 1).await?;
    if entries.len() <= limit as usize {
        return Ok((entries, 0));
    }
    entries.truncate(limit as usize);
    let counts = store.queue_counts(now).await?;
    // Counted a moment later, while the queue moves: at least the one that was seen.
    Ok((entries, counts.messages.saturating_sub(limit.into()).max(1)))
}

fn answer(entries: &[QueueEntry], more: u64) -> Answer {
    let recipients = |entry: &'_ QueueEntry| {
        let rows = entry.recipients.iter().map(|to| row(entry, to));
        rows.collect::<Vec<_>>()
    };
    let mut text = match entries.is_empty() {
        true => "Nothing is in custody.\n".to_owned(),
        false => columns(
            [
                "QUEUE ID",
                "ACCEPTED",
                "OCTETS",
                "SENDER",
                "RECIPIENT",
                "STATE",
                "ATTEMPTS",
                "NEXT",
                "LAST",
            ],
            entries.iter().flat_map(recipients),
        ),
    };
    let mut objects: Vec<Value> = entries.iter().map(object).collect();
    if more > 0 {
        text.push_str(&format!("{more} more; see them with --limit.\n"));
        objects.push(json!({ "more": more }));
    }
    Answer { text, objects }
}

fn row(entry: &QueueEntry, to: &QueueRecipient) -> [String; 9] {
    let next = match to.state {
        RecipientState::Due | RecipientState::Deferred => timestamp(to.next_attempt_at),
        RecipientState::Claimed | RecipientState::Held | RecipientState::Aside => "-".to_owned(),
    };
    [
        entry.id.clone(),
        timestamp(entry.received_at),
        entry.size_octets.to_string(),
        format!("<{}>", entry.sender),
        format!("<{}>", to.address),
        state(to.state).to_owned(),
        to.attempts.to_string(),
        next,
        [to.last_code.as_deref(), to.last_text.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
    ]
}

fn object(entry: &QueueEntry) -> Value {
    let recipients = entry.recipients.iter().map(|to| {
        json!({
            "address": to.address,
            "state": state(to.state),
            "attempts": to.attempts,
            "next_attempt_at": timestamp(to.next_attempt_at),
            "last_code": to.last_code,
            "last_text": to.last_text,
        })
    });
    json!({
        "queue_id": entry.id,
        "account": entry.account.map(|account| account.0),
        "sender": entry.sender,
        "size_octets": entry.size_octets,
        "received_at": timestamp(entry.received_at),
        "recipients": recipients.collect::<Vec<_>>(),
    })
}

fn state(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Due => "due",
        RecipientState::Deferred => "deferred",
        RecipientState::Claimed => "claimed",
        RecipientState::Held => "held",
        RecipientState::Aside => "aside",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn entry(id: &str) -> QueueEntry {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000);
        QueueEntry {
            number: 1,
            id: id.into(),
            account: None,
            account_name: None,
            sender: "ann@example.org".into(),
            size_octets: 1234,
            received_at: at,
            recipients: vec![QueueRecipient {
                number: 0,
                address: "bob@example.net".into(),
                state: RecipientState::Deferred,
                attempts: 2,
                next_attempt_at: at + Duration::from_secs(60),
                last_code: Some("4.2.0".into()),
                last_text: Some("busy\u{1b}[2J".into()),
                notify: None,
                original: None,
                delay_told_at: None,
            }],
        }
    }

    #[test]
    fn a_program_reads_times_states_and_what_was_said() {
        let answer = answer(&[entry("Q1")], 0);
        let object = &answer.objects[0];
        assert_eq!(object["queue_id"], "Q1");
        assert_eq!(object["received_at"], "2026-05-28T20:26:40Z");
        let to = &object["recipients"][0];
        assert_eq!(to["state"], "deferred");
        assert_eq!(to["attempts"], 2);
        assert_eq!(to["next_attempt_at"], "2026-05-28T20:27:40Z");
        assert_eq!(to["last_code"], "4.2.0");
        assert_eq!(answer.objects.len(), 1);
        assert!(!answer.text.contains('\u{1b}') && answer.text.contains("4.2.0 busy"));
    }

    #[test]
    fn what_is_not_listed_is_counted() {
        let more = answer(&[entry("Q1")], 7);
        assert!(more.text.ends_with("7 more; see them with --limit.\n"));
        assert_eq!(more.objects[1]["more"], 7);
        let nothing = answer(&[], 0);
        assert_eq!(nothing.text, "Nothing is in custody.\n");
        assert!(nothing.objects.is_empty());
    }

    #[tokio::test]
    async fn without_a_database_nothing_is_in_custody() {
        let directory = tempfile::tempdir().unwrap();
        let list = QueueCommand::List(QueueList { limit: 1 });
        let answer = list
            .run(&directory.path().join("none.sqlite"))
            .await
            .unwrap();
        assert!(answer.objects.is_empty());
    }
}
