//! How a connection ended, for its one line in the log.

use std::{io, time::Duration};

/// Why a driver stopped.
#[derive(Debug)]
pub(super) enum Hangup {
    /// The session said so: QUIT, 421, 554.
    Closed,
    /// The client ended without QUIT, which many do after success.
    Left,
    /// The client did not take our replies in time.
    Unread(Duration),
    /// The handshake failed.
    Handshake(super::secure::Failure),
    /// Gave way for a newcomer.
    Shed,
    /// The connection broke.
    Broken(io::Error),
    /// The session neither took input nor gave output: our own fault.
    Stuck,
}

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hangup::Closed => f.write_str("closed"),
            Hangup::Left => f.write_str("client left"),
            Hangup::Unread(limit) => write!(f, "replies not taken within {} s", limit.as_secs()),
            Hangup::Handshake(failure) => write!(f, "handshake failed: {failure}"),
            Hangup::Shed => f.write_str("gave way for a newcomer"),
            Hangup::Broken(error) => write!(f, "connection broke: {error}"),
            Hangup::Stuck => f.write_str("session stuck"),
        }
    }
}
