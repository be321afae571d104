//! The group commit: new messages, outcomes and releases in one transaction and one call.
//!
//! The statements are constant and are prepared once. Rows travel as JSON arrays that `json_each`
//! takes apart, content as one blob that `substr` cuts: so a batch of any size is one call to the
//! thread that owns the connection, `BEGIN` and `COMMIT` included.

use std::time::SystemTime;

use sqlx::{Connection, Row, SqliteConnection, pool::PoolConnection};

use super::{
    Incarnation, milliseconds,
    rows::Rows,
    statements::{ACCEPT, EVERYTHING},
};
use crate::{
    envelope::{BodyType, Envelope, Identity, Level, Link, Outcome, QueueId, Status, TlsWish},
    smtp::{EnvelopeId, FutureRelease, Mailbox, OriginalRecipient},
    store::{
        Store, StoreError,
        limits::{Sent, Volumes},
    },
};

/// A message as its rows need it.
pub struct MessageRow<'a> {
    /// Free, and greater than all before.
    pub number: i64,
    /// The queue id.
    pub id: &'a QueueId,
    /// Who submitted it, or what it reports on.
    pub account: Option<&'a Identity>,
    /// The message that this report of ours tells of.
    pub report_of: Option<&'a QueueId>,
    /// The Message-ID field.
    pub message_id: Option<&'a str>,
    /// Sender, recipients and options.
    pub envelope: &'a Envelope,
    /// The header section.
    pub header: &'a [u8],
    /// The body.
    pub body: BodyRow<'a>,
    /// When it came; its recipients are due from then.
    pub received_at: SystemTime,
    /// Whose claim it is born with.
    pub claimed_by: Option<Incarnation>,
    /// It waits for an operator.
    pub is_held: bool,
    /// Its recipients are due from then, where that is not when it came.
    pub due_at: Option<SystemTime>,
    /// Its recipients are not due before, and its age counts from then.
    pub release_at: Option<SystemTime>,
    /// What its sender asked for of that kind.
    pub release_request: Option<FutureRelease>,
    /// How it counts for limits.
    pub sent: Option<&'a Sent>,
}

/// Where a body is.
pub enum BodyRow<'a> {
    /// In the row.
    Inline(&'a [u8]),
    /// In a file of the spool.
    File {
        /// Its name without a directory.
        name: &'a str,
        /// Its length.
        octets: u64,
    },
}

/// What is next for a recipient after an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Nothing: its row goes, and with the last one the message.
    Done,
    /// Due at this time.
    At(SystemTime),
    /// Held until an operator acts.
    Held,
}

/// One attempt at one recipient.
pub struct Record<'a> {
    /// The message.
    pub id: &'a QueueId,
    /// The recipient's place in the envelope.
    pub recipient: u32,
    /// Where it was taken, for the history.
    pub next_hop: &'a str,
    /// How, where somebody was spoken to.
    pub link: Option<&'a Link>,
    /// Start of the attempt.
    pub started_at: SystemTime,
    /// End of the attempt.
    pub ended_at: SystemTime,
    /// What became of it.
    pub outcome: &'a Outcome,
    /// What is next.
    pub next: Next,
    /// The sender hears of the delay.
    pub tells_delay: bool,
    /// Since when it waits for protection, where it does.
    pub unprotected_since: Option<SystemTime>,
    /// The history keeps it.
    pub in_history: bool,
}

/// A host tried in vain within an attempt.
pub struct Vain<'a> {
    /// The message.
    pub id: &'a QueueId,
    /// The recipient's place in the envelope.
    pub recipient: u32,
    /// The route.
    pub next_hop: &'a str,
    /// The host, and how far it was reached.
    pub link: &'a Link,
    /// Start of the try.
    pub started_at: SystemTime,
    /// End of the try.
    pub ended_at: SystemTime,
    /// Why it did not serve.
    pub status: &'a Status,
}

/// What an account's owner should know of and no report can tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// Mail of a null sender that will never arrive.
    Undeliverable,
    /// Somebody took it out of the queue.
    Cancelled,
}

impl EventKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Undeliverable => "undeliverable",
            EventKind::Cancelled => "cancelled",
        }
    }
}

/// An event as its row needs it.
pub struct EventRow<'a> {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: SystemTime,
    /// Whose mail it was.
    pub account: Option<&'a Identity>,
    /// The message.
    pub id: &'a QueueId,
    /// What the message reported on.
    pub report_of: Option<&'a QueueId>,
    /// The recipient.
    pub recipient: &'a Mailbox,
    /// Why.
    pub status: &'a Status,
}

