//! What travels around a message: sender, recipients, options, identity, queue id, outcome.
//!
//! Plain values with no behaviour beyond reading and writing themselves. Nothing here knows how a
//! message is stored, who is allowed to send it or how it travels. Speaks RFC 5321 (envelope) and
//! RFC 3463 (status of an outcome).

mod identity;
mod link;
mod moment;
mod outcome;
mod queue_id;
mod tls_facts;

pub use identity::{AccountId, Identity};
pub use link::{Link, LinkTls, Proof};
pub use moment::Moment;
pub use outcome::{Outcome, Status};
pub use queue_id::{QueueId, QueueIdError};
pub use tls_facts::{TlsFacts, TlsVersion};

use crate::smtp::{Mailbox, ReversePath};

/// The declared or discovered nature of a message's octets (RFC 6152).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyType {
    /// Only octets below 128.
    #[default]
    SevenBit,
    /// Octets above 127 occur, in lines.
    EightBitMime,
}

/// Everything that a transaction gathered beside the content (RFC 5321 §2.3.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Where reports go; `<>` for none.
    pub sender: ReversePath,
    /// Every accepted recipient once, in the order given.
    pub recipients: Vec<Mailbox>,
    /// `BODY=`, raised to `EightBitMime` where the content turned out to need it.
    pub body: BodyType,
    /// The client asked for SMTPUTF8 (RFC 6531); whether a next hop needs it is decided later.
    pub smtputf8: bool,
}
