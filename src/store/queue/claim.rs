//! Handing out due work, and reading its content back.

use std::time::{Duration, SystemTime};

use sqlx::{Row, sqlite::SqliteRow};

use super::{Incarnation, LEASE, milliseconds, span, time};
use crate::{
    envelope::QueueId,
    store::{Store, StoreError},
};

/// A message with recipients that were just claimed; texts as stored.
#[derive(Clone, Debug)]
pub struct ClaimedMessage {
    /// Its row.
    pub number: i64,
    /// Its queue id.
    pub id: String,
    /// Who submitted it: the account's id and login name.
    pub account: Option<(i64, String)>,
    /// The queue id that this report of ours tells of.
    pub report_of: Option<String>,
    /// Reverse-path; empty for the null one.
    pub sender: String,
    /// RET.
    pub ret: Option<String>,
    /// ENVID as spelled.
    pub envelope_id: Option<String>,
    /// `7bit` or `8bitmime`.
    pub body_type: String,
    /// Whether its body is no lines.
    pub is_binary: bool,
    /// Whether SMTPUTF8 was asked for.
    pub smtputf8: bool,
    /// The least level of its hand-offs: a word of [`crate::envelope::Level`].
    pub level: Option<String>,
    /// What it asks of TLS: a word of [`crate::envelope::TlsWish`]; none where nothing.
    pub tls_wish: Option<String>,
    /// When it was accepted.
    pub received_at: SystemTime,
    /// From when its age counts, where that is not when it was accepted.
    pub release_at: Option<SystemTime>,
    /// What its sender asked for: a [`crate::smtp::FutureRelease`].
    pub release_request: Option<String>,
    /// MT-PRIORITY.
    pub priority: Option<i64>,
    /// The deliver-by-time, its mode, and whether relays are told of.
    pub deadline: Option<(SystemTime, String, bool)>,
    /// In the order of the envelope.
    pub recipients: Vec<ClaimedRecipient>,
}

/// One claimed recipient.
#[derive(Clone, Debug)]
pub struct ClaimedRecipient {
    /// Its place in the envelope.
    pub number: u32,
    /// The forward-path as stored.
    pub address: String,
    /// NOTIFY.
    pub notify: Option<String>,
    /// ORCPT as spelled.
    pub original: Option<String>,
    /// Not to be delivered but filed among what the account of this address sent.
    pub is_copy: bool,
    /// Attempts made before.
    pub attempts: u32,
    /// When its sender last heard of the delay.
    pub delay_told_at: Option<SystemTime>,
    /// Since when it waits for protection, where it does.
    pub unprotected_since: Option<SystemTime>,
}

/// Content as stored.
#[derive(Clone, Debug)]
pub struct ContentRow {
    /// The header section.
    pub header: Vec<u8>,
    /// The body, where it is in the row.
    pub body: Option<Vec<u8>>,
    /// The name of its file, where it is not.
    pub body_file: Option<String>,
    /// How long the body was when it was accepted.
    pub body_octets: u64,
}

impl Store {
    /// Claims what is due at `now` for `incarnation`: at most `limit` messages, the most urgent ones
    /// first, and of those the oldest due.
    ///
    /// What is due further off than `longest` from now was written under another clock and counts
    /// as due.
    pub async fn claim_due(
        &self,
        incarnation: Incarnation,
        now: SystemTime,
        longest: Duration,
        limit: usize,
    ) -> Result<Vec<ClaimedMessage>, StoreError> {
        let now = milliseconds(now);
        // One transaction, so that after an error nothing stays claimed that nobody was told of.
        let mut transaction = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(COME_DUE)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        let mut rows: Vec<RecipientColumns> = sqlx::query_as(CLAIM)
            .bind(incarnation.0)
            .bind(now)
            .bind(now.saturating_add(span(longest)))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(span(LEASE))
            .fetch_all(&mut *transaction)
            .await?;
        rows.sort_unstable_by_key(|(message, number, ..)| (*message, *number));
        let mut claimed: Vec<ClaimedMessage> = Vec::new();
        for (message, number, address, attempts, notify, original, told_at, since, is_copy) in rows
        {
            if claimed.last().is_none_or(|last| last.number != message) {
                claimed.push(message_row(&mut transaction, message).await?);
            }
            if let Some(last) = claimed.last_mut() {
                last.recipients.push(ClaimedRecipient {
                    number,
                    address: lossy(address),
                    notify,
                    original,
                    is_copy,
                    attempts,
                    delay_told_at: told_at.map(time),
                    unprotected_since: since.map(time),
                });
            }
        }
        transaction.commit().await?;
        Ok(claimed)
    }