/// Everything that one transaction is to make durable.
#[derive(Debug)]
pub struct Batch {
    messages: Rows,
    recipients: Rows,
    volumes: Volumes,
    correspondents: Rows,
    records: Rows,
    releases: Rows,
    events: Rows,
    /// Headers and bodies, end to end.
    contents: Vec<u8>,
    /// Number and queue id of the first message: whether it is there tells whether all are.
    first: Option<(i64, String)>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch::with_capacity(0)
    }
}

impl Batch {
    /// An empty batch with room for so many octets of content.
    pub fn with_capacity(octets: usize) -> Self {
        // SQLite takes an empty blob for NULL in places, so this one never is.
        let mut contents = Vec::with_capacity(octets + 1);
        contents.push(0);
        Batch {
            messages: Rows::default(),
            recipients: Rows::default(),
            volumes: Volumes::default(),
            correspondents: Rows::default(),
            records: Rows::default(),
            releases: Rows::default(),
            events: Rows::default(),
            contents,
            first: None,
        }
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.records.is_empty()
            && self.releases.is_empty()
            && self.events.is_empty()
    }

    /// Adds a message with its recipients and its content.
    pub fn message(&mut self, row: &MessageRow<'_>) {
        let envelope = row.envelope;
        let received_at = milliseconds(row.received_at);
        let (header_at, header_octets) = self.content(row.header);
        let (body_at, body_octets, file) = match row.body {
            BodyRow::Inline(octets) => {
                let (at, octets) = self.content(octets);
                (at, octets as u64, None)
            }
            BodyRow::File { name, octets } => (0, octets, Some(name)),
        };
        let deadline = envelope.timing.deadline;
        self.messages
            .row()
            .number(row.number)
            .text(row.id.as_str())
            .optional(row.account.map(|identity| identity.account.0))
            .address(envelope.sender.mailbox())
            .text(match envelope.body {
                BodyType::SevenBit => "7bit",
                BodyType::EightBitMime | BodyType::Binary => "8bitmime",
            })
            .number(i64::from(envelope.smtputf8))
            .number(header_octets as u64 + body_octets)
            .number(received_at)
            .number(header_at)
            .number(header_octets)
            .number(body_at)
            .number(body_octets)
            .optional_text(file)
            .optional_text(row.account.map(|identity| &*identity.name))
            .optional_text(row.message_id)
            .optional_text(envelope.ret.map(|ret| ret.to_string()).as_deref())
            .optional_text(envelope.envelope_id.as_ref().map(EnvelopeId::as_str))
            .optional_text(row.report_of.map(QueueId::as_str))
            .optional_text(envelope.protection.level.map(Level::as_str))
            .optional_text(match envelope.protection.tls {
                TlsWish::Unsaid => None,
                wish => Some(wish.as_str()),
            })
            .optional(row.release_at.map(milliseconds))
            .optional_text(row.release_request.map(|it| it.to_string()).as_deref())
            .optional(envelope.timing.priority.map(|it| it.number().into()))
            .optional(deadline.map(|it| milliseconds(it.at)))
            .optional_text(deadline.map(|it| it.mode.to_string()).as_deref())
            .optional(deadline.map(|it| it.is_traced.into()))
            .number(i64::from(envelope.body == BodyType::Binary))
            .end();
        let due_at = row.due_at.max(row.release_at);
        let status = match (row.is_held, row.release_at) {
            (true, _) => "held",
            (false, Some(_)) => "later",
            (false, None) => "due",
        };
        for (number, recipient) in envelope.recipients.iter().enumerate() {
            self.recipients
                .row()
                .number(row.number)
                .number(number)
                .address(Some(&recipient.mailbox))
                .number(due_at.map_or(received_at, milliseconds))
                .optional(row.claimed_by.map(|incarnation| incarnation.0))
                .optional_text(recipient.notify.map(|notify| notify.to_string()).as_deref())
                .optional_text(recipient.original.as_ref().map(OriginalRecipient::as_str))
                .text(status)
                .number(envelope.timing.urgency().number())
                .number(i64::from(recipient.is_copy))
                .end();
        }
        if let Some(sent) = row.sent {
            self.volumes.add(sent);
            for recipient in &sent.correspondents {
                self.correspondents
                    .row()
                    .number(sent.account.0)
                    .number(recipient)
                    .number(sent.day())
                    .end();
            }
        }
        if self.first.is_none() {
            self.first = Some((row.number, row.id.as_str().to_owned()));
        }
    }

