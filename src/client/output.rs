//! What a client says to its driver.

use std::{fmt, ops::Deref};

use zeroize::Zeroizing;

use super::{Failure, Fate};
use crate::sasl::Derivation;

/// What the driver is to do next, in order.
#[derive(Debug)]
pub enum Output {
    /// Send these octets; they may be collected until `poll` gives nothing more.
    Send(Vec<u8>),
    /// Send these octets, and show them to nobody: they hold a password or what is made of one.
    SendSecret(Secret),
    /// The hop is ready for the handshake. Pass to `receive` whatever was already read and not yet
    /// taken; unless that brings `Close`, upgrade and call `secured`.
    StartTls,
    /// Work this out where it blocks nobody, and call `derived`.
    Derive(Derivation),
    /// Nothing is under way: `begin` may be called, or `quit`.
    Ready,
    /// Call `content` with the next piece, once what was to be sent is sent.
    NeedContent,
    /// The transaction is over: one fate for each recipient, in their order. `Ready` or `Close`
    /// follows.
    Done(Vec<Fate>),
    /// The connection is of no use, and no transaction was under way. `Close` follows.
    Failed(Failure),
    /// Close, once what was to be sent is sent.
    Close,
}

/// Octets that appear in no log and are wiped on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(super) fn new(octets: Vec<u8>) -> Self {
        Secret(Zeroizing::new(octets))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