    /// When the next free recipient falls due, or may; `None` where none waits.
    pub async fn next_due(
        &self,
        incarnation: Incarnation,
        now: SystemTime,
        longest: Duration,
    ) -> Result<Option<SystemTime>, StoreError> {
        let now = milliseconds(now);
        let (next, last, lost): (Option<i64>, Option<i64>, bool) = sqlx::query_as(NEXT_DUE)
            .bind(incarnation.0)
            .bind(now)
            .bind(span(LEASE))
            .fetch_one(self.reader())
            .await?;
        let stepped = last.is_some_and(|last| last > now.saturating_add(span(longest)));
        if lost || stepped {
            return Ok(Some(time(next.unwrap_or(now).min(now))));
        }
        Ok(next.map(time))
    }

    /// The content of a message; `None` where it is not in the queue.
    pub async fn content(&self, id: &QueueId) -> Result<Option<ContentRow>, StoreError> {
        let row: Option<ContentColumns> = sqlx::query_as(
            r#"
            SELECT c.header, c.body, c.body_file, c.body_octets
              FROM messages AS m
              JOIN contents AS c ON c.message = m.number
             WHERE m.id = $1
            "#,
        )
        .bind(id.as_str())
        .fetch_optional(self.reader())
        .await?;
        Ok(row.map(ContentRow::from))
    }

    /// Takes a message that cannot be served out of the queue's sight, for a person to look at.
    pub async fn set_aside_id(&self, id: &QueueId, reason: &str) -> Result<(), StoreError> {
        let number: i64 = sqlx::query_scalar("SELECT number FROM messages WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(self.reader())
            .await?;
        self.set_aside(number, reason).await
    }

    /// As [`Store::set_aside_id`], for a message whose id may be what cannot be read.
    pub async fn set_aside(&self, number: i64, reason: &str) -> Result<(), StoreError> {
        sqlx::query(
            r#"
            UPDATE recipients
               SET status = 'aside',
                   claimed_by = NULL,
                   last_text = $2
             WHERE message = $1
            "#,
        )
        .bind(number)
        .bind(reason)
        .execute(self.writer())
        .await?;
        Ok(())
    }

    /// Whether a body file of that name belongs to a message.
    pub async fn knows_body_file(&self, name: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM contents WHERE body_file = $1")
            .bind(name)
            .fetch_optional(self.reader())
            .await?;
        Ok(found.is_some())
    }
}

// Octets where damage may have made them no text.
#[derive(Default)]
struct MessageColumns {
    id: Vec<u8>,
    sender: Vec<u8>,
    body_type: String,
    smtputf8: bool,
    received_at: i64,
    account: Option<i64>,
    account_name: Option<String>,
    report_of: Option<String>,
    ret: Option<String>,
    envelope_id: Option<String>,
    level: Option<String>,
    tls_wish: Option<String>,
    release_at: Option<i64>,
    release_request: Option<String>,
    priority: Option<i64>,
    deliver_by: Option<i64>,
    by_mode: Option<String>,
    by_trace: Option<bool>,
    is_binary: bool,
}
type RecipientColumns = (
    i64,
    u32,
    Vec<u8>,
    u32,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    bool,
);
impl MessageColumns {
    fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(MessageColumns {
            id: row.try_get(0)?,
            sender: row.try_get(1)?,
            body_type: row.try_get(2)?,
            smtputf8: row.try_get(3)?,
            received_at: row.try_get(4)?,
            account: row.try_get(5)?,
            account_name: row.try_get(6)?,
            report_of: row.try_get(7)?,
            ret: row.try_get(8)?,
            envelope_id: row.try_get(9)?,
            level: row.try_get(10)?,
            tls_wish: row.try_get(11)?,
            release_at: row.try_get(12)?,
            release_request: row.try_get(13)?,
            priority: row.try_get(14)?,
            deliver_by: row.try_get(15)?,
            by_mode: row.try_get(16)?,
            by_trace: row.try_get(17)?,
            is_binary: row.try_get(18)?,
        })
    }
}

