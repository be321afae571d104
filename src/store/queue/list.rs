//! The queue as an operator sees it: reading only, in pieces.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{
    Filter,
    filter::{add, message_matches, recipient_matches},
    time,
};
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
    /// Login name of that account when it did.
    pub account_name: Option<String>,
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
    /// NOTIFY, as given (RFC 3461 §4.1).
    pub notify: Option<String>,
    /// ORCPT, as given (RFC 3461 §4.2).
    pub original: Option<String>,
    /// When its sender last heard that it is delayed.
    pub delay_told_at: Option<SystemTime>,
    /// A copy for the folder of what the account of this address sent.
    pub is_copy: bool,
}

/// What a recipient waits for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// The time that its sender chose, or may take it back in.
    Later,
}

impl RecipientState {
    /// Every state.
    pub const ALL: [RecipientState; 6] = [
        RecipientState::Due,
        RecipientState::Deferred,
        RecipientState::Claimed,
        RecipientState::Held,
        RecipientState::Aside,
        RecipientState::Later,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            RecipientState::Due => "due",
            RecipientState::Deferred => "deferred",
            RecipientState::Claimed => "claimed",
            RecipientState::Held => "held",
            RecipientState::Aside => "aside",
            RecipientState::Later => "later",
        }
    }

    /// Reads [`RecipientState::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        let mut states = RecipientState::ALL.into_iter();
        states.find(|state| state.as_str() == word)
    }
}

impl Store {
    /// Up to `limit` messages in order of arrival, after the one whose number is `after`, that have
    /// recipients of the filter's kind, and those recipients alone.
    ///
    /// `now` tells which claims are those of the living.
    pub async fn queue_list(
        &self,
        filter: &Filter,
        now: SystemTime,
        after: i64,
        limit: u32,
    ) -> Result<Vec<QueueEntry>, StoreError> {
        // One read transaction, so that a message and its recipients are of one moment.
        let mut transaction = self.reader().begin().await?;
        let mut arguments = filter.arguments(&filter.states, now)?;
        add(&mut arguments, after)?;
        add(&mut arguments, limit)?;
        let statement = match filter.ids.is_empty() {
            true => LIST,
            false => {
                add(&mut arguments, filter.id_array())?;
                LIST_BY_ID
            }
        };
        let messages: Vec<MessageColumns> = sqlx::query_as_with(statement, arguments)
            .fetch_all(&mut *transaction)
            .await?;
        let mut entries: Vec<QueueEntry> = messages.into_iter().map(entry).collect();
        let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
        let mut arguments = filter.arguments(&filter.states, now)?;
        add(&mut arguments, serde_json::json!(numbers).to_string())?;
        let recipients: Vec<RecipientColumns> = sqlx::query_as_with(RECIPIENTS, arguments)
            .fetch_all(&mut *transaction)
            .await?;
        let mut entry = entries.iter_mut().peekable();
        for row in recipients {
            while entry.next_if(|entry| entry.number < row.0).is_some() {}
            if let Some(entry) = entry.peek_mut().filter(|entry| entry.number == row.0) {
                entry.recipients.push(recipient(row));
            }
        }
        Ok(entries)
    }

    /// How many messages [`Store::queue_list`] would list after that one without a limit.
    ///
    /// Reads all of the queue behind it.
    pub async fn queue_length(
        &self,
        filter: &Filter,
        now: SystemTime,
        after: i64,
    ) -> Result<u64, StoreError> {
        let mut arguments = filter.arguments(&filter.states, now)?;
        add(&mut arguments, after)?;
        let statement = match filter.ids.is_empty() {
            true => LENGTH,
            false => {
                add(&mut arguments, filter.id_array())?;
                LENGTH_BY_ID
            }
        };
        let count: i64 = sqlx::query_scalar_with(statement, arguments)
            .fetch_one(self.reader())
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

// Octets where damage may have made them no text.
type MessageColumns = (i64, Vec<u8>, Option<i64>, Option<String>, Vec<u8>, i64, i64);

/// What `recipient_columns!` selects.
pub(super) type RecipientColumns = (
    i64,
    u32,
    Vec<u8>,
    String,
    u32,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    bool,
);

fn entry(row: MessageColumns) -> QueueEntry {
    let (number, id, account, account_name, sender, size, received_at) = row;
    QueueEntry {
        number,
        id: lossy(id),
        account: account.map(AccountId),
        account_name,
        sender: lossy(sender),
        size_octets: u64::try_from(size).unwrap_or_default(),
        received_at: time(received_at),
        recipients: Vec::new(),
    }
}

pub(super) fn recipient(row: RecipientColumns) -> QueueRecipient {
    let (_, number, address, state, attempts, at, code, text, notify, original, told_at, is_copy) =
        row;
    QueueRecipient {
        number,
        address: lossy(address),
        state: RecipientState::parse(&state).unwrap_or(RecipientState::Aside),
        attempts,
        next_attempt_at: time(at),
        last_code: code,
        last_text: text,
        notify,
        original,
        delay_told_at: told_at.map(time),
        is_copy,
    }
}

pub(super) fn lossy(octets: Vec<u8>) -> String {
    String::from_utf8_lossy(&octets).into_owned()
}

macro_rules! recipient_columns {
    () => {
        concat!(
            "r.message, r.number, r.address, ",
            $crate::store::queue::filter::state!(),
            ", r.attempts, r.next_attempt_at, r.last_code, r.last_text, r.notify, r.original,
               r.delay_told_at, r.is_copy "
        )
    };
}

pub(super) use recipient_columns;

/// The messages of a filter, behind `FROM` and the join. `$15` number of the message before.
macro_rules! matching {
    () => {
        concat!(
            "WHERE m.number > $15 AND ",
            message_matches!(),
            " AND EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = m.number AND ",
            recipient_matches!(),
            ") "
        )
    };
}

macro_rules! columns {
    () => {
        "SELECT m.number, m.id, m.account, m.account_name, m.sender, m.size_octets, m.received_at "
    };
}

/// `$16` limit.
pub(super) const LIST: &str = concat!(
    columns!(),
    "FROM messages AS m ",
    matching!(),
    "ORDER BY m.number LIMIT $16"
);

/// `$16` limit, `$17` queue ids.
pub(super) const LIST_BY_ID: &str = concat!(
    columns!(),
    "FROM json_each($17) AS j CROSS JOIN messages AS m ON m.id = j.value ",
    matching!(),
    "ORDER BY m.number LIMIT $16"
);

pub(super) const LENGTH: &str = concat!("SELECT count(*) FROM messages AS m ", matching!());

/// `$16` queue ids.
pub(super) const LENGTH_BY_ID: &str = concat!(
    "SELECT count(*) FROM json_each($16) AS j CROSS JOIN messages AS m ON m.id = j.value ",
    matching!()
);

/// `$15` numbers of messages.
pub(super) const RECIPIENTS: &str = concat!(
    "SELECT ",
    recipient_columns!(),
    "FROM json_each($15) AS j CROSS JOIN recipients AS r ON r.message = j.value WHERE ",
    recipient_matches!(),
    " ORDER BY r.message, r.number"
);
