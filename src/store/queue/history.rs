//! What became of a message, and how it travelled: as far back as history is kept.

pub(super) mod statements;

use std::time::SystemTime;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use self::statements::{
    EVENTS, EVENTS_OF_ACCOUNT, EVENTS_OF_MESSAGE, LAST_TRY, MESSAGE, REPORTS, TRIES, WAITING,
    WITH_MESSAGE_ID,
};
use super::{
    LEASE, QueueRecipient,
    list::{RecipientColumns, lossy, recipient},
    milliseconds, span, time,
};
use crate::store::{Store, StoreError};

/// Messages of one Message-ID that are traced, the newest ones.
pub const TRACED_MAX: u32 = 100;
/// Reports of one message that are told of, the oldest ones.
const REPORTS_MAX: u32 = 100;

/// What is known of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trace {
    /// The queue id.
    pub id: String,
    /// The message itself; none where only its attempts are still known.
    pub message: Option<TracedMessage>,
    /// Recipients not yet served.
    pub waiting: Vec<QueueRecipient>,
    /// What was tried, oldest first.
    pub tries: Vec<StoredTry>,
    /// What its sender was told, oldest first.
    pub reports: Vec<TracedReport>,
    /// What its account was told, oldest first.
    pub events: Vec<StoredEvent>,
}

/// A message, in custody or departed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TracedMessage {
    /// The Message-ID field.
    pub message_id: Option<String>,
    /// Login name of who submitted it.
    pub account_name: Option<String>,
    /// Reverse-path; empty for the null one.
    pub sender: String,
    /// Header section and body.
    pub size_octets: u64,
    /// When it was accepted.
    pub received_at: SystemTime,
    /// When its last recipient ended; none while it is in custody.
    pub departed_at: Option<SystemTime>,
    /// The queue id that this report of ours tells of.
    pub report_of: Option<String>,
}

/// An attempt at a recipient, or a host that was tried in vain within one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredTry {
    /// The recipient's place in the envelope.
    pub recipient: u32,
    /// The forward-path.
    pub address: String,
    /// The route.
    pub next_hop: String,
    /// The host as the route names it.
    pub host: Option<String>,
    /// The address and port that was connected to.
    pub peer: Option<String>,
    /// How the link was encrypted, where it was.
    pub tls: Option<StoredTls>,
    /// For a mail host of the recipient's domain, what vouched for its being one: a word of
    /// [`crate::envelope::MxProof`].
    pub mx_proof: Option<String>,
    /// Whether REQUIRETLS was passed on, where the message asked for it.
    pub requiretls: Option<bool>,
    /// Start of it.
    pub started_at: SystemTime,
    /// End of it.
    pub ended_at: SystemTime,
    /// `delivered`, `relayed`, `deferred`, `failed`, `expired`, `cancelled` or `in vain`.
    pub outcome: String,
    /// Enhanced code.
    pub code: Option<String>,
    /// Reply or reason. From the network: escape it.
    pub text: String,
    /// `us` or `hop`: whose words it is.
    pub said_by: String,
}

/// How a link was encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredTls {
    /// Version.
    pub version: String,
    /// Cipher suite.
    pub suite: String,
    /// SHA-256 of the host's certificate, hexadecimal.
    pub fingerprint: String,
    /// How the host proved its name: a word of [`crate::envelope::Proof`].
    pub proof: String,
}

/// A report of ours about a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TracedReport {
    /// Its own queue id.
    pub id: String,
    /// When it was made.
    pub made_at: SystemTime,
    /// When it left; none while it is in custody.
    pub departed_at: Option<SystemTime>,
    /// Its recipient, while it is in custody.
    pub waiting: Vec<QueueRecipient>,
    /// Its last attempt: outcome and text.
    pub last: Option<(String, String)>,
}

/// Something that an account should know of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEvent {
    /// When.
    pub at: SystemTime,
    /// Login name of the account.
    pub account_name: Option<String>,
    /// `undeliverable` or `cancelled`.
    pub kind: String,
    /// The message.
    pub queue_id: String,
    /// What the message reported on.
    pub report_of: Option<String>,
    /// The recipient.
    pub recipient: String,
    /// Enhanced code.
    pub code: Option<String>,
    /// Why.
    pub text: String,
}

impl Store {
    /// What is known of the message of a queue id; `None` where nothing is.
    pub async fn trace(&self, id: &str, now: SystemTime) -> Result<Option<Trace>, StoreError> {
        // One read transaction, so that all of it is of one moment.
        let mut transaction = self.reader().begin().await?;
        trace(&mut transaction, id, now).await
    }

