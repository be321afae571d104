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
    /// What the patterns are taken from: an address must be allowed there too.
    within: Option<Box<Rights>>,
}

/// Whom mail may go to, by recipient domain.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Destinations(Option<HashSet<String>>);

impl Destinations {
    /// These domains, and none below them.
    pub fn only(domains: &[Domain]) -> Self {
        Destinations(Some(domains.iter().map(Domain::canonical).collect()))
    }

    /// Whether mail may go to this domain; everywhere by default.
    pub fn allow(&self, domain: &Domain) -> bool {
        self.0
            .as_ref()
            .is_none_or(|domains| domains.contains(&domain.canonical()))
    }
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
            within: None,
        }
    }

    /// Whether a message may name `address` as its sender.
    pub fn may_send_as(&self, address: &Mailbox) -> bool {
        let matches = self.mailboxes.contains(&address.folded_key())
            || (!self.domains.is_empty() && self.domains.contains(&address.domain().canonical()));
        matches
            && self
                .within
                .as_ref()
                .is_none_or(|within| within.may_send_as(address))
    }

    /// What of these rights is left where nothing but `patterns` may be used.
    pub fn only(&self, patterns: Vec<AddressPattern>) -> Rights {
        Rights {
            within: Some(Box::new(self.clone())),
            ..Rights::new(patterns)
        }
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
    fn narrowed_rights_allow_nothing_that_was_not_allowed_before() {
        let exact = |text: &str| AddressPattern::Exact(Mailbox::parse(text).unwrap());
        let rights = Rights::new(vec![
            exact("alice@example.org"),
            AddressPattern::Domain(Domain::parse("shop.example").unwrap()),
        ]);
        let only = vec![exact("Scan@shop.example"), exact("boss@example.org")];
        let narrowed = rights.only(only);
        for (address, may) in [
            ("scan@SHOP.example", true),
            ("other@shop.example", false),
            ("alice@example.org", false),
            ("boss@example.org", false),
        ] {
            let address = Mailbox::parse(address).unwrap();
            assert_eq!(narrowed.may_send_as(&address), may, "{address}");
        }
    }

    #[test]
    fn destinations() {
        let domain = |text: &str| Domain::parse(text).unwrap();
        let only = Destinations::only(&[domain("example.org"), domain("ü.example")]);
        for (to, may) in [
            ("EXAMPLE.org", true),
            ("xn--tda.example", true),
            ("sub.example.org", false),
            ("example.net", false),
        ] {
            assert_eq!(only.allow(&domain(to)), may, "{to}");
            assert!(Destinations::default().allow(&domain(to)));
        }
    }

    #[test]
    fn without_patterns_nothing_may_be_sent() {
        assert!(!Rights::default().may_send_as(&Mailbox::parse("a@b.example").unwrap()));
    }
}
