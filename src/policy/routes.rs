//! The route table: from a recipient and a sender to a transport, and from a recipient to its
//! Maildir.
//!
//! Pure tables. Whether a next hop answers or a directory exists is none of its business.

mod domains;
mod maildir_path;
mod origin;
mod table;
mod transport;
mod turn;

pub(super) use self::domains::key as domain_key;
pub use self::{
    domains::DomainPattern,
    maildir_path::{TemplateError, check_template, maildir_path},
    origin::{Origin, OriginPattern},
    table::{Found, PAIRS_MAX, RouteTable},
    transport::{
        AddressKinds, Credential, Encryption, Hop, Host, LocalRecipients, Mx, Place, Transport,
        Trust, Whereabouts,
    },
};

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name it has in the configuration; next hop in logs and metrics.
    pub name: String,
    /// Recipient domains; at least one.
    pub domains: Vec<DomainPattern>,
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
        /// The domain pattern in canonical form.
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
    /// As [`RouteError::DuplicateDomain`], for the mail of one origin.
    #[error("routes {first} and {second} both take mail of {origin} for the domain {domain}")]
    DuplicateOrigin {
        /// Whose mail.
        origin: String,
        /// The domain pattern in canonical form.
        domain: String,
        /// Name of the earlier route.
        first: String,
        /// Name of the later route.
        second: String,
    },
    /// One of the two was meant to be another.
    #[error("route {route} names the domain {domain} twice")]
    DomainTwice {
        /// Its name.
        route: String,
        /// The domain pattern in canonical form.
        domain: String,
    },
    /// One of the two was meant to be another.
    #[error("route {route} names {origin} twice among its senders")]
    OriginTwice {
        /// Its name.
        route: String,
        /// Whose mail.
        origin: String,
    },
    /// Names tell routes apart in logs and queues.
    #[error("two routes are called {name}")]
    DuplicateName {
        /// The name given twice.
        name: String,
    },
    /// It would take no mail.
    #[error("route {route} names no domain")]
    NoDomain {
        /// Its name.
        route: String,
    },
    /// It would have nowhere to send its mail.
    #[error("route {route} names no host")]
    NoHost {
        /// Its name.
        route: String,
    },
    /// As whom to sign in would be anybody's guess.
    #[error("route {route} has two sign-ins for mail of {origin}")]
    DuplicateCredential {
        /// Its name.
        route: String,
        /// Whose mail.
        origin: String,
    },
    /// A bound on memory.
    #[error("with route {route} there are more than {PAIRS_MAX} pairs of a domain and a sender")]
    TooManyPairs {
        /// Name of the route that was too much.
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
