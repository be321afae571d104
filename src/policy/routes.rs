//! The route table: from a recipient to a transport, and from a recipient to its Maildir.
//!
//! Pure tables. Whether a next hop answers or a directory exists is none of its business.

mod maildir_path;
mod origin;
mod transport;
mod turn;

use std::{collections::HashMap, sync::Arc};

pub use self::{
    maildir_path::{TemplateError, check_template, maildir_path},
    origin::{Origin, OriginPattern},
    transport::{Credential, Encryption, Hop, Host, LocalRecipients, Place, Transport, Trust},
};
use crate::smtp::{Domain, Mailbox};

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name it has in the configuration; next hop in logs and metrics.
    pub name: String,
    /// Recipient domains; empty with `is_default` for `*`.
    pub domains: Vec<Domain>,
    /// The route for every domain that no other names (`*`).
    pub is_default: bool,
    /// Whose mail it takes; everybody's where there is none.
    pub origins: Vec<OriginPattern>,
    /// How its mail travels.
    pub transport: Transport,
}

/// Why routes do not make a table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// Which one should win is anybody's guess.
    #[error("routes {first} and {second} both name the domain {domain}")]
    DuplicateDomain {
        /// The domain in canonical form.
        domain: String,
        /// Name of the earlier route.
        first: String,
        /// Name of the later route.
        second: String,
    },
    /// Two routes for `*`.
    #[error("routes {first} and {second} are both the default (*)")]
    DuplicateDefault {
        /// Name of the earlier route.
        first: String,
        /// Name of the later route.
        second: String,
    },
    /// Names tell routes apart in logs and queues.
    #[error("two routes are called {name}")]
    DuplicateName {
        /// The name given twice.
        name: String,
    },
    /// Neither a domain nor the default.
    #[error("route {route} names no domain")]
    NoDomain {
        /// Its name.
        route: String,
    },
    /// The Maildir path is unusable.
    #[error("route {route} has an unusable path: {error}")]
    Path {
        /// Name of the route.
        route: String,
        /// What is wrong with it.
        error: TemplateError,
    },
}

/// Every route; the most specific wins.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    by_domain: HashMap<String, Arc<Route>>,
    default: Option<Arc<Route>>,
}

impl RouteTable {
    /// The table of these routes.
    ///
    /// # Errors
    /// [`RouteError`] for the first pair of routes that contradict each other, for a route that
    /// can take no mail, and for a Maildir path that [`check_template`] refuses.
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteError> {
        let mut table = RouteTable::default();
        let mut names = std::collections::HashSet::new();
        for route in routes.into_iter().map(Arc::new) {
            if !names.insert(route.name.clone()) {
                let name = route.name.clone();
                return Err(RouteError::DuplicateName { name });
            }
            table.add(route)?;
        }
        Ok(table)
    }

    fn add(&mut self, route: Arc<Route>) -> Result<(), RouteError> {
        if route.domains.is_empty() && !route.is_default {
            let route = route.name.clone();
            return Err(RouteError::NoDomain { route });
        }
        match &route.transport {
            Transport::Maildir { path, .. } => {
                check_template(path).map_err(|error| RouteError::Path {
                    route: route.name.clone(),
                    error,
                })?;
            }
            Transport::Lmtp { .. } | Transport::Relay(_) | Transport::Discard => {}
        }
        if route.is_default
            && let Some(first) = self.default.replace(route.clone())
        {
            return Err(RouteError::DuplicateDefault {
                first: first.name.clone(),
                second: route.name.clone(),
            });
        }
        for domain in &route.domains {
            let domain = domain.canonical();
            if let Some(first) = self.by_domain.insert(domain.clone(), route.clone()) {
                return Err(RouteError::DuplicateDomain {
                    domain,
                    first: first.name.clone(),
                    second: route.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// The route of this recipient: its domain's own, else the default.
    pub fn lookup(&self, recipient: &Mailbox, _origin: &Origin<'_>) -> Option<&Route> {
        self.find(recipient).map(Arc::as_ref)
    }

    /// As [`RouteTable::lookup`], for those who outlive the table.
    pub fn shared(&self, recipient: &Mailbox, _origin: &Origin<'_>) -> Option<Arc<Route>> {
        self.find(recipient).cloned()
    }

    fn find(&self, recipient: &Mailbox) -> Option<&Arc<Route>> {
        let own = self.by_domain.get(&recipient.domain().canonical());
        own.or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    fn route(name: &str, domains: &[&str]) -> Route {
        Route {
            name: name.into(),
            is_default: domains.contains(&"*"),
            domains: domains
                .iter()
                .filter(|d| **d != "*")
                .map(|d| Domain::parse(d).unwrap())
                .collect(),
            origins: Vec::new(),
            transport: Transport::Maildir {
                path: "/m/{address}".into(),
                recipients: LocalRecipients::Any,
            },
        }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let table = RouteTable::new(vec![
            route("rest", &["*"]),
            route("ours", &["ours.example", "ü.example"]),
            route("literal", &["[192.0.2.1]"]),
        ])
        .unwrap();
        for (recipient, name) in [
            ("a@ours.example", "ours"),
            ("a@OURS.Example", "ours"),
            ("a@xn--tda.example", "ours"),
            ("a@Ü.example", "ours"),
            ("a@[192.0.2.1]", "literal"),
            ("a@sub.ours.example", "rest"),
            ("a@elsewhere.example", "rest"),
        ] {
            let found = table
                .lookup(&mailbox(recipient), &Origin::default())
                .map(|r| r.name.as_str());
            assert_eq!(found, Some(name), "{recipient}");
        }
        let few = RouteTable::new(vec![route("ours", &["ours.example"])]).unwrap();
        let found = few.lookup(&mailbox("a@elsewhere.example"), &Origin::default());
        assert!(found.is_none());
    }

    #[test]
    fn routes_that_contradict_each_other_are_named() {
        let error = |routes| RouteTable::new(routes).unwrap_err().to_string();
        for (routes, text) in [
            (
                vec![
                    route("one", &["ü.example"]),
                    route("two", &["XN--TDA.example"]),
                ],
                "routes one and two both name the domain xn--tda.example",
            ),
            (
                vec![route("one", &["*"]), route("two", &["*"])],
                "routes one and two are both the default (*)",
            ),
            (
                vec![route("one", &["a.example"]), route("one", &["b.example"])],
                "two routes are called one",
            ),
            (vec![route("one", &[])], "route one names no domain"),
        ] {
            assert_eq!(error(routes), text);
        }
    }
}
