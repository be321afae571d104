//! Who may send as whom (S31): an account's addresses, and nothing besides.

use std::{collections::HashSet, fmt};

use crate::smtp::{Domain, Mailbox};

/// An address an account may send as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddressPattern {
    /// This mailbox (compared by [`Mailbox::folded_key`]).
    Exact(Mailbox),
    /// This mailbox with any tag, `user+anything@`, and not without one.
    Tagged(Mailbox),
    /// Every mailbox of this domain, and of no domain below it (compared by [`Domain::canonical`]).
    Domain(Domain),
    /// Every mailbox of every domain below this one, and not of itself.
    Subdomains(Domain),
}

impl AddressPattern {
    /// The form in which two patterns of one kind are compared.
    pub fn key(&self) -> String {
        match self {
            AddressPattern::Exact(mailbox) | AddressPattern::Tagged(mailbox) => {
                mailbox.folded_key()
            }
            AddressPattern::Domain(domain) | AddressPattern::Subdomains(domain) => {
                domain.canonical()
            }
        }
    }
}

impl fmt::Display for AddressPattern {
    /// As an operator writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressPattern::Exact(mailbox) => mailbox.fmt(f),
            AddressPattern::Tagged(mailbox) => {
                let text = mailbox.to_string();
                match text.rsplit_once('@') {
                    Some((local, domain)) => write!(f, "{local}+*@{domain}"),
                    None => f.write_str(&text),
                }
            }
            AddressPattern::Domain(domain) => write!(f, "*@{domain}"),
            AddressPattern::Subdomains(domain) => write!(f, "*@*.{domain}"),
        }
    }
}

/// `user@domain` of `user+tag@domain`, where there is a tag. A name in quotes has none.
fn untagged(key: &str) -> Option<String> {
    let (local, domain) = key.rsplit_once('@')?;
    let (user, tag) = local.split_once('+')?;
    let is_tagged = !user.is_empty() && !tag.is_empty() && !user.starts_with('"');
    is_tagged.then(|| format!("{user}@{domain}"))
}

/// All that an account may send as.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    patterns: Vec<AddressPattern>,
    /// Keys of the exact patterns, made once because each message asks several times.
    mailboxes: HashSet<String>,
    /// Keys of the tagged patterns.
    tagged: HashSet<String>,
    /// Keys of the domain patterns.
    domains: HashSet<String>,
    /// Keys of the domains whose domains below may be used.
    parents: HashSet<String>,
    /// What the patterns are taken from: an address must be allowed there too.
    within: Option<Box<Rights>>,
}

/// Whom mail may go to, by recipient domain.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Destinations(Vec<HashSet<String>>);

impl Destinations {
    /// These domains, and none below them.
    pub fn only(domains: &[Domain]) -> Self {
        let mut destinations = Destinations::default();
        destinations.narrow(domains.iter().map(Domain::canonical).collect());
        destinations
    }

    /// Of these, those among `domains` (canonical) alone.
    pub fn narrow(&mut self, domains: HashSet<String>) {
        self.0.push(domains);
    }

    /// Whether mail may go to this domain; everywhere by default.
    pub fn allow(&self, domain: &Domain) -> bool {
        let name = domain.canonical();
        self.0.iter().all(|domains| domains.contains(&name))
    }
}

impl Rights {
    /// Rights to send as what any of `patterns` matches.
    pub fn new(patterns: Vec<AddressPattern>) -> Self {
        let mut rights = Rights::default();
        for pattern in &patterns {
            let keys = match pattern {
                AddressPattern::Exact(_) => &mut rights.mailboxes,
                AddressPattern::Tagged(_) => &mut rights.tagged,
                AddressPattern::Domain(_) => &mut rights.domains,
                AddressPattern::Subdomains(_) => &mut rights.parents,
            };
            keys.insert(pattern.key());
        }
        Rights { patterns, ..rights }
    }

    /// Whether a message may name `address` as its sender.
    pub fn may_send_as(&self, address: &Mailbox) -> bool {
        let within = self.within.as_ref();
        self.matches(address) && within.is_none_or(|within| within.may_send_as(address))
    }

    fn matches(&self, address: &Mailbox) -> bool {
        let key = address.folded_key();
        if self.mailboxes.contains(&key) {
            return true;
        }
        if !self.tagged.is_empty() && untagged(&key).is_some_and(|user| self.tagged.contains(&user))
        {
            return true;
        }
        if self.domains.is_empty() && self.parents.is_empty() {
            return false;
        }
        let domain = address.domain().canonical();
        let mut above = domain.as_str();
        let mut is_below = || {
            above = above.split_once('.')?.1;
            Some(self.parents.contains(above))
        };
        self.domains.contains(&domain) || std::iter::from_fn(&mut is_below).any(|found| found)
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

    /// S31.
    #[test]
    fn tags_and_domains_below() {
        let rights = Rights::new(vec![
            AddressPattern::Tagged(Mailbox::parse("Alice@example.org").unwrap()),
            AddressPattern::Subdomains(Domain::parse("Shop.example").unwrap()),
        ]);
        for (address, may) in [
            ("alice+news@example.org", true),
            ("ALICE+News+more@EXAMPLE.org", true),
            ("\"alice+news\"@example.org", true),
            ("alice@example.org", false),
            ("alice+@example.org", false),
            ("+news@example.org", false),
            ("bob+news@example.org", false),
            ("bob+alice@example.org", false),
            ("alice+news@sub.example.org", false),
            ("alice-news@example.org", false),
            ("\"alice x+news\"@example.org", false),
            ("x@a.shop.example", true),
            ("x@b.A.Shop.example", true),
            ("x@shop.example", false),
            ("x@ashop.example", false),
            ("x@shop.example.net", false),
            ("x@[192.0.2.1]", false),
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
    fn destinations_of_several_hold_together() {
        let domain = |text: &str| Domain::parse(text).unwrap();
        let mut both = Destinations::only(&[domain("a.example"), domain("b.example")]);
        both.narrow(["b.example".to_owned(), "c.example".to_owned()].into());
        let allowed = ["a.example", "b.example", "c.example"].map(|it| both.allow(&domain(it)));
        assert_eq!(allowed, [false, true, false]);
    }

    #[test]
    fn without_patterns_nothing_may_be_sent() {
        assert!(!Rights::default().may_send_as(&Mailbox::parse("a@b.example").unwrap()));
    }
}
