//! Whose mail it is: what a route or a credential may be chosen by, beside the recipient.

use std::fmt;

use crate::smtp::{Domain, Mailbox, ReversePath};

/// Who hands a message over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The reverse-path; none for a report.
    pub sender: Option<&'a Mailbox>,
    /// Login name of the account that submitted it; none for our own reports.
    pub account: Option<&'a str>,
}

impl<'a> Origin<'a> {
    /// Of a message with this reverse-path, submitted by this account.
    pub fn new(sender: &'a ReversePath, account: Option<&'a str>) -> Self {
        Origin {
            sender: sender.mailbox(),
            account,
        }
    }
}

/// Some of all origins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OriginPattern {
    /// Senders of this domain (compared by [`Domain::canonical`]).
    Domain(Domain),
    /// This sender (compared by [`Mailbox::folded_key`]).
    Address(Mailbox),
    /// This account, by its login name as it is stored.
    Account(String),
}

impl OriginPattern {
    /// How specific the pattern is, 1 to 3, where it takes this origin.
    pub fn rank(&self, origin: &Origin<'_>) -> Option<u8> {
        match self {
            OriginPattern::Domain(domain) => {
                let sender = origin.sender?;
                (sender.domain().canonical() == domain.canonical()).then_some(1)
            }
            OriginPattern::Address(mailbox) => {
                let sender = origin.sender?;
                (sender.folded_key() == mailbox.folded_key()).then_some(2)
            }
            OriginPattern::Account(name) => (origin.account == Some(name)).then_some(3),
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginPattern::Domain(domain) => write!(f, "{domain}"),
            OriginPattern::Address(mailbox) => write!(f, "{mailbox}"),
            OriginPattern::Account(name) => write!(f, "account {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_more_specific_than_an_address_and_that_than_a_domain() {
        let sender = ReversePath::parse("Sales@Shop.example").unwrap();
        let origin = Origin::new(&sender, Some("ann@example.org"));
        let domain = OriginPattern::Domain(Domain::parse("shop.EXAMPLE").unwrap());
        let address = OriginPattern::Address(Mailbox::parse("sales@shop.example").unwrap());
        let account = OriginPattern::Account("ann@example.org".into());
        assert_eq!(domain.rank(&origin), Some(1));
        assert_eq!(address.rank(&origin), Some(2));
        assert_eq!(account.rank(&origin), Some(3));
        let report = Origin::new(&ReversePath::Null, None);
        for pattern in [domain, address, account] {
            assert_eq!(pattern.rank(&report), None, "{pattern:?}");
        }
        let other = OriginPattern::Account("bob@example.org".into());
        assert_eq!(other.rank(&origin), None);
    }
}