    /// Adds the outcome of an attempt.
    pub fn record(&mut self, record: &Record<'_>) {
        let ended_at = milliseconds(record.ended_at);
        let outcome = match (record.outcome, record.next) {
            (Outcome::Delivered(_), _) => "delivered",
            (Outcome::Relayed(..), _) => "relayed",
            (Outcome::Deferred(_), Next::Done) => "expired",
            (Outcome::Deferred(_), _) => "deferred",
            (Outcome::Failed(_), _) => "failed",
        };
        let (next, at) = match record.next {
            Next::Done => ("done", ended_at),
            Next::At(at) => ("due", milliseconds(at)),
            Next::Held => ("held", ended_at),
        };
        let told_at = record.tells_delay.then_some(ended_at);
        self.records
            .row()
            .text(record.id.as_str())
            .number(record.recipient)
            .text(next)
            .number(at)
            .text(record.next_hop)
            .number(milliseconds(record.started_at))
            .number(ended_at)
            .optional_text(record.in_history.then_some(outcome))
            .status(record.outcome.status())
            .optional(told_at)
            .link(record.link)
            .number(1)
            .optional(record.unprotected_since.map(milliseconds))
            .end();
    }

    /// Gives a claimed recipient back, due at another time; no attempt was made.
    pub fn postpone(&mut self, id: &QueueId, recipient: u32, until: SystemTime) {
        self.records
            .row()
            .text(id.as_str())
            .number(recipient)
            .text("due")
            .number(milliseconds(until))
            .nulls(16)
            .number(0)
            .nulls(1)
            .end();
    }

    /// Adds a host that was tried in vain, for the history alone.
    pub fn in_vain(&mut self, vain: &Vain<'_>) {
        let ended_at = milliseconds(vain.ended_at);
        self.records
            .row()
            .text(vain.id.as_str())
            .number(vain.recipient)
            .text("history")
            .number(ended_at)
            .text(vain.next_hop)
            .number(milliseconds(vain.started_at))
            .number(ended_at)
            .text("in vain")
            .status(vain.status)
            .nulls(1)
            .link(Some(vain.link))
            .number(0)
            .nulls(1)
            .end();
    }

    /// Adds something for an account to know.
    pub fn event(&mut self, event: &EventRow<'_>) {
        self.events
            .row()
            .number(milliseconds(event.at))
            .optional(event.account.map(|identity| identity.account.0))
            .optional_text(event.account.map(|identity| &*identity.name))
            .text(event.kind.as_str())
            .text(event.id.as_str())
            .optional_text(event.report_of.map(QueueId::as_str))
            .address(Some(event.recipient))
            .status(event.status)
            .end();
    }

    /// Gives the claimed recipients of a message back.
    pub fn release(&mut self, id: &QueueId) {
        self.releases.row().text(id.as_str()).end();
    }

    /// Appends content; returns its place as `substr` counts, and its length.
    fn content(&mut self, octets: &[u8]) -> (usize, usize) {
        let at = self.contents.len() + 1;
        self.contents.extend_from_slice(octets);
        (at, octets.len())
    }
}

/// What a commit did besides what it was asked.
#[derive(Debug, Default)]
pub struct Committed {
    /// Body files of messages that have left the queue: nobody needs them.
    pub ended_files: Vec<String>,
}

