//! Why a message was not taken, for its three readers: client, operator, counter.

use super::draft::Break;
use crate::{
    message::{CannotConvert, Fault},
    policy::{allowance::Excess, content},
    smtp::{Mailbox, Reply},
    spool::CustodyError,
};

/// Why a message was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// The content has a fault.
    #[error(transparent)]
    Content(#[from] Fault),
    /// A line is too long where nothing can be encoded.
    #[error("line over 998 octets: {0}")]
    LongLine(#[from] CannotConvert),
    /// The account may not send as this address.
    #[error("{place} names {address}, which the account may not send as")]
    NotYours {
        /// `MAIL` or the name of a field.
        place: &'static str,
        /// The address.
        address: Mailbox,
    },
    /// `TLS-Required: No` from an account that may not say so.
    #[error("TLS-Required: No, which the account may not ask for")]
    MayNotLowerTls,
    /// A filter does not want it.
    #[error("filter {filter}: {reply}")]
    Filtered {
        /// Which.
        filter: String,
        /// What it says to the client.
        reply: Reply,
    },
    /// A filter gave no answer, and is not done without.
    #[error("filter {0} gave no answer")]
    FilterAway(String),
    /// It would pass a limit of what may be sent.
    #[error("limit {} {} of {} would be passed", .0.kind.as_str(), .0.most, .0.scope)]
    OverLimit(Excess),
    /// The brake is pulled all the way.
    #[error("the account is braked")]
    Braked,
    /// Closed or removed since the sign-in.
    #[error("account is closed")]
    AccountClosed,
    /// The account store did not answer.
    #[error("account store unavailable: {0}")]
    Accounts(String),
    /// Its domain's mail is signed, and this message could not be.
    #[error("{0}")]
    Signing(String),
    /// No custody.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The system gave no random octets for a Message-ID.
    #[error("system gave no random octets")]
    NoRandomness,
    /// Reading or mending the message panicked (S19).
    #[error("processing of the message panicked")]
    Panicked,
}

impl Refusal {
    /// For the client.
    pub(super) fn reply(&self) -> Reply {
        match self {
            Refusal::Content(fault) => content::refusal(fault),
            Refusal::LongLine(why) => content::long_line(*why),
            Refusal::NotYours { address, .. } => content::not_yours(address),
            Refusal::MayNotLowerTls => content::may_not_lower_tls(),
            Refusal::OverLimit(excess) => content::over_limit(excess),
            Refusal::Braked => content::braked(),
            Refusal::Filtered { reply, .. } => reply.clone(),
            Refusal::FilterAway(_) => content::filter_away(),
            Refusal::AccountClosed => content::account_closed(),
            Refusal::Custody(CustodyError::NoRoom) => content::custody(content::Storage::Full),
            Refusal::Custody(CustodyError::Failed(_)) => content::custody(content::Storage::Failed),
            Refusal::Accounts(_)
            | Refusal::Signing(_)
            | Refusal::NoRandomness
            | Refusal::Panicked => content::unavailable(),
        }
    }

    /// For the counter `gatepost_messages_refused_total`.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Refusal::Content(_) | Refusal::LongLine(_) => "content",
            Refusal::NotYours { .. } | Refusal::MayNotLowerTls | Refusal::AccountClosed => "rights",
            Refusal::OverLimit(_) | Refusal::Braked => "limits",
            Refusal::Filtered { .. } | Refusal::FilterAway(_) => "filter",
            Refusal::Custody(_) => "custody",
            Refusal::Accounts(_)
            | Refusal::Signing(_)
            | Refusal::NoRandomness
            | Refusal::Panicked => "internal",
        }
    }
}

impl From<Break> for Refusal {
    fn from(reason: Break) -> Self {
        match reason {
            Break::Content(fault) => Refusal::Content(fault),
            Break::Custody(error) => Refusal::Custody(error),
        }
    }
}
