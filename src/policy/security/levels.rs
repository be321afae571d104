//! The levels that the operator has set.

use std::{collections::HashMap, iter};

use crate::{
    envelope::{Level, Protection},
    policy::{
        routes::{DomainPattern, domain_key},
        security::Requirement,
    },
    smtp::Domain,
};

/// The least levels of the site and of recipient domains.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// Of every hand-off to an MX host.
    pub site: Level,
    exact: HashMap<String, Level>,
    below: HashMap<String, Level>,
}

impl Levels {
    /// Levels of a site, and of the domains that these patterns match.
    ///
    /// Where a domain is named twice the stricter counts.
    pub fn new(site: Level, domains: impl IntoIterator<Item = (DomainPattern, Level)>) -> Self {
        let mut levels = Levels {
            site,
            ..Levels::default()
        };
        for (pattern, level) in domains {
            let (map, key) = match pattern {
                DomainPattern::Exact(domain) => (&mut levels.exact, domain_key(&domain)),
                DomainPattern::Below(domain) => (&mut levels.below, domain_key(&domain)),
                DomainPattern::Any => {
                    levels.site = levels.site.max(level);
                    continue;
                }
            };
            map.entry(key)
                .and_modify(|known| *known = level.max(*known))
                .or_insert(level);
        }
        levels
    }

    /// The level of a domain: its own, or else that of the nearest domain above it.
    pub fn of(&self, domain: &Domain) -> Option<Level> {
        let key = domain_key(domain);
        let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_owned());
        let first = match domain.literal() {
            Some(_) => None,
            None => parent(&key),
        };
        let own = self.exact.get(&key);
        let mut above = iter::successors(first, |name| parent(name));
        own.copied()
            .or_else(|| above.find_map(|name| self.below.get(&name).copied()))
    }

    /// What a hand-off to this domain requires.
    pub fn requirement(&self, protection: Protection, domain: &Domain) -> Requirement {
        Requirement::of(protection, self.site, self.of(domain))
    }

    /// Whether any hand-off may need DNSSEC, whatever accounts and messages ask.
    pub fn has_strict(&self) -> bool {
        let named = self.exact.values().chain(self.below.values());
        iter::once(&self.site)
            .chain(named)
            .any(|level| *level == Level::Verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_itself_counts_before_those_above_it() {
        let pattern = |text: &str| DomainPattern::parse(text).unwrap();
        let levels = Levels::new(
            Level::Encrypted,
            [
                (pattern("bank.example"), Level::Verified),
                (pattern("*.bank.example"), Level::Opportunistic),
                (pattern("*.very.bank.example"), Level::Encrypted),
                (pattern("BANK.example"), Level::Encrypted),
            ],
        );
        for (domain, level) in [
            ("Bank.Example", Some(Level::Verified)),
            ("a.bank.example", Some(Level::Opportunistic)),
            ("a.b.bank.example", Some(Level::Opportunistic)),
            ("a.very.bank.example", Some(Level::Encrypted)),
            ("example", None),
            ("other.example", None),
            ("[192.0.2.1]", None),
        ] {
            let domain = Domain::parse(domain).unwrap();
            assert_eq!(levels.of(&domain), level, "{domain}");
        }
        assert!(levels.has_strict());
        assert!(!Levels::default().has_strict());
    }

    #[test]
    fn a_star_is_the_site() {
        let levels = Levels::new(Level::Encrypted, [(DomainPattern::Any, Level::Verified)]);
        assert_eq!(levels.site, Level::Verified);
        assert!(levels.has_strict());
    }
}
