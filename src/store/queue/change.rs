//! What an operator does to recipients in custody: hold, release, try at once, cancel.
//!
//! A change walks the queue in order of arrival and does one bounded part at a time: it looks for a
//! part's recipients among the readers, then changes them by their keys in one short transaction,
//! so that the writer is never kept for long. Within the transaction each recipient is looked at
//! again. One that a living process has claimed is let be and told of: so the claim decides between
//! delivery and an operator, and exactly one of them has the recipient. What arrives after the walk
//! began is not of it.

pub(super) mod statements;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use self::statements::{
    BY_ID, DEPARTED, END, END_MESSAGES, END_RECIPIENTS, ENDED_FILES, ENDING, EVENTS, HOLD, RELEASE,
    RELEASED, RETRY, STATES, TRIES, UNKNOWN, WALK,
};
use super::{Filter, LEASE, RecipientState, filter::add, list::lossy, milliseconds, span};
use crate::store::{Store, StoreError};

/// Recipients changed in one transaction at most.
const PART: u32 = 1000;
/// Recipients looked at for one part at most.
const LOOKED_AT: u32 = 20_000;
/// Recipients named that were let be.
const NAMED: usize = 100;

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Due and deferred recipients are held.
    Hold,
    /// Held recipients are due at once.
    Release,
    /// Recipients that are due later are due at once.
    Retry,
    /// Recipients end: they are never served.
    Cancel,
}

/// What is to be done, and to whom.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// What.
    pub verb: Verb,
    /// To whom; those whose state the verb does not concern are passed over.
    pub filter: Filter,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cursor {
    /// The last message looked at, and of it the last recipient.
    after: (i64, i64),
    /// The last message of the walk.
    until: i64,
    /// The last message that was counted as changed.
    counted: i64,
}

/// What a change did.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Recipients changed.
    pub recipients: u64,
    /// Of these, copies to be filed.
    pub copies: u64,
    /// Messages that they belong to.
    pub messages: u64,
    /// Recipients that a living process has claimed: let be.
    pub under_way: u64,
    /// Of these, copies to be filed.
    pub copies_under_way: u64,
    /// The first of these.
    pub let_be: Vec<Place>,
    /// Recipients that were due already, where the change would have made them so.
    pub due_already: u64,
    /// Recipients that ended, or came to wait for something else, before they could be changed.
    pub missed: u64,
    /// Queue ids that no message in custody has.
    pub unknown: Vec<String>,
}

/// A recipient of a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// The queue id.
    pub queue_id: String,
    /// The forward-path.
    pub recipient: String,
}

/// One part of a change.
#[derive(Debug, Default)]
pub struct Part {
    /// What it did.
    pub tally: Tally,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
    /// Recipients that have ended.
    pub cancelled: Vec<Place>,
    /// Body files of messages that have left the queue: nobody needs them.
    pub ended_files: Vec<String>,
}

impl Verb {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Hold => "hold",
            Verb::Release => "release",
            Verb::Retry => "retry",
            Verb::Cancel => "cancel",
        }
    }

    /// The states that it concerns. Claimed ones are let be, but told of.
    fn concerns(self) -> &'static [RecipientState] {
        use RecipientState::{Claimed, Deferred, Due, Held, Later};
        match self {
            Verb::Hold => &[Due, Deferred, Claimed, Later],
            Verb::Release => &[Held],
            Verb::Retry => &[Due, Deferred, Claimed],
            Verb::Cancel => &RecipientState::ALL,
        }
    }
}

impl Tally {
    /// Takes another one's counts over.
    pub fn append(&mut self, mut other: Tally) {
        self.recipients += other.recipients;
        self.copies += other.copies;
        self.copies_under_way += other.copies_under_way;
        self.messages += other.messages;
        self.under_way += other.under_way;
        self.due_already += other.due_already;
        self.missed += other.missed;
        self.let_be.append(&mut other.let_be);
        self.let_be.truncate(NAMED);
        self.unknown.append(&mut other.unknown);
    }
}

