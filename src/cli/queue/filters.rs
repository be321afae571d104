//! Which mail a command means: the options that all of them share.

use std::time::SystemTime;

use clap::Args;

use super::known_as;
use crate::{
    accounts::login_name,
    config::Span,
    smtp::{AddressError, Domain},
    store::queue::{Filter, Party, RecipientState},
};

/// Mail must have all of what is given.
#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// From this sender: an address, a domain, or <> for the null one.
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<Party>,
    /// To this recipient: an address or a domain.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<Party>,
    /// To recipients of this domain.
    #[arg(long, value_parser = domain, conflicts_with = "recipient")]
    domain: Option<Domain>,
    /// Accepted longer ago than this, such as 2h.
    #[arg(long, value_name = "TIME")]
    older: Option<Span>,
    /// Accepted less long ago than this, such as 30m.
    #[arg(long, value_name = "TIME")]
    younger: Option<Span>,
    /// In this state: due, deferred, claimed, held or aside; several with commas.
    #[arg(long, value_delimiter = ',', value_parser = state)]
    state: Vec<RecipientState>,
    /// Submitted by this account.
    #[arg(long, value_name = "NAME", value_parser = account)]
    account: Option<String>,
}

impl Filters {
    /// Held mail, of one account or of all.
    pub fn held(account: Option<String>) -> Self {
        Filters {
            state: vec![RecipientState::Held],
            account,
            ..Filters::default()
        }
    }

    /// With these queue ids too, as of `now`.
    pub fn filter(self, ids: Vec<String>, now: SystemTime) -> Filter {
        let ago = |span: Span| now.checked_sub(span.0);
        Filter {
            ids: ids.iter().map(|id| known_as(id)).collect(),
            sender: self.sender,
            recipient: self.recipient.or(self.domain.map(Party::Domain)),
            received_before: self.older.and_then(ago),
            received_after: self.younger.and_then(ago),
            states: self.state,
            account: self.account,
        }
    }
}

fn domain(text: &str) -> Result<Domain, AddressError> {
    Domain::parse(text.strip_prefix('@').unwrap_or(text))
}

fn state(text: &str) -> Result<RecipientState, String> {
    RecipientState::parse(text)
        .ok_or_else(|| "is none of due, deferred, claimed, held, aside".to_owned())
}

/// A login name as accounts are known by it.
pub fn account(text: &str) -> Result<String, String> {
    login_name(text).ok_or_else(|| "cannot be a login name".to_owned())
}