pub(super) type ContentColumns = (Vec<u8>, Option<Vec<u8>>, Option<String>, i64);

impl From<ContentColumns> for ContentRow {
    fn from((header, body, body_file, octets): ContentColumns) -> Self {
        ContentRow {
            header,
            body,
            body_file,
            body_octets: u64::try_from(octets).unwrap_or_default(),
        }
    }
}

/// The message's own row; one without an id where it cannot be read.
async fn message_row(
    connection: &mut sqlx::SqliteConnection,
    number: i64,
) -> Result<ClaimedMessage, StoreError> {
    let row = sqlx::query(
        r#"
        SELECT id, sender, body_type, smtputf8, received_at,
               account, account_name, report_of, ret, envelope_id, level, tls_wish,
               release_at, release_request, priority, deliver_by, by_mode, by_trace,
               is_binary
          FROM messages
         WHERE number = $1
        "#,
    )
    .bind(number)
    .fetch_one(connection)
    .await
    .and_then(|row| MessageColumns::read(&row));
    let row = match row.map_err(StoreError::from) {
        Ok(row) => row,
        Err(StoreError::NotFound | StoreError::Corrupt(_) | StoreError::Database(_)) => {
            MessageColumns::default()
        }
        Err(error) => return Err(error),
    };
    let name = row.account_name.unwrap_or_default();
    let deadline = row.deliver_by.zip(row.by_mode);
    Ok(ClaimedMessage {
        number,
        id: lossy(row.id),
        account: row.account.map(|id| (id, name)),
        report_of: row.report_of,
        sender: lossy(row.sender),
        ret: row.ret,
        envelope_id: row.envelope_id,
        body_type: row.body_type,
        is_binary: row.is_binary,
        smtputf8: row.smtputf8,
        level: row.level,
        tls_wish: row.tls_wish,
        received_at: time(row.received_at),
        release_at: row.release_at.map(time),
        release_request: row.release_request,
        priority: row.priority,
        deadline: deadline.map(|(at, mode)| (time(at), mode, row.by_trace.unwrap_or(false))),
        recipients: Vec::new(),
    })
}

fn lossy(octets: Vec<u8>) -> String {
    String::from_utf8_lossy(&octets).into_owned()
}

/// `?1` now. What was promised not to go before its time does not go when a clock is stepped either.
const COME_DUE: &str = r#"
    UPDATE recipients
       SET status = 'due'
     WHERE status = 'later'
       AND next_attempt_at <= ?1
"#;

/// What a dead incarnation had claimed, by which side of ours its number lies on.
macro_rules! lost {
    ($priority:literal, $side:literal) => {
        concat!(
            r#"
                     UNION ALL
                    SELECT message, priority, next_attempt_at
                      FROM (SELECT message, priority, next_attempt_at
                              FROM recipients
                             WHERE status = 'due'
                               AND "#,
            $priority,
            r#"
                               AND claimed_by "#,
            $side,
            r#" ?1
                               AND claimed_by NOT IN
                                   (SELECT incarnation
                                      FROM nodes
                                     WHERE abs(seen_at - ?2) < ?5)
                             LIMIT ?4)"#
        )
    };
}

/// Whether there is any such.
macro_rules! any_lost {
    ($or:literal, $priority:literal, $side:literal) => {
        concat!(
            $or,
            r#"
           EXISTS (SELECT 1
                     FROM recipients
                    WHERE status = 'due'
                      AND "#,
            $priority,
            " AND claimed_by ",
            $side,
            r#" ?1
                      AND claimed_by NOT IN
                          (SELECT incarnation FROM nodes WHERE abs(seen_at - ?2) < ?3))"#
        )
    };
}

/// Repeats a piece of SQL for each priority but 0, with the number in its middle.
macro_rules! each_priority {
    ($before:literal, $after:literal) => {
        each_priority!($before, $after,
            "9" "8" "7" "6" "5" "4" "3" "2" "1"
            "-1" "-2" "-3" "-4" "-5" "-6" "-7" "-8" "-9")
    };
    ($before:literal, $after:literal, $($level:literal)+) => {
        concat!($($before, $level, $after),+)
    };
}

