//! Connections to next hops that speak SMTP or LMTP: the sockets, files and clock beneath the
//! machine of [`client`].
//!
//! [`Connection::open`] leads to where a message may be sent: name, address, TLS, sign-in.
//! [`Connection::send`] runs one transaction after another. One connection is one task; it reads
//! while it writes, holds no more than a few pieces of a message, and never waits without a limit.
//!
//! The end of a message is said only by the machine, once it was given every octet. Whoever drops a
//! future of this room closes its connection, so nothing half sent is ever finished by accident.
//!
//! Which hop a message goes to, how often, and what becomes of its recipients is decided elsewhere;
//! so is how many connections there are and how long they are kept.

mod connection;
mod dial;
mod driver;
mod opening;
mod outgoing;
mod pieces;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::ServerName;

pub use connection::{Connection, Reach, Sent, Standing};
pub use opening::{OpenCause, OpenFailure, Shown};

use crate::{client, envelope::Status, smtp::EnhancedCode, tls};

/// How long one address may take to answer a connection, unless set otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take until a connection is ready for mail, unless set otherwise: from the
/// look-up of the name to the end of the sign-in.
pub const OPENING_LIMIT: Duration = Duration::from_secs(5 * 60);

/// What to connect to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target {
    /// A host.
    Tcp {
        /// Its name, looked up by the system, or its address.
        host: Box<str>,
        /// Its port.
        port: u16,
    },
    /// A host whose addresses were looked up before, in the order in which they are tried.
    Found {
        /// Its name.
        host: Box<str>,
        /// Its addresses.
        addresses: Arc<[IpAddr]>,
        /// Its port.
        port: u16,
    },
    /// A socket of this machine.
    Unix(PathBuf),
}

/// Our own address for each kind of connection; none lets the system choose.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sources {
    /// For IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// For IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Sources {
    /// Ours for a connection to this address.
    fn to(self, address: &SocketAddr) -> Option<IpAddr> {
        match address {
            SocketAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            SocketAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }
}

impl Target {
    /// The host as links name it.
    fn host(&self) -> Box<str> {
        match self {
            Target::Tcp { host, .. } | Target::Found { host, .. } => host.clone(),
            Target::Unix(path) => path.display().to_string().into(),
        }
    }
}

/// How a connection is set up.
#[derive(Clone)]
pub struct Setup {
    /// What is spoken and required, and how long is waited for each answer.
    pub options: Arc<client::Options>,
    /// How the channel is encrypted.
    pub tls: Tls,
    /// How long one address may take to answer (default [`CONNECT_TIMEOUT`]).
    pub connect_timeout: Duration,
    /// How long the opening may take as a whole (default [`OPENING_LIMIT`]).
    pub opening_limit: Duration,
    /// Our own addresses.
    pub sources: Sources,
    /// Ports that we listen on: a connection to one of them on this very machine is no hand-off.
    pub own_ports: Arc<[u16]>,
}

impl Setup {
    /// A set-up with the default limits.
    pub fn new(options: Arc<client::Options>, tls: Tls) -> Self {
        Setup {
            options,
            tls,
            connect_timeout: CONNECT_TIMEOUT,
            opening_limit: OPENING_LIMIT,
            sources: Sources::default(),
            own_ports: Arc::default(),
        }
    }
}

/// How the channel to a hop is encrypted.
#[derive(Clone)]
pub enum Tls {
    /// From the first octet on (RFC 8314 §3), with a host of this name or address.
    Implicit(Arc<tls::Client>, ServerName<'static>),
    /// By STARTTLS (RFC 3207), where the client's options ask for it.
    StartTls(Arc<tls::Client>, ServerName<'static>),
    /// Not at all: for options with [`client::Security::Plaintext`].
    None,
}

/// A transient status in our own words.
fn transient(subject: u16, detail: u16, text: impl Into<String>) -> Status {
    Status::new(EnhancedCode::new(4, subject, detail), text)
}
