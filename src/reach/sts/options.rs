//! Settings of the keeper of policies.

use std::{path::PathBuf, time::Duration};

/// Settings; `config` fills them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Whether policies are looked for at all.
    pub enabled: bool,
    /// How long a fetch may take from its first connection to its last octet (default one minute,
    /// RFC 8461 §3.3).
    pub timeout: Duration,
    /// After a fetch that failed the next one waits so long (default five minutes, RFC 8461 §3.3).
    pub wait_after_failure: Duration,
    /// The port of policy hosts: 443, but in laboratories.
    pub port: u16,
    /// Authorities that are trusted beside the system's, in a PEM file: for laboratories.
    pub authorities: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            enabled: true,
            timeout: Duration::from_secs(60),
            wait_after_failure: Duration::from_secs(300),
            port: 443,
            authorities: None,
        }
    }
}