/// `?1` incarnation, `?2` now, `?3` further off than any retry, `?4` limit, `?5` lease.
///
/// Each branch walks a range of `recipients_due` or, for what has a priority, of
/// `recipients_due_by_priority`; the owners are few. A claim lives while its incarnation was seen
/// within the lease of now, on either side: clocks differ.
pub(super) const CLAIM: &str = concat!(
    r#"
    UPDATE recipients
       SET claimed_by = ?1
     WHERE status = 'due'
       AND (claimed_by IS NULL
            OR claimed_by NOT IN (SELECT incarnation
                                    FROM nodes
                                   WHERE incarnation = ?1 OR abs(seen_at - ?2) < ?5))
       AND (next_attempt_at <= ?2 OR next_attempt_at > ?3 OR claimed_by IS NOT NULL)
       AND message IN
           (SELECT message
              FROM (SELECT message, priority, next_attempt_at
                      FROM (SELECT message, priority, next_attempt_at
                              FROM recipients
                             WHERE status = 'due'
                               AND priority = 0
                               AND claimed_by IS NULL
                               AND next_attempt_at <= ?2
                             ORDER BY next_attempt_at
                             LIMIT ?4)
                     UNION ALL
                    SELECT message, priority, next_attempt_at
                      FROM (SELECT message, priority, next_attempt_at
                              FROM recipients
                             WHERE status = 'due'
                               AND priority = 0
                               AND claimed_by IS NULL
                               AND next_attempt_at > ?3         -- the clock was stepped
                             LIMIT ?4)"#,
    each_priority!(
        r#"
                     UNION ALL
                    SELECT message, priority, next_attempt_at
                      FROM (SELECT message, priority, next_attempt_at
                              FROM recipients
                             WHERE status = 'due'
                               AND priority <> 0
                               AND claimed_by IS NULL
                               AND next_attempt_at <= ?2
                               AND priority = "#,
        r#"
                             ORDER BY next_attempt_at
                             LIMIT ?4)"#
    ),
    each_priority!(
        r#"
                     UNION ALL
                    SELECT message, priority, next_attempt_at
                      FROM (SELECT message, priority, next_attempt_at
                              FROM recipients
                             WHERE status = 'due'
                               AND priority <> 0
                               AND claimed_by IS NULL
                               AND next_attempt_at > ?3
                               AND priority = "#,
        r#"
                             LIMIT ?4)"#
    ),
    lost!("priority = 0", "<"),
    lost!("priority = 0", ">"),
    lost!("priority <> 0", "<"),
    lost!("priority <> 0", ">"),
    r#")
             GROUP BY message
             ORDER BY max(priority) DESC, min(next_attempt_at)
             LIMIT ?4)
    RETURNING message, number, address, attempts, notify, original, delay_told_at,
              unprotected_since, is_copy
"#
);

/// `?1` incarnation, `?2` now, `?3` lease.
pub(super) const NEXT_DUE: &str = concat!(
    r#"
    SELECT (SELECT min(at)
              FROM (SELECT min(next_attempt_at) AS at
                      FROM recipients
                     WHERE status = 'due' AND priority = 0 AND claimed_by IS NULL"#,
    each_priority!(
        r#"
                     UNION ALL
                    SELECT min(next_attempt_at)
                      FROM recipients
                     WHERE status = 'due' AND priority <> 0 AND claimed_by IS NULL
                       AND priority = "#,
        ""
    ),
    r#"
                     UNION ALL
                    SELECT min(next_attempt_at)
                      FROM recipients
                     WHERE status = 'later')),
           (SELECT max(at)
              FROM (SELECT max(next_attempt_at) AS at
                      FROM recipients
                     WHERE status = 'due' AND priority = 0 AND claimed_by IS NULL"#,
    each_priority!(
        r#"
                     UNION ALL
                    SELECT max(next_attempt_at)
                      FROM recipients
                     WHERE status = 'due' AND priority <> 0 AND claimed_by IS NULL
                       AND priority = "#,
        ""
    ),
    "))",
    any_lost!(",", "priority = 0", "<"),
    any_lost!(" OR", "priority = 0", ">"),
    any_lost!(" OR", "priority <> 0", "<"),
    any_lost!(" OR", "priority <> 0", ">"),
);
