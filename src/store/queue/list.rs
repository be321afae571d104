//! The queue as an operator sees it: reading only, in pieces.

use std::time::SystemTime;

use super::time;
use crate::{
    envelope::AccountId,
    store::{Store, StoreError},
};

/// A message in custody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueueEntry {
    /// Where to go on: pass it to the next [`Store::queue_list`].
    pub number: i64,
    /// The queue id.
    pub id: String,
    /// Who submitted it.
    pub account: Option<AccountId>,
    /// Reverse-path; empty for the null one.
    pub sender: String,
    /// Header section and body.
    pub size_octets: u64,
    /// When it was accepted.
    pub received_at: SystemTime,
    /// Those not yet served, in the order of the envelope.
    pub recipients: Vec<QueueRecipient>,
}

/// A recipient not yet served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueueRecipient {
    /// Its place in the envelope.
    pub number: u32,
    /// The forward-path.
    pub address: String,
    /// What it waits for.
    pub state: RecipientState,
    /// Attempts made.
    pub attempts: u32,
    /// When it is or was due.
    pub next_attempt_at: SystemTime,
    /// Enhanced code of the last attempt.
    pub last_code: Option<String>,
    /// Text of the last attempt, or why the message was set aside. From the network: escape it.
    pub last_text: Option<String>,
}

/// What a recipient waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecipientState {
    /// Its first attempt.
    Due,
    /// Another attempt.
    Deferred,
    /// A process has it in hand.
    Claimed,
    /// An operator.
    Held,
    /// A person: the message cannot be read.
    Aside,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueCounts {
    /// Messages in custody.
    pub messages: u64,
    /// Recipients that are or will be due, claimed ones included.
    pub due: u64,
    /// Recipients held.
    pub held: u64,
    /// Recipients set aside.
    pub aside: u64,
}

impl Store {
    /// Up to `limit` messages in order of arrival, after the one whose number is `after`.
    pub async fn queue_list(&self, after: i64, limit: u32) -> Result<Vec<QueueEntry>, StoreError> {
        // One read transaction, so that a message and its recipients are of one moment.
        let mut transaction = self.reader().begin().await?;
        let messages: Vec<(i64, String, Option<i64>, String, i64, i64)> = sqlx::query_as(
            r#"
            SELECT number, id, account, sender, size_octets, received_at
              FROM messages
             WHERE number > $1
             ORDER BY number
             LIMIT $2
            "#,
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        let mut entries: Vec<QueueEntry> = messages
            .into_iter()
            .map(
                |(number, id, account, sender, size, received_at)| QueueEntry {
                    number,
                    id,
                    account: account.map(AccountId),
                    sender,
                    size_octets: u64::try_from(size).unwrap_or_default(),
                    received_at: time(received_at),
                    recipients: Vec::new(),
                },
            )
            .collect();
        let Some(last) = entries.last().map(|entry| entry.number) else {
            return Ok(entries);
        };
        let recipients: Vec<RecipientRow> = sqlx::query_as(
            r#"
            SELECT message, number, address, status,
                   coalesce(claimed_by IN (SELECT incarnation FROM nodes), 0),
                   attempts, next_attempt_at, last_code, last_text
              FROM recipients
             WHERE message > $1
               AND message <= $2
             ORDER BY message, number
            "#,
        )
        .bind(after)
        .bind(last)
        .fetch_all(&mut *transaction)
        .await?;
        let mut entry = entries.iter_mut().peekable();
        for (message, number, address, status, claimed, attempts, at, code, text) in recipients {
            while entry.next_if(|entry| entry.number < message).is_some() {}
            let Some(entry) = entry.peek_mut().filter(|entry| entry.number == message) else {
                continue;
            };
            entry.recipients.push(QueueRecipient {
                number,
                address,
                state: match status.as_str() {
                    "held" => RecipientState::Held,
                    "aside" => RecipientState::Aside,
                    _ if claimed => RecipientState::Claimed,
                    _ if attempts > 0 => RecipientState::Deferred,
                    _ => RecipientState::Due,
                },
                attempts,
                next_attempt_at: time(at),
                last_code: code,
                last_text: text,
            });
        }
        Ok(entries)
    }

    /// Counts the queue. Reads an index entry for each message: for metrics, not for the hot path.
    pub async fn queue_counts(&self) -> Result<QueueCounts, StoreError> {
        let (messages, due, held, aside): (i64, i64, i64, i64) = sqlx::query_as(
            r#"
            SELECT (SELECT count(*) FROM messages),
                   count(*) FILTER (WHERE status = 'due'),
                   count(*) FILTER (WHERE status = 'held'),
                   count(*) FILTER (WHERE status = 'aside')
              FROM recipients
            "#,
        )
        .fetch_one(self.reader())
        .await?;
        let unsigned = |count: i64| u64::try_from(count).unwrap_or_default();
        Ok(QueueCounts {
            messages: unsigned(messages),
            due: unsigned(due),
            held: unsigned(held),
            aside: unsigned(aside),
        })
    }
}

type RecipientRow = (
    i64,
    u32,
    String,
    String,
    bool,
    u32,
    i64,
    Option<String>,
    Option<String>,
);
