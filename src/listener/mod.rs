//! Accept connections, secure them, and drive one `Session` each.
//!
//! The room moves octets and carries questions to those who can answer; it decides nothing about
//! mail and never learns how a message travels on. Speaks RFC 8314 (implicit TLS) and RFC 3207
//! (STARTTLS) on the wire, and HAProxy's PROXY protocol with listed proxies; every word of SMTP is
//! the session's.
//!
//! When the house is full the oldest connection that has proved nothing gives up its seat: a flood
//! of silent or guessing connections pushes out itself, never those who signed in (S32, S33).

mod accept;
mod activation;
mod bind;
mod connection;
mod desk;
mod driver;
mod hangup;
mod link;
mod proxy;
mod seats;
mod secure;
#[cfg(test)]
mod tests;

pub use activation::{Activated, ActivationError};
pub use bind::{BindError, Endpoint, Kind, Listeners, Serving};
pub use desk::Desk;
pub use proxy::Proxies;
pub use seats::Limits;

use std::{future::Future, pin::Pin};

use crate::{
    envelope::{Identity, Protection},
    session::RecipientVerdict,
    smtp::{Domain, Mailbox, ReversePath},
};

/// What is asked of a recipient.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whose mail it is.
    pub by: &'a Identity,
    /// The reverse-path.
    pub sender: &'a ReversePath,
    /// The recipient.
    pub recipient: &'a Mailbox,
    /// What the transaction asks of hand-offs so far.
    pub protection: Protection,
    /// Recipients of the transaction before it.
    pub before: usize,
}

/// Where a recipient can be reached; handed in by `server`.
pub trait RecipientCheck: Send + Sync {
    /// Whether such mail has a way to this recipient.
    fn check<'a>(
        &'a self,
        asked: Asked<'a>,
    ) -> Pin<Box<dyn Future<Output = RecipientVerdict> + Send + 'a>>;

    /// A recipient of this domain is about to be asked for; returns at once.
    fn hint(&self, domain: &Domain);
}
