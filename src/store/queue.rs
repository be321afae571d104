//! Rows of messages, recipients, attempts and claims.
//!
//! A claim is the number of an incarnation in `recipients.claimed_by`. It holds only while that
//! incarnation stands in `nodes` under its name and was seen lately; so a restart, which replaces
//! the row of its node, frees every claim of the process before it without touching one.
//!
//! One process per database hands out message numbers and commits through here; `spool` sees to
//! that with a lock on its directory.

mod batch;
mod change;
mod claim;
mod counts;
mod filter;
mod history;
mod list;
mod rows;
mod show;
mod statements;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use batch::{Batch, BodyRow, EventKind, EventRow, MessageRow, Next, Record, Vain};
pub use change::{Change, Cursor, Part, Place, Tally, Verb};
pub use claim::{ClaimedMessage, ClaimedRecipient, ContentRow};
pub use counts::QueueCounts;
pub use filter::{Filter, Party};
pub use history::{
    StoredEvent, StoredTls, StoredTry, TRACED_MAX, Trace, TracedMessage, TracedReport,
};
pub use list::{QueueEntry, QueueRecipient, RecipientState};
pub use show::QueueMessage;

use super::{Store, StoreError};

/// A running process under the name of its node; what claims name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Incarnation(pub i64);

/// How long a node may stay unseen before its claims are free.
const LEASE: Duration = Duration::from_secs(120);

/// How long attempts, departed messages and events are kept for a later question.
const HISTORY_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// Of what is older (`$1`) so much goes with each heartbeat. Numbers are in order of time.
const FORGET: [&str; 3] = [
    r#"
    DELETE FROM tries
     WHERE number IN (SELECT number FROM tries ORDER BY number LIMIT 10000)
       AND ended_at < $1
    "#,
    r#"
    DELETE FROM departed
     WHERE number IN (SELECT number FROM departed ORDER BY number LIMIT 10000)
       AND departed_at < $1
    "#,
    r#"
    DELETE FROM events
     WHERE number IN (SELECT number FROM events ORDER BY number LIMIT 10000)
       AND at < $1
    "#,
];

impl Store {
    /// Registers this process as the node of that name and frees the claims of the one before it.
    ///
    /// Returns the incarnation and the first message number that is free. From here on the store
    /// waits but briefly where another process has locked the database.
    pub async fn begin_incarnation(
        &self,
        node: &str,
        now: SystemTime,
    ) -> Result<(Incarnation, i64), StoreError> {
        let mut transaction = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM nodes WHERE name = $1")
            .bind(node)
            .execute(&mut *transaction)
            .await?;
        let incarnation: i64 = sqlx::query_scalar(
            "INSERT INTO nodes (name, seen_at) VALUES ($1, $2) RETURNING incarnation",
        )
        .bind(node)
        .bind(milliseconds(now))
        .fetch_one(&mut *transaction)
        .await?;
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM messages")
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.wait_briefly().await?;
        Ok((Incarnation(incarnation), last + 1))
    }

    /// Takes the process off the list, so that nobody waits for it.
    pub async fn end_incarnation(&self, incarnation: Incarnation) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM nodes WHERE incarnation = $1")
            .bind(incarnation.0)
            .execute(self.writer())
            .await?;
        Ok(())
    }

    /// As [`Store::end_incarnation`], for whichever process has that name: it is known to be gone.
    pub async fn end_node(&self, node: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM nodes WHERE name = $1")
            .bind(node)
            .execute(self.writer())
            .await?;
        Ok(())
    }

    /// Says that this process lives, and forgets some of the history that is too old.
    pub async fn heartbeat(
        &self,
        incarnation: Incarnation,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("UPDATE nodes SET seen_at = $2 WHERE incarnation = $1")
            .bind(incarnation.0)
            .bind(milliseconds(now))
            .execute(&mut *transaction)
            .await?;
        for statement in FORGET {
            sqlx::query(statement)
                .bind(milliseconds(now) - span(HISTORY_KEPT))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Milliseconds since 1970; before it, negative.
pub(super) fn milliseconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => span(since),
        Err(before) => -span(before.duration()),
    }
}

fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The time that [`milliseconds`] wrote.
pub(super) fn time(milliseconds: i64) -> SystemTime {
    let span = Duration::from_millis(milliseconds.unsigned_abs());
    let at = if milliseconds < 0 {
        UNIX_EPOCH.checked_sub(span)
    } else {
        UNIX_EPOCH.checked_add(span)
    };
    at.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