impl Change {
    /// The states of recipients that it looks for.
    fn states(&self) -> Vec<RecipientState> {
        let asked = &self.filter.states;
        let concerned = self.verb.concerns().iter().copied();
        concerned
            .filter(|state| asked.is_empty() || asked.contains(state))
            .collect()
    }
}

impl Store {
    /// Does the part of a change that follows `from`, or its first one, in one transaction.
    ///
    /// # Errors
    /// Nothing of this part is done; parts before it are.
    pub async fn change_queue(
        &self,
        change: &Change,
        from: Option<Cursor>,
        now: SystemTime,
    ) -> Result<Part, StoreError> {
        let states = change.states();
        let mut part = Part::default();
        let from = match from {
            Some(from) => from,
            None => {
                part.tally.unknown = self.unknown_ids(&change.filter).await?;
                self.beginning().await?
            }
        };
        if states.is_empty() {
            return Ok(part);
        }
        let (keys, reached) = self.look(change, &states, from, now).await?;
        let counted = if keys.is_empty() {
            from.counted
        } else {
            let mut transaction = self.writer().begin_with("BEGIN IMMEDIATE").await?;
            let wanted = Wanted {
                states: &states,
                due_after: (change.verb == Verb::Retry).then_some(now),
            };
            let taken = take(&mut transaction, &keys, wanted, now, &mut part).await?;
            if !taken.is_empty() {
                apply(&mut transaction, change.verb, &taken, now, &mut part).await?;
            }
            if let Err(error) = transaction.commit().await {
                return Err(self.uncommitted(error.into()).await);
            }
            let mut counted = from.counted;
            for key in &taken {
                part.tally.recipients += 1;
                if key.0 > counted {
                    (counted, part.tally.messages) = (key.0, part.tally.messages + 1);
                }
            }
            counted
        };
        part.next = reached.map(|after| Cursor {
            after,
            counted,
            ..from
        });
        Ok(part)
    }

    async fn beginning(&self) -> Result<Cursor, StoreError> {
        let until = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM messages")
            .fetch_one(self.reader())
            .await?;
        Ok(Cursor {
            after: (0, -1),
            until,
            counted: 0,
        })
    }

    async fn unknown_ids(&self, filter: &Filter) -> Result<Vec<String>, StoreError> {
        let unknown = sqlx::query_scalar(UNKNOWN)
            .bind(filter.id_array())
            .fetch_all(self.reader())
            .await?;
        Ok(unknown)
    }

    /// Keys of recipients behind the cursor that are to be changed, and how far was looked; none
    /// where nothing is left.
    async fn look(
        &self,
        change: &Change,
        states: &[RecipientState],
        from: Cursor,
        now: SystemTime,
    ) -> Result<(Vec<Key>, Option<Key>), StoreError> {
        let filter = &change.filter;
        let mut arguments = filter.arguments(states, now)?;
        add(&mut arguments, from.after.0)?;
        add(&mut arguments, from.after.1)?;
        add(&mut arguments, PART)?;
        let (statement, end) = match filter.ids.is_empty() {
            true => {
                let end: Option<Key> = sqlx::query_as(END)
                    .bind(from.after.0)
                    .bind(from.after.1)
                    .bind(from.until)
                    .bind(LOOKED_AT)
                    .fetch_optional(self.reader())
                    .await?;
                let (message, number) = end.unwrap_or((from.until, i64::MAX));
                add(&mut arguments, message)?;
                add(&mut arguments, number)?;
                (WALK, end)
            }
            false => {
                add(&mut arguments, filter.id_array())?;
                (BY_ID, None)
            }
        };
        let keys: Vec<Key> = sqlx::query_as_with(statement, arguments)
            .fetch_all(self.reader())
            .await?;
        let reached = match keys.len() < PART as usize {
            true => end,
            false => keys.last().copied(),
        };
        Ok((keys, reached))
    }
}

