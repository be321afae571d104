//! What travels around a message: sender, recipients, options, identity, queue id, outcome.
//!
//! Plain values with no behaviour beyond reading and writing themselves. Nothing here knows how a
//! message is stored, who is allowed to send it or how it travels. Speaks RFC 5321 (envelope) and
//! RFC 3463 (status of an outcome).

mod identity;
mod link;
mod moment;
mod outcome;
mod protection;
mod queue_id;
mod timing;
mod tls_facts;
mod tlsa;

pub use identity::{AccountId, AppPasswordId, Identity};
pub use link::{Link, LinkTls, MxProof, Proof};
pub use moment::Moment;
pub use outcome::{Outcome, Reporting, Status, Voice};
pub use protection::{AccountProtection, AccountTls, Level, Protection, TlsWish};
pub use queue_id::{QueueId, QueueIdError};
pub use timing::{Deadline, Timing};
pub use tls_facts::{TlsFacts, TlsVersion};
pub use tlsa::Tlsa;

use crate::smtp::{EnvelopeId, Mailbox, Notify, OriginalRecipient, Return, ReversePath};

/// The declared or discovered nature of a message's octets (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyType {
    /// Only octets below 128.
    #[default]
    SevenBit,
    /// Octets above 127 occur, in lines.
    EightBitMime,
    /// The body is octets, not lines (RFC 3030 §3); the header section is lines all the same.
    Binary,
}

/// A recipient, and what the sender wants to hear of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// The forward-path.
    pub mailbox: Mailbox,
    /// NOTIFY, where the client gave it (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT, where the client gave it (RFC 3461 §4.2).
    pub original: Option<OriginalRecipient>,
    /// Not to be delivered but filed among what the account of this address sent.
    pub is_copy: bool,
}

impl From<Mailbox> for Recipient {
    /// A recipient of whom nothing was asked.
    fn from(mailbox: Mailbox) -> Self {
        Recipient {
            mailbox,
            notify: None,
            original: None,
            is_copy: false,
        }
    }
}

/// Everything that a transaction gathered beside the content (RFC 5321 §2.3.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Where reports go; `<>` for none.
    pub sender: ReversePath,
    /// Every accepted recipient once, in the order given.
    pub recipients: Vec<Recipient>,
    /// `BODY=`, raised to `EightBitMime` where the content turned out to need it.
    pub body: BodyType,
    /// The client asked for SMTPUTF8 (RFC 6531); whether a next hop needs it is decided later.
    pub smtputf8: bool,
    /// RET, where the client gave it (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID, where the client gave it (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
    /// What its hand-offs must be protected by.
    pub protection: Protection,
    /// Before which others, and until when, it is to travel.
    pub timing: Timing,
}
