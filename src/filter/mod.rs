//! Another program's word on a finished message, by the milter protocol (version 6, the client's
//! side): rspamd, ClamAV, OpenDKIM and their like.
//!
//! ```text
//! offer ◄─► agreement
//! connect, helo, mail, rcpt …, data, fields …, end of fields, body …, end
//!       ◄── continue | accept | reject | put off | a reply | discard
//!       ◄── at the end, changes: fields, body, sender, recipients, quarantine
//! ```
//!
//! The message is complete when it is shown, so the answer to any step is the answer to all of it.
//! Each filter sees what the one before it made. A filter that is away, too slow or not to be
//! understood is dealt with as the operator has said; nothing is lost by it. "Discard" would lose a
//! message that was answered with 250, so it holds it in place of that. The room reads no
//! configuration and knows no custody.

mod conversation;
mod fields;
mod packet;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Read},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::smtp::{Domain, Mailbox, Reply, ReversePath};

/// Where a filter listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Reads `inet:HOST:PORT` (IPv6 in brackets) or `unix:/path`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Address::Unix(path.into()));
        }
        let (host, port) = text.strip_prefix("inet:")?.rsplit_once(':')?;
        let bare = host
            .strip_prefix('[')
            .map_or(Some(host), |rest| rest.strip_suffix(']'))?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let is_plain = !bare.is_empty() && !bare.contains(['[', ']', '/', ' ']);
        (is_plain && (bare == host) != host.contains("::"))
            .then(|| Address::Tcp(bare.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "inet:[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "inet:{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What becomes of a message whose filter gives no answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenAway {
    /// The client is put off.
    #[default]
    Defer,
    /// It goes on as if there were no filter.
    Accept,
    /// It is accepted and held.
    Hold,
}

/// A filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// What the log calls it.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// How long the whole conversation may take.
    pub limit: Duration,
    /// What becomes of a message where it gives no answer.
    pub when_away: WhenAway,
    /// Octets of a new body at most.
    pub body_max: usize,
}

/// Opens the body for reading from its first octet; may block.
pub type Source = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// What a filter is shown.
#[derive(Clone)]
pub struct Shown<'a> {
    /// Our own name.
    pub hostname: &'a Domain,
    /// The queue id.
    pub queue_id: &'a str,
    /// Where the client connected from.
    pub peer: SocketAddr,
    /// What it called itself.
    pub client_name: &'a str,
    /// Who signed in.
    pub account: &'a str,
    /// Version and suite of the channel.
    pub tls: Option<(String, &'a str)>,
    /// The reverse-path.
    pub sender: &'a ReversePath,
    /// The forward-paths.
    pub recipients: &'a [Mailbox],
    /// The header section with its blank line.
    pub header: &'a [u8],
    /// The body.
    pub body: Source,
    /// Whether fields and addresses may be beyond ASCII (RFC 6531).
    pub smtputf8: bool,
}

/// What a filter says of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Word {
    /// It may go on, so changed.
    Pass(Box<Changes>),
    /// It may not; what the client hears.
    Refuse(Reply),
}

/// What a filter changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// The header section, where it is another one.
    pub header: Option<Vec<u8>>,
    /// The body, where it is another one.
    pub body: Option<Vec<u8>>,
    /// The reverse-path, where it is another one.
    pub sender: Option<ReversePath>,
    /// Recipients added.
    pub added: Vec<Mailbox>,
    /// Recipients taken away.
    pub removed: Vec<Mailbox>,
    /// Why the message is to be held, where it is.
    pub hold: Option<String>,
}

/// Why there is no word.
#[derive(Debug, thiserror::Error)]
pub enum Away {
    /// It cannot be spoken to, or went away.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no answer within {} seconds", .0.as_secs())]
    TooSlow(Duration),
    /// What it said makes no sense.
    #[error("{0}")]
    Nonsense(&'static str),
}

impl Filter {
    /// Shows a message to the filter and gives its word.
    ///
    /// # Errors
    /// [`Away`] where it has none.
    pub async fn examine(&self, shown: &Shown<'_>) -> Result<Word, Away> {
        let asked = conversation::hold(self, shown);
        let word = tokio::time::timeout(self.limit, asked).await;
        word.unwrap_or(Err(Away::TooSlow(self.limit)))
    }
}
