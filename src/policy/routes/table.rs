//! The table: found by the recipient's domain, then by whose mail it is.
//!
//! ```text
//! levels, asked in this order          within a level, asked in this order
//!   the domain itself                    the account
//!   *. its parent, its parent's …        the sender's address
//!   *                                    the sender's domain
//!                                        everybody
//! ```
//!
//! The first answer is the route; a level that has none for this origin passes the question on.
//! Every step is one look into a hash table, so the number of routes does not matter.

use std::{
    collections::{HashMap, HashSet},
    iter,
    sync::Arc,
};

use super::{
    DomainPattern, Origin, OriginPattern, Route, RouteError, check_template, domains::key,
    transport::Transport,
};
use crate::smtp::Mailbox;

/// Pairs of a domain and an origin that all routes together may name.
///
/// Each takes a few hundred octets; without a bound, a route with many of both would take its product.
pub const PAIRS_MAX: usize = 1_000_000;

/// Every route; the most specific wins.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    names: HashSet<String>,
    exact: HashMap<String, Level>,
    below: HashMap<String, Level>,
    any: Level,
    pairs: usize,
}

/// What all routes say of one domain pattern.
type Level = HashMap<Whose, Entry>;

/// A route, and which of its patterns led here.
#[derive(Clone, Debug)]
struct Entry {
    route: Arc<Route>,
    domain: usize,
    origin: Option<usize>,
}

/// An origin, in the form in which patterns of one kind are compared.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Whose {
    Account(String),
    Sender(String),
    SenderDomain(String),
    Everybody,
}

impl Whose {
    fn named_by(pattern: &OriginPattern) -> Self {
        match pattern {
            OriginPattern::Account(name) => Whose::Account(name.clone()),
            OriginPattern::Address(mailbox) => Whose::Sender(mailbox.folded_key()),
            OriginPattern::Domain(domain) => Whose::SenderDomain(domain.canonical()),
        }
    }

    /// All that an origin answers to, the most specific first.
    fn of(origin: &Origin<'_>) -> Vec<Self> {
        let account = origin.account.map(|name| Whose::Account(name.to_owned()));
        let sender = origin.sender.into_iter().flat_map(|sender| {
            [
                Whose::Sender(sender.folded_key()),
                Whose::SenderDomain(sender.domain().canonical()),
            ]
        });
        account
            .into_iter()
            .chain(sender)
            .chain([Whose::Everybody])
            .collect()
    }
}

/// A route, and why it is this one.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// Which of its domain patterns takes the recipient.
    pub domain: &'a DomainPattern,
    /// Which of its origin patterns takes the sender; none where it takes everybody's mail.
    pub origin: Option<&'a OriginPattern>,
}

impl RouteTable {
    /// The table of these routes.
    ///
    /// # Errors
    /// As [`RouteTable::add`].
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteError> {
        let mut table = RouteTable::default();
        for route in routes {
            table.add(route)?;
        }
        Ok(table)
    }

    /// Adds one route; a table that has refused one is of no further use.
    ///
    /// # Errors
    /// [`RouteError`] where it contradicts an earlier one or itself, where it can take no mail or
    /// has nowhere to send it, and for a Maildir path that [`check_template`] refuses.
    pub fn add(&mut self, route: Route) -> Result<(), RouteError> {
        let name = || route.name.clone();
        if !self.names.insert(name()) {
            return Err(RouteError::DuplicateName { name: name() });
        }
        if route.domains.is_empty() {
            return Err(RouteError::NoDomain { route: name() });
        }
        check_transport(&route)?;
        self.pairs = route
            .domains
            .len()
            .saturating_mul(route.origins.len().max(1))
            .saturating_add(self.pairs);
        if self.pairs > PAIRS_MAX {
            return Err(RouteError::TooManyPairs { route: name() });
        }
        let route = Arc::new(route);
        for domain in 0..route.domains.len() {
            self.add_domain(&route, domain)?;
        }
        self.routes.push(route);
        Ok(())
    }

