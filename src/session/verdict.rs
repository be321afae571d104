//! What a session says to its driver, and what the driver says back.

use crate::{
    envelope::{Envelope, Identity, Protection, QueueId},
    sasl,
    smtp::{DeliverBy, Domain, FutureRelease, Mailbox, Priority, Reply, ReversePath},
};

/// What the driver is to do next, in order.
#[derive(Debug)]
pub enum Output {
    /// Send this reply; replies may be collected until `poll` gives nothing more.
    Send(Reply),
    /// The client asked for STARTTLS. Where further octets have already arrived, pass them to
    /// `receive` and drop this; otherwise send the reply, upgrade, and call `secured`.
    StartTls(Reply),
    /// Decide, then `answer`. Nothing is read meanwhile.
    Ask(Question),
    /// Recipients of this domain will be asked for in a moment: whoever looks domains up may begin.
    Hint(Domain),
    /// Octets of the message under way, decoded; see [`ContentDecoder`](crate::smtp::ContentDecoder).
    Content(Vec<u8>),
    /// The message under way is void: drop what was handed on of it.
    ContentAbort,
    /// A password may have crossed the network in the clear: worth a line in the log, and a new
    /// password (RFC 8314 §4.1). It was neither read nor checked.
    CredentialsInClear,
    /// Send what is waiting and close.
    Close,
}

/// What only the outside can decide.
#[derive(Debug)]
pub enum Question {
    /// What can this name prove itself with? A name that has nothing gets an answer like any other.
    Keys(sasl::Lookup),
    /// Is this claim true?
    SignIn {
        /// How it came.
        mechanism: sasl::Mechanism,
        /// Names, and a password or a proof.
        claim: sasl::Claim,
    },
    /// May the account send as `sender` (always yes for `<>`), and is there room?
    Sender {
        /// Who asks.
        by: Identity,
        /// The reverse-path.
        sender: ReversePath,
        /// What SIZE= declared.
        size_octets: Option<u64>,
        /// How urgent the message is said to be (RFC 6710).
        priority: Option<Priority>,
    },
    /// Does a route take mail for this recipient?
    Recipient {
        /// Who asks.
        by: Identity,
        /// The transaction's reverse-path.
        sender: ReversePath,
        /// The recipient.
        recipient: Mailbox,
        /// What the transaction asks of hand-offs so far.
        protection: Protection,
        /// Recipients taken before it.
        before: usize,
    },
    /// The content is complete: the octets of every `Content` since the last message. Take
    /// custody of it, or say why not.
    Message {
        /// Whose it is.
        by: Identity,
        /// Sender and recipients.
        envelope: Envelope,
        /// Lines of the body are over 998 octets and have to be encoded.
        has_long_lines: bool,
        /// When its sender wants it to be handed on (RFC 4865).
        hold: Option<FutureRelease>,
        /// By when it is to be delivered, from now on (RFC 2852).
        deliver_by: Option<DeliverBy>,
    },
}

/// The answer to a [`Question`] of the same kind.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// To [`Question::Keys`].
    Keys(KeysVerdict),
    /// To [`Question::SignIn`].
    SignIn(SignInVerdict),
    /// To [`Question::Sender`].
    Sender(SenderVerdict),
    /// To [`Question::Recipient`].
    Recipient(RecipientVerdict),
    /// To [`Question::Message`].
    Message(MessageVerdict),
}

/// What a name can prove itself with.
#[derive(Clone, Debug)]
#[must_use]
pub enum KeysVerdict {
    /// These keys, or ones that nobody has (S26).
    Given {
        /// The keys.
        ring: sasl::Ring,
        /// Fresh random octets.
        random: [u8; sasl::SERVER_NONCE_OCTETS],
    },
    /// None: somebody else gives this challenge, and judges what comes of it.
    Relayed {
        /// The exchange with them.
        relay: sasl::Relay,
        /// What the client is to hear.
        challenge: Vec<u8>,
    },
    /// The store cannot say now.
    Unavailable,
}

/// Whether somebody signed in.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum SignInVerdict {
    /// As this account.
    Granted(Identity),
    /// The same, and the client is to see first what proves the other side.
    Proved {
        /// The account.
        identity: Identity,
        /// The proof.
        proof: Vec<u8>,
    },
    /// Unknown, wrong, disabled or not allowed: told apart by nobody (S26).
    Refused,
    /// Too many guesses from there, or at this name (S28).
    Throttled,
    /// The store or the hash workers cannot say now.
    Unavailable,
}

/// Whether a reverse-path may be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum SenderVerdict {
    /// It may.
    Granted,
    /// It may, though its mail is no more urgent than this (RFC 6710 §4.1).
    GrantedAt(Priority),
    /// It does not belong to the account.
    NotYours,
    /// The spool has no room for the declared size.
    NoRoom,
    /// Its account has sent as much as it may, or the message is larger than it may send.
    OverLimit(Reply),
    /// The account's rights cannot be read now.
    Unavailable,
}

/// Whether a recipient is taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum RecipientVerdict {
    /// It is.
    Granted,
    /// Its domain is ours and has no such mailbox.
    NoSuchMailbox,
    /// No route leads there.
    NoRoute,
    /// What the client signed in with may not send there.
    NotAllowed,
    /// It may not send to so many.
    OverLimit(Reply),
    /// It cannot be said now.
    Unavailable,
    /// Its domain does not exist.
    NoSuchDomain,
    /// Its domain takes no mail (RFC 7505).
    NullMx,
    /// Its mail cannot be protected as it must be; what is missing, to stand behind the domain's name.
    CannotBeProtected(Box<str>),
    /// The DNS does not tell, and the mail must be verified.
    Undetermined,
}

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum MessageVerdict {
    /// In custody: on stable storage under this name.
    Accepted(QueueId),
    /// Refused with this reply.
    Refused(Reply),
    /// It was an order and no mail, and was carried out as this reply says.
    Obeyed(Reply),
}
