//! What a report is made of: plain values.

use std::{net::IpAddr, time::SystemTime};

use super::due;
use crate::{
    envelope::{LinkTls, MxProof, QueueId, TlsVersion},
    smtp::{
        Domain, EnhancedCode, EnvelopeId, FutureRelease, Mailbox, Notify, OriginalRecipient,
        Return, ReversePath,
    },
};

/// What happened to recipients of one message.
#[derive(Clone, Debug)]
pub struct Incident<'a> {
    /// Our own name: who reports, and the host of the report's From (RFC 3464 §2.2.2).
    pub reporting_mta: &'a Domain,
    /// The message's queue id, by which an operator finds it.
    pub queue_id: &'a QueueId,
    /// ENVID, where the client gave it.
    pub envelope_id: Option<&'a EnvelopeId>,
    /// When the message came into custody.
    pub arrived: SystemTime,
    /// What its sender asked for of a later time (RFC 4865 §5.1.2).
    pub release_request: Option<FutureRelease>,
    /// By when its sender wanted it to be delivered (RFC 2852 §5).
    pub deliver_by: Option<SystemTime>,
    /// The message's reverse-path, to which the report goes.
    pub sender: &'a ReversePath,
    /// RET, where the client gave it; `Headers` for a message sent with REQUIRETLS (RFC 8689 §5).
    pub ret: Option<Return>,
    /// What the way back to the sender can carry.
    pub channel: ReturnChannel,
    /// The message's header section: lines that end in CRLF, without the blank one.
    pub header: &'a [u8],
    /// The message's whole body, where it is to be returned; see [`returns_body`].
    ///
    /// [`returns_body`]: super::returns_body
    pub body: Option<&'a [u8]>,
    /// It asked for REQUIRETLS: nothing that it says goes back (RFC 8689 §5).
    pub requiretls: bool,
    /// The recipients to whom something happened.
    pub recipients: &'a [RecipientReport],
}

impl Incident<'_> {
    /// The recipients of whom a report of this kind is to tell.
    pub fn due(&self, kind: Kind) -> Vec<&RecipientReport> {
        self.recipients
            .iter()
            .filter(|recipient| {
                recipient.action.kind() == kind && due(recipient.notify, kind, self.sender)
            })
            .collect()
    }
}

/// What the way back to the sender can carry; delivery must obey what the report then needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReturnChannel {
    /// Seven bits only: what needs more is encoded or left out.
    SevenBit,
    /// 8BITMIME (RFC 6152).
    EightBit,
    /// SMTPUTF8 (RFC 6531), and so 8BITMIME: the forms of RFC 6533 §4 go unencoded.
    Utf8,
}

impl ReturnChannel {
    /// What to count on while the way back is not known.
    ///
    /// Only SMTPUTF8 leads to a local part beyond ASCII; any other sender may live behind a hop
    /// without it. Eight bits are not too much to ask: delivery encodes them for a hop that takes
    /// seven.
    pub fn presumed(sender: &ReversePath) -> Self {
        match sender.mailbox() {
            Some(mailbox) if !mailbox.local_part().is_ascii() => ReturnChannel::Utf8,
            _ => ReturnChannel::EightBit,
        }
    }
}

/// What happened to one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientReport {
    /// The address as it was accepted (RFC 3464 §2.3.2).
    pub final_recipient: Mailbox,
    /// ORCPT, where the client gave it.
    pub original_recipient: Option<OriginalRecipient>,
    /// NOTIFY, where the client gave it.
    pub notify: Option<Notify>,
    /// What we did.
    pub action: Action,
    /// Why (RFC 3463).
    pub status: EnhancedCode,
    /// In whose words.
    pub diagnostic: Option<Diagnostic>,
    /// The next hop that took part; none where the outcome is our own (RFC 3464 §2.3.5).
    pub remote_mta: Option<RemoteMta>,
    /// When it was last tried, where it was (RFC 3464 §2.3.7).
    pub last_attempt: Option<SystemTime>,
    /// How the last attempt travelled, and what it had to.
    pub evidence: Evidence,
}

/// How an attempt travelled: what a reader of the report may want to be sure of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Evidence {
    /// How the link was encrypted, where it was.
    pub tls: Option<LinkTls>,
    /// What vouched for the mail host, where one was looked up.
    pub mx: Option<MxProof>,
    /// Whether REQUIRETLS was passed on, where the message asks for it.
    pub requiretls: Option<bool>,
    /// It was handed on, and its sender asked to hear of that (RFC 2852 §4.1.4).
    pub is_traced: bool,
    /// What protection was required, in a word, where it was not to be had.
    pub required: Option<Box<str>>,
}

/// What we did for a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Put into the mailbox, or handed to the program that did.
    Delivered,
    /// Handed to a next hop that will not report success.
    Relayed,
    /// Sent on to the several addresses of an alias.
    Expanded,
    /// Not done yet.
    Delayed {
        /// When it will be given up (RFC 3464 §2.3.9).
        until: Option<SystemTime>,
    },
    /// Given up.
    Failed,
}

/// What a report tells of; there is one report for each kind.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Failed.
    Failure,
    /// Delayed.
    Delay,
    /// Delivered, relayed or expanded.
    Success,
}

impl Kind {
    /// The word for it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failure => "failure",
            Kind::Delay => "delay",
            Kind::Success => "success",
        }
    }

    /// Every kind, the gravest first.
    pub const ALL: [Kind; 3] = [Kind::Failure, Kind::Delay, Kind::Success];
}

impl Action {
    /// The kind of report that tells of it.
    pub fn kind(self) -> Kind {
        match self {
            Action::Failed => Kind::Failure,
            Action::Delayed { .. } => Kind::Delay,
            Action::Delivered | Action::Relayed | Action::Expanded => Kind::Success,
        }
    }

    /// The word for it in a report (RFC 3464 §2.3.3).
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
            Action::Delayed { .. } => "delayed",
            Action::Failed => "failed",
        }
    }
}

/// Why, in words. Any text may be in it: it is escaped where it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Diagnostic {
    /// The next hop's reply with its codes, its lines divided by line feeds (RFC 3461 §9.2).
    Reply(String),
    /// Our own words.
    Own(String),
}

/// The next hop that took part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteMta {
    /// Its name or address literal.
    pub name: Domain,
    /// The address we spoke to.
    pub address: Option<IpAddr>,
    /// How the connection was encrypted, where it was.
    pub tls: Option<TlsVersion>,
}
