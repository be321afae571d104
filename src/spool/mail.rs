//! Mail on its way into custody, in it, and out of it.

use std::{io, path::PathBuf, time::SystemTime};

use super::Body;
use crate::{
    envelope::{BodyType, Envelope, Identity, Protection, QueueId, Recipient, Timing},
    smtp::{EnvelopeId, FutureRelease, Mailbox, Notify, OriginalRecipient, Return, ReversePath},
    store::limits::Sent,
};

/// What intake hands over.
pub struct NewMessage {
    /// Unique, and later than those before it.
    pub id: QueueId,
    /// Who submitted it; for a report of ours, who submitted what it tells of.
    pub account: Option<Identity>,
    /// The message that this report of ours tells of.
    pub report_of: Option<QueueId>,
    /// The Message-ID field, by which people ask for it.
    pub message_id: Option<String>,
    /// Sender, recipients and options.
    pub envelope: Envelope,
    /// The finished header section with its blank line, CRLF.
    pub header: Vec<u8>,
    /// The finished body.
    pub body: Body,
    /// When the message was complete.
    pub received_at: SystemTime,
    /// When it is handed on first.
    pub start: Start,
    /// The time that it is kept until besides, from which on its age counts.
    pub release_at: Option<SystemTime>,
    /// What its sender asked for of that kind (RFC 4865).
    pub release_request: Option<FutureRelease>,
    /// How it counts for its account's limits.
    pub sent: Option<Sent>,
}

/// When a message is handed on first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// Not before this time, which is less than [`super::LONGEST_RETRY`] away.
    At(SystemTime),
    /// When an operator releases it.
    Held,
}

/// Content in custody: immutable.
#[derive(Clone, Debug)]
pub struct Content {
    /// The header section with its blank line, CRLF.
    pub header: bytes::Bytes,
    /// What follows it.
    pub body: StoredBody,
}

/// A body in custody.
#[derive(Clone, Debug)]
pub enum StoredBody {
    /// Small: here.
    Memory(bytes::Bytes),
    /// Large: in a file, which goes with the last recipient's outcome.
    File {
        /// The file.
        path: PathBuf,
        /// Its length.
        octets: u64,
    },
}

impl StoredBody {
    /// Length in octets.
    pub fn len(&self) -> u64 {
        match self {
            StoredBody::Memory(octets) => octets.len() as u64,
            StoredBody::File { octets, .. } => *octets,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens it for reading from its first octet; opening and reading may block.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn open(&self) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(match self {
            StoredBody::Memory(octets) => Box::new(io::Cursor::new(octets.clone())),
            StoredBody::File { path, .. } => Box::new(std::fs::File::open(path)?),
        })
    }
}

/// Due recipients of one message, claimed by this process.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The message.
    pub id: QueueId,
    /// Who submitted it; for a report of ours, who submitted what it tells of.
    pub account: Option<Identity>,
    /// The message that this report of ours tells of.
    pub report_of: Option<QueueId>,
    /// Where reports go.
    pub sender: ReversePath,
    /// Nature of the octets.
    pub body: BodyType,
    /// Whether the client asked for SMTPUTF8.
    pub smtputf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
    /// What its hand-offs must be protected by.
    pub protection: Protection,
    /// Before which others, and until when, it is to travel.
    pub timing: Timing,
    /// When the message was accepted.
    pub received_at: SystemTime,
    /// From when its age counts.
    pub released_at: SystemTime,
    /// What its sender asked for of that kind (RFC 4865).
    pub release_request: Option<FutureRelease>,
    /// In the order of the envelope.
    pub recipients: Vec<DueRecipient>,
    /// Present for messages fresh from intake; otherwise [`Spool::content`] reads it.
    pub content: Option<Content>,
}

/// A recipient to be served now.
#[derive(Clone, Debug)]
pub struct DueRecipient {
    /// Its place in the envelope, from 0.
    pub number: u32,
    /// The forward-path.
    pub address: Mailbox,
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT (RFC 3461 §4.2).
    pub original: Option<OriginalRecipient>,
    /// Not to be delivered but filed among what the account of this address sent.
    pub is_copy: bool,
    /// Attempts made before.
    pub attempts: u32,
    /// When its sender last heard that it is delayed.
    pub delay_told_at: Option<SystemTime>,
    /// Since when it waits for its next hops to be protected as they must be, where it does.
    pub unprotected_since: Option<SystemTime>,
}

impl DueRecipient {
    /// A recipient that was never tried.
    pub fn fresh(number: u32, recipient: Recipient) -> Self {
        DueRecipient {
            number,
            address: recipient.mailbox,
            notify: recipient.notify,
            original: recipient.original,
            is_copy: recipient.is_copy,
            attempts: 0,
            delay_told_at: None,
            unprotected_since: None,
        }
    }
}
