//! What is written down of attempts, and what follows from it at the same instant.

use std::{sync::Arc, time::SystemTime};

use super::{EventKind, Next};
use crate::{
    envelope::{Envelope, Identity, Link, Outcome, QueueId, Status},
    smtp::Mailbox,
};

/// One attempt at one recipient and what is to happen next.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// The message.
    pub id: QueueId,
    /// The recipient's number.
    pub recipient: u32,
    /// Where it was taken: the name of the route.
    pub next_hop: Arc<str>,
    /// The link by which the outcome came; none where nobody was spoken to.
    pub link: Option<Arc<Link>>,
    /// Hosts that were tried before, and why they did not serve.
    pub in_vain: Arc<[Try]>,
    /// Start of the attempt.
    pub started_at: SystemTime,
    /// End of the attempt.
    pub ended_at: SystemTime,
    /// What became of it.
    pub outcome: Outcome,
    /// What is next; a time later than [`LONGEST_RETRY`] after the attempt is brought forward.
    pub next: Next,
    /// Its sender hears now that it is delayed.
    pub tells_delay: bool,
    /// Since when it waits for its next hops to be protected as they must be, where it does.
    pub unprotected_since: Option<SystemTime>,
    /// Whether a line of the trace tells of it.
    pub trace: Trace,
}

/// Whether the history of a message keeps an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trace {
    /// It does.
    Kept,
    /// Nobody was asked, for it was known that nobody would answer.
    Omitted,
}

/// A host that was tried in vain within an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Try {
    /// How far it was reached.
    pub link: Arc<Link>,
    /// When the try ended.
    pub ended_at: SystemTime,
    /// Why it did not serve.
    pub status: Status,
}

/// A report of ours on its way into custody, to be made durable together with the outcomes that it
/// tells of.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its own queue id.
    pub id: QueueId,
    /// The message that it tells of.
    pub report_of: QueueId,
    /// Who submitted that message.
    pub account: Option<Identity>,
    /// Its own Message-ID field.
    pub message_id: Option<String>,
    /// From `<>` to the message's reverse-path.
    pub envelope: Envelope,
    /// Its header section with the blank line, CRLF.
    pub header: bytes::Bytes,
    /// Its body.
    pub body: bytes::Bytes,
    /// When it was made.
    pub made_at: SystemTime,
}

/// Something that an account should know of and no report can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: SystemTime,
    /// Whose mail it was.
    pub account: Option<Identity>,
    /// The message.
    pub id: QueueId,
    /// The message that this report of ours told of.
    pub report_of: Option<QueueId>,
    /// The recipient.
    pub recipient: Mailbox,
    /// Why.
    pub status: Status,
}

/// Outcomes, and what follows from them at the same instant.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// What became of recipients.
    pub attempts: Vec<AttemptRecord>,
    /// What their senders are told.
    pub reports: Vec<Report>,
    /// What is kept for their accounts.
    pub events: Vec<Event>,
    /// Claimed recipients that are given back untried.
    pub postponed: Vec<Postponed>,
}

/// A claimed recipient that is given back untried, due at another time.
#[derive(Clone, Debug)]
pub struct Postponed {
    /// The message.
    pub id: QueueId,
    /// The recipient's number.
    pub recipient: u32,
    /// When it is due.
    pub until: SystemTime,
}

impl From<Vec<AttemptRecord>> for Settlement {
    fn from(attempts: Vec<AttemptRecord>) -> Self {
        Settlement {
            attempts,
            ..Settlement::default()
        }
    }
}

impl Settlement {
    /// Takes another one's content over.
    pub fn append(&mut self, mut other: Settlement) {
        self.attempts.append(&mut other.attempts);
        self.reports.append(&mut other.reports);
        self.events.append(&mut other.events);
        self.postponed.append(&mut other.postponed);
    }
}
