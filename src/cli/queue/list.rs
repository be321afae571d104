//! `gatepost queue list`.

use std::{path::Path, time::SystemTime};

use anyhow::Result;
use serde_json::{Value, json};

use super::{last_words, next_attempt, reader};
use crate::{
    cli::{
        answer::{Answer, columns},
        timestamp,
    },
    store::queue::{Filter, QueueEntry, QueueRecipient},
};

/// Messages read and printed together.
const PAGE: u32 = 1000;

/// Prints the oldest `limit` messages of the filter, and how many there are beyond them.
pub async fn list(filter: &Filter, limit: u32, database: &Path, json: bool) -> Result<()> {
    let nothing = Answer {
        text: "Nothing is in custody.\n".to_owned(),
        objects: Vec::new(),
    };
    let Some(store) = reader(database).await? else {
        return Ok(nothing.print(json)?);
    };
    let now = SystemTime::now();
    let (mut after, mut left) = (0, limit);
    while left > 0 {
        let page = store.queue_list(filter, now, after, left.min(PAGE)).await?;
        let Some(last) = page.last() else { break };
        (after, left) = (last.number, left - page.len() as u32);
        answer(&page).print(json)?;
    }
    let more = match left {
        0 => store.queue_length(filter, now, after).await?,
        _ => 0,
    };
    store.close().await;
    if left == limit {
        let any = Filter::default() == *filter;
        let text = match any {
            true => nothing.text,
            false => "Nothing of that kind is in custody.\n".to_owned(),
        };
        Answer { text, ..nothing }.print(json)?;
    } else if more > 0 {
        beyond(more).print(json)?;
    }
    Ok(())
}

fn beyond(more: u64) -> Answer {
    Answer {
        text: format!("{more} more; see them with --limit.\n"),
        objects: vec![json!({ "more": more })],
    }
}

fn answer(entries: &[QueueEntry]) -> Answer {
    let recipients = |entry: &'_ QueueEntry| {
        let rows = entry.recipients.iter().map(|to| row(entry, to));
        rows.collect::<Vec<_>>()
    };
    let heading = [
        "QUEUE ID",
        "ACCEPTED",
        "OCTETS",
        "SENDER",
        "RECIPIENT",
        "STATE",
        "ATTEMPTS",
        "NEXT",
        "LAST",
    ];
    Answer {
        text: columns(heading, entries.iter().flat_map(recipients)),
        objects: entries.iter().map(object).collect(),
    }
}

fn row(entry: &QueueEntry, to: &QueueRecipient) -> [String; 9] {
    [
        entry.id.clone(),
        timestamp(entry.received_at),
        entry.size_octets.to_string(),
        format!("<{}>", entry.sender),
        format!("<{}>", to.address),
        to.state.as_str().to_owned(),
        to.attempts.to_string(),
        next_attempt(to).unwrap_or_else(|| "-".to_owned()),
        last_words(to),
    ]
}

/// A message for a program.
pub fn object(entry: &QueueEntry) -> Value {
    json!({
        "queue_id": entry.id,
        "account": entry.account.map(|account| account.0),
        "account_name": entry.account_name,
        "sender": entry.sender,
        "size_octets": entry.size_octets,
        "received_at": timestamp(entry.received_at),
        "recipients": entry.recipients.iter().map(recipient).collect::<Vec<_>>(),
    })
}

/// A recipient for a program.
pub fn recipient(to: &QueueRecipient) -> Value {
    json!({
        "address": to.address,
        "state": to.state.as_str(),
        "attempts": to.attempts,
        "next_attempt_at": timestamp(to.next_attempt_at),
        "last_code": to.last_code,
        "last_text": to.last_text,
        "copy": to.is_copy,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::queue::RecipientState;

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
                is_copy: false,
                delay_told_at: None,
            }],
        }
    }

    #[test]
    fn a_program_reads_times_states_and_what_was_said() {
        let answer = answer(&[entry("Q1")]);
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
        let more = beyond(7);
        assert_eq!(more.text, "7 more; see them with --limit.\n");
        assert_eq!(more.objects[0]["more"], 7);
    }

    #[tokio::test]
    async fn without_a_database_there_is_nothing_to_list() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("none.sqlite");
        list(&Filter::default(), 1, &database, true).await.unwrap();
        assert!(!database.exists());
    }
}
