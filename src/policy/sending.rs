//! Who may send as whom (S31): an account's addresses, and nothing besides.

use std::collections::HashSet;

use crate::smtp::{Domain, Mailbox};

/// An address an account may send as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddressPattern {
    /// This mailbox (compared by [`Mailbox::folded_key`]).
    Exact(Mailbox),
    /// Every mailbox of this domain, and of no domain below it (compared by [`Domain::canonical`]).
    Domain(Domain),
}

impl AddressPattern {
    /// The form in which two patterns of one kind are compared.
    pub fn key(&self) -> String {
        match self {
            AddressPattern::Exact(mailbox) => mailbox.folded_key(),
            AddressPattern::Domain(domain) => domain.canonical(),
        }
    }
}

/// All that an account may send as.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    patterns: Vec<AddressPattern>,
    /// Keys of the exact patterns, made once because each message asks several times.
    mailboxes: HashSet<String>,
    /// Keys of the domain patterns.
    domains: HashSet<String>,
}

impl Rights {
    /// Rights to send as what any of `patterns` matches.
    pub fn new(patterns: Vec<AddressPattern>) -> Self {
        let (mut mailboxes, mut domains) = (HashSet::new(), HashSet::new());
        for pattern in &patterns {
            match pattern {
                AddressPattern::Exact(_) => mailboxes.insert(pattern.key()),
                AddressPattern::Domain(_) => domains.insert(pattern.key()),
            };
        }
        Rights {
            patterns,
            mailboxes,
            domains,
        }
    }

    /// Whether a message may name `address` as its sender.
    pub fn may_send_as(&self, address: &Mailbox) -> bool {
        self.mailboxes.contains(&address.folded_key())
            || (!self.domains.is_empty() && self.domains.contains(&address.domain().canonical()))
    }

    /// The patterns, as given.
    pub fn patterns(&self) -> &[AddressPattern] {
        &self.patterns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S31, R6409-6.1a.
    #[test]
    fn an_account_may_send_as_what_a_pattern_matches() {
        let rights = Rights::new(vec![
            AddressPattern::Exact(Mailbox::parse("Alice@Example.org").unwrap()),
            AddressPattern::Exact(Mailbox::parse("müller@bücher.example").unwrap()),
            AddressPattern::Domain(Domain::parse("Shop.example").unwrap()),
            AddressPattern::Domain(Domain::parse("xn--tda.example").unwrap()),
        ]);
        for (address, may) in [
            ("alice@example.org", true),
            ("ALICE@EXAMPLE.ORG", true),
            ("\"alice\"@example.org", true),
            ("müller@xn--bcher-kva.example", true),
            ("anything@shop.example", true),
            ("\"any thing\"@SHOP.EXAMPLE", true),
            ("anything@ü.example", true),
            ("bob@example.org", false),
            ("alice+tag@example.org", false),
            ("alice@example.org.evil.example", false),
            ("alice@sub.example.org", false),
            ("anything@sub.shop.example", false),
            ("anything@notshop.example", false),
            ("alice@example", false),
            ("\"alice@example.org\"@evil.example", false),
            ("alice@[192.0.2.1]", false),
        ] {
            let address = Mailbox::parse(address).unwrap();
            assert_eq!(rights.may_send_as(&address), may, "{address}");
        }
    }

    #[test]
    fn without_patterns_nothing_may_be_sent() {
        assert!(!Rights::default().may_send_as(&Mailbox::parse("a@b.example").unwrap()));
    }
}