    /// What is known of messages with this Message-ID (brackets included), newest first,
    /// [`TRACED_MAX`] at most. Walks the messages in custody.
    pub async fn trace_message_id(
        &self,
        message_id: &str,
        now: SystemTime,
    ) -> Result<Vec<Trace>, StoreError> {
        let mut transaction = self.reader().begin().await?;
        let ids: Vec<Vec<u8>> = sqlx::query_scalar(WITH_MESSAGE_ID)
            .bind(message_id)
            .bind(TRACED_MAX)
            .fetch_all(&mut *transaction)
            .await?;
        let mut traces = Vec::new();
        for id in ids {
            traces.extend(trace(&mut transaction, &lossy(id), now).await?);
        }
        Ok(traces)
    }

    /// Events, newest first, of one account or of all.
    pub async fn events(
        &self,
        account: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventColumns> = match account {
            Some(account) => sqlx::query_as(EVENTS_OF_ACCOUNT).bind(limit).bind(account),
            None => sqlx::query_as(EVENTS).bind(limit),
        }
        .fetch_all(self.reader())
        .await?;
        Ok(rows.into_iter().map(event).collect())
    }
}

async fn trace(
    connection: &mut SqliteConnection,
    id: &str,
    now: SystemTime,
) -> Result<Option<Trace>, StoreError> {
    let message: Option<MessageColumns> = sqlx::query_as(MESSAGE)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let tries = sqlx::query(TRIES)
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    if message.is_none() && tries.is_empty() {
        return Ok(None);
    }
    let events: Vec<EventColumns> = sqlx::query_as(EVENTS_OF_MESSAGE)
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    let reports: Vec<ReportColumns> = sqlx::query_as(REPORTS)
        .bind(id)
        .bind(REPORTS_MAX)
        .fetch_all(&mut *connection)
        .await?;
    let mut trace = Trace {
        id: id.to_owned(),
        message: message.map(traced_message),
        waiting: waiting(connection, id, now).await?,
        tries: tries.iter().map(stored_try).collect::<Result<_, _>>()?,
        reports: Vec::new(),
        events: events.into_iter().map(event).collect(),
    };
    for (id, made_at, departed_at) in reports {
        let last = sqlx::query_as(LAST_TRY)
            .bind(&id)
            .fetch_optional(&mut *connection)
            .await?;
        trace.reports.push(TracedReport {
            made_at: time(made_at),
            departed_at: departed_at.map(time),
            waiting: waiting(connection, &id, now).await?,
            last,
            id,
        });
    }
    Ok(Some(trace))
}

async fn waiting(
    connection: &mut SqliteConnection,
    id: &str,
    now: SystemTime,
) -> Result<Vec<QueueRecipient>, StoreError> {
    let rows: Vec<RecipientColumns> = sqlx::query_as(WAITING)
        .bind(milliseconds(now))
        .bind(span(LEASE))
        .bind(id)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(recipient).collect())
}

// Octets where damage may have made them no text.
type MessageColumns = (
    Option<String>,
    Option<String>,
    Vec<u8>,
    i64,
    i64,
    Option<i64>,
    Option<String>,
);
type ReportColumns = (String, i64, Option<i64>);
type EventColumns = (
    i64,
    Option<String>,
    String,
    Vec<u8>,
    Option<String>,
    Vec<u8>,
    Option<String>,
    String,
);

fn traced_message(row: MessageColumns) -> TracedMessage {
    let (message_id, account_name, sender, size, received_at, departed_at, report_of) = row;
    TracedMessage {
        message_id,
        account_name,
        sender: lossy(sender),
        size_octets: u64::try_from(size).unwrap_or_default(),
        received_at: time(received_at),
        departed_at: departed_at.map(time),
        report_of,
    }
}

fn stored_try(row: &SqliteRow) -> Result<StoredTry, StoreError> {
    let version: Option<String> = row.try_get(5)?;
    let tls = match version {
        None => None,
        Some(version) => {
            let text = |at| {
                row.try_get::<Option<String>, usize>(at)
                    .map(Option::unwrap_or_default)
            };
            Some(StoredTls {
                version,
                suite: text(6)?,
                fingerprint: text(7)?,
                proof: text(8)?,
            })
        }
    };
    Ok(StoredTry {
        recipient: row.try_get(0)?,
        address: lossy(row.try_get(1)?),
        next_hop: row.try_get(2)?,
        host: row.try_get(3)?,
        peer: row.try_get(4)?,
        tls,
        mx_proof: row.try_get(9)?,
        requiretls: row.try_get(10)?,
        started_at: time(row.try_get(11)?),
        ended_at: time(row.try_get(12)?),
        outcome: row.try_get(13)?,
        code: row.try_get(14)?,
        text: row.try_get(15)?,
        said_by: row.try_get(16)?,
    })
}

fn event(row: EventColumns) -> StoredEvent {
    let (at, account_name, kind, queue_id, report_of, recipient, code, text) = row;
    StoredEvent {
        at: time(at),
        account_name,
        kind,
        queue_id: lossy(queue_id),
        report_of,
        recipient: lossy(recipient),
        code,
        text,
    }
}