/// A recipient: its message's number and its own.
type Key = (i64, i64);

type TakenColumns = (i64, i64, Vec<u8>, Vec<u8>, String, i64, bool);

/// Which recipients are to be changed.
pub(super) struct Wanted<'a> {
    /// In these states.
    pub states: &'a [RecipientState],
    /// Due later than this alone.
    pub due_after: Option<SystemTime>,
}

/// Looks at recipients again, where nobody else can change them: which may be taken?
pub(super) async fn take(
    connection: &mut SqliteConnection,
    keys: &[Key],
    wanted: Wanted<'_>,
    now: SystemTime,
    part: &mut Part,
) -> Result<Vec<Key>, StoreError> {
    let rows: Vec<TakenColumns> = sqlx::query_as(STATES)
        .bind(milliseconds(now))
        .bind(span(LEASE))
        .bind(serde_json::json!(keys).to_string())
        .fetch_all(connection)
        .await?;
    part.tally.missed += (keys.len() - rows.len()) as u64;
    let mut taken = Vec::with_capacity(rows.len());
    let due_after = wanted.due_after.map(milliseconds);
    for (message, number, queue_id, recipient, state, due_at, is_copy) in rows {
        let state = RecipientState::parse(&state).filter(|state| wanted.states.contains(state));
        let place = || Place {
            queue_id: lossy(queue_id),
            recipient: lossy(recipient),
        };
        match state {
            Some(RecipientState::Claimed) => {
                part.tally.under_way += 1;
                part.tally.copies_under_way += u64::from(is_copy);
                if part.tally.let_be.len() < NAMED {
                    part.tally.let_be.push(place());
                }
            }
            Some(_) if due_after.is_some_and(|now| due_at <= now) => part.tally.due_already += 1,
            Some(_) => {
                part.tally.copies += u64::from(is_copy);
                taken.push((message, number));
            }
            None => part.tally.missed += 1,
        }
    }
    Ok(taken)
}

/// Does it to recipients that are ours to change.
async fn apply(
    transaction: &mut Transaction<'_, Sqlite>,
    verb: Verb,
    keys: &[Key],
    now: SystemTime,
    part: &mut Part,
) -> Result<(), StoreError> {
    let keys = serde_json::json!(keys).to_string();
    let statement = match verb {
        Verb::Hold => HOLD,
        Verb::Release => RELEASE,
        Verb::Retry => RETRY,
        Verb::Cancel => return cancel(transaction, &keys, now, part).await,
    };
    sqlx::query(statement)
        .bind(&keys)
        .bind(milliseconds(now))
        .execute(&mut **transaction)
        .await?;
    if verb == Verb::Release {
        sqlx::query(RELEASED)
            .bind(&keys)
            .bind(milliseconds(now))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Ends recipients, and with the last one its message.
async fn cancel(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &str,
    now: SystemTime,
    part: &mut Part,
) -> Result<(), StoreError> {
    let now = milliseconds(now);
    let ended: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(ENDING)
        .bind(keys)
        .fetch_all(&mut **transaction)
        .await?;
    let places = ended.into_iter().map(|(queue_id, recipient)| Place {
        queue_id: lossy(queue_id),
        recipient: lossy(recipient),
    });
    part.cancelled = places.collect();
    for statement in [TRIES, EVENTS, END_RECIPIENTS] {
        sqlx::query(statement)
            .bind(keys)
            .bind(now)
            .bind(CANCELLED)
            .execute(&mut **transaction)
            .await?;
    }
    part.ended_files = sqlx::query_scalar(ENDED_FILES)
        .bind(keys)
        .fetch_all(&mut **transaction)
        .await?;
    for statement in [DEPARTED, END_MESSAGES] {
        sqlx::query(statement)
            .bind(keys)
            .bind(now)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// What history says of a cancelled recipient.
const CANCELLED: &str = "cancelled by the operator";