    fn add_domain(&mut self, route: &Arc<Route>, domain: usize) -> Result<(), RouteError> {
        let pattern = &route.domains[domain];
        let level = match pattern {
            DomainPattern::Exact(name) => self.exact.entry(key(name)).or_default(),
            DomainPattern::Below(name) => self.below.entry(key(name)).or_default(),
            DomainPattern::Any => &mut self.any,
        };
        let everybody = route.origins.is_empty().then_some(None);
        for origin in everybody
            .into_iter()
            .chain((0..route.origins.len()).map(Some))
        {
            let whose = match origin {
                None => Whose::Everybody,
                Some(n) => Whose::named_by(&route.origins[n]),
            };
            let entry = Entry {
                route: Arc::clone(route),
                domain,
                origin,
            };
            if let Some(earlier) = level.insert(whose, entry) {
                return Err(contradiction(&earlier, route, pattern, origin));
            }
        }
        Ok(())
    }

    /// The routes in the order in which they were added.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route that mail of this origin takes to this recipient.
    pub fn lookup(&self, recipient: &Mailbox, origin: &Origin<'_>) -> Option<&Route> {
        self.entry(recipient, origin)
            .map(|entry| entry.route.as_ref())
    }

    /// As [`RouteTable::lookup`], for those who outlive the table.
    pub fn shared(&self, recipient: &Mailbox, origin: &Origin<'_>) -> Option<Arc<Route>> {
        self.entry(recipient, origin)
            .map(|entry| Arc::clone(&entry.route))
    }

    /// As [`RouteTable::lookup`], with the reason.
    pub fn explain(&self, recipient: &Mailbox, origin: &Origin<'_>) -> Option<Found<'_>> {
        let entry = self.entry(recipient, origin)?;
        Some(Found {
            route: &entry.route,
            domain: &entry.route.domains[entry.domain],
            origin: entry.origin.map(|n| &entry.route.origins[n]),
        })
    }

    fn entry(&self, recipient: &Mailbox, origin: &Origin<'_>) -> Option<&Entry> {
        let whose = Whose::of(origin);
        let domain = key(recipient.domain());
        let parents = match recipient.domain().literal() {
            Some(_) => None,
            None => parent(&domain),
        };
        let patterns = iter::successors(parents, |name| parent(name));
        iter::once(self.exact.get(&domain))
            .chain(patterns.map(|name| self.below.get(name)))
            .flatten()
            .chain([&self.any])
            .find_map(|level| whose.iter().find_map(|whose| level.get(whose)))
    }
}

fn parent(domain: &str) -> Option<&str> {
    domain.split_once('.').map(|(_, parent)| parent)
}

fn check_transport(route: &Route) -> Result<(), RouteError> {
    let name = || route.name.clone();
    match &route.transport {
        Transport::Maildir { path, .. } => check_template(path).map_err(|error| RouteError::Path {
            route: name(),
            error,
        }),
        Transport::Lmtp { hop, .. } | Transport::Relay(hop) => {
            if hop.hosts.is_empty() {
                return Err(RouteError::NoHost { route: name() });
            }
            let mut seen = HashSet::new();
            for credential in &hop.credentials {
                let origin = credential.origin.as_ref();
                if !seen.insert(origin.map_or(Whose::Everybody, Whose::named_by)) {
                    return Err(RouteError::DuplicateCredential {
                        route: name(),
                        origin: origin.map_or("everybody".to_owned(), ToString::to_string),
                    });
                }
            }
            Ok(())
        }
        Transport::Mx(_) | Transport::Discard => Ok(()),
    }
}

/// Which of two kinds of doubt it is, with the names of both routes.
fn contradiction(
    earlier: &Entry,
    route: &Route,
    pattern: &DomainPattern,
    origin: Option<usize>,
) -> RouteError {
    let (first, second) = (earlier.route.name.clone(), route.name.clone());
    let domain = match pattern {
        DomainPattern::Exact(name) => key(name),
        DomainPattern::Below(name) => format!("*.{}", key(name)),
        DomainPattern::Any => "*".to_owned(),
    };
    match origin {
        // Names are unique: it is the same route.
        _ if first == second && earlier.origin == origin => RouteError::DomainTwice {
            route: second,
            domain,
        },
        Some(n) if first == second => RouteError::OriginTwice {
            route: second,
            origin: route.origins[n].to_string(),
        },
        Some(n) => RouteError::DuplicateOrigin {
            origin: route.origins[n].to_string(),
            domain,
            first,
            second,
        },
        None if *pattern == DomainPattern::Any => RouteError::DuplicateDefault { first, second },
        None => RouteError::DuplicateDomain {
            domain,
            first,
            second,
        },
    }
}

#[cfg(test)]
mod tests;