impl Store {
    /// Makes a batch durable, all of it or nothing.
    ///
    /// # Errors
    /// Nothing of the batch is in the database, and nothing of it comes back after a crash as long
    /// as the disk took the one write that this makes over the traces of the failed one.
    pub async fn commit(
        &self,
        batch: Batch,
        incarnation: Incarnation,
    ) -> Result<Committed, StoreError> {
        let first = batch.first;
        let mut volumes = Rows::default();
        for (scope, slot, counts) in batch.volumes.rows() {
            volumes
                .row()
                .text(&scope)
                .number(slot)
                .number(counts.messages)
                .number(counts.recipients)
                .number(counts.outside)
                .number(counts.first_time)
                .end();
        }
        let only_messages =
            batch.records.is_empty() && batch.releases.is_empty() && batch.events.is_empty();
        let mut connection = self.writer().acquire().await?;
        let statement = if only_messages { ACCEPT } else { EVERYTHING };
        let mut query = sqlx::query(statement)
            .bind(batch.messages.finish())
            .bind(batch.contents)
            .bind(batch.recipients.finish())
            .bind(volumes.finish())
            .bind(batch.correspondents.finish());
        if !only_messages {
            query = query
                .bind(batch.records.finish())
                .bind(batch.releases.finish())
                .bind(batch.events.finish());
        }
        let done = query.fetch_all(&mut *connection).await;
        match done {
            Ok(rows) => {
                let files = rows.iter().map(|row| row.try_get(0));
                Ok(Committed {
                    ended_files: files.collect::<Result<_, _>>()?,
                })
            }
            Err(error) => {
                self.undo(connection, incarnation, first, error.into())
                    .await
            }
        }
    }

    /// Clears up after a failed transaction, and finds out whether it failed.
    ///
    /// The transaction may still be open, hence `ROLLBACK` first (its own result tells nothing:
    /// SQLite has already rolled back after some errors). A `COMMIT` whose sync failed may also
    /// have left a whole transaction in the log, which SQLite does not show but would find after a
    /// crash. Writing another one puts it over that place, and the chain of checksums breaks there
    /// for good. Where the disk does not take even that, the message was refused and may yet be
    /// found after a crash: its sender has it twice at worst.
    pub(super) async fn undo(
        &self,
        mut connection: PoolConnection<sqlx::Sqlite>,
        incarnation: Incarnation,
        first: Option<(i64, String)>,
        error: StoreError,
    ) -> Result<Committed, StoreError> {
        let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
        match error {
            // It did not begin.
            StoreError::Busy | StoreError::Closed => return Err(error),
            // A descriptor on which a sync failed is not believed again (S4).
            StoreError::Io(_) => {
                let _ = connection.detach().close_hard().await;
                connection = match self.writer().acquire().await {
                    Ok(connection) => connection,
                    Err(_) => return Err(error),
                };
            }
            _ => {}
        }
        match overwrite(&mut connection, incarnation, first).await {
            // The rows are there: what failed came after the commit.
            Ok(true) => Ok(Committed::default()),
            Ok(false) => Err(error),
            Err(second) => {
                tracing::warn!(%error, %second, "database connection dropped after an error");
                // Its state is unknown; the pool makes a new one for the next batch.
                let _ = connection.detach().close_hard().await;
                Err(error)
            }
        }
    }
}

impl Store {
    /// Clears up after a transaction of another kind whose `COMMIT` failed, as [`Store::undo`] does
    /// after one of the group commit; gives the error back.
    pub(super) async fn uncommitted(&self, error: StoreError) -> StoreError {
        // Rows that come and go: SQLite does not write what stays as it is.
        const OVERWRITE: [&str; 2] = [
            "INSERT INTO nodes (name, seen_at) VALUES ('', 0)",
            "DELETE FROM nodes WHERE name = ''",
        ];
        let Ok(mut connection) = self.writer().acquire().await else {
            return error;
        };
        let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
        if let StoreError::Io(_) = error {
            // A descriptor on which a sync failed is not believed again (S4).
            let _ = connection.detach().close_hard().await;
            connection = match self.writer().acquire().await {
                Ok(connection) => connection,
                Err(_) => return error,
            };
        }
        for statement in OVERWRITE {
            if let Err(second) = sqlx::query(statement).execute(&mut *connection).await {
                tracing::warn!(%error, %second, "database connection dropped after an error");
                let _ = connection.detach().close_hard().await;
                break;
            }
        }
        error
    }
}

/// Writes over the place of a failed transaction; tells whether its first message is there.
async fn overwrite(
    connection: &mut SqliteConnection,
    incarnation: Incarnation,
    first: Option<(i64, String)>,
) -> Result<bool, StoreError> {
    // A millisecond more, because SQLite does not write a row that stays as it is.
    sqlx::query("UPDATE nodes SET seen_at = seen_at + 1 WHERE incarnation = $1")
        .bind(incarnation.0)
        .execute(&mut *connection)
        .await?;
    let Some((number, id)) = first else {
        return Ok(false);
    };
    let found: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM messages WHERE number = $1 AND id = $2")
            .bind(number)
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    Ok(found.is_some())
}
