//! Settings of the keeper.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Settings; `config` fills them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Resolvers in the order in which they are asked; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// Resolvers whose word on DNSSEC is believed although they are not on this machine.
    pub trusted: Vec<IpAddr>,
    /// How long one resolver may take to answer one question (default 5 s).
    pub timeout: Duration,
    /// Answers that are remembered at most (default 10,000).
    pub entries: usize,
    /// No answer is remembered for longer (default one hour).
    pub longest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            servers: Vec::new(),
            trusted: Vec::new(),
            timeout: Duration::from_secs(5),
            entries: 10_000,
            longest: Duration::from_secs(3600),
        }
    }
}
