//! How mail of a route travels, as far as it is decided before anybody is spoken to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;

use super::OriginPattern;

/// Which recipients a local route takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalRecipients {
    /// Addresses of accounts only; others get 550 5.1.1 at RCPT.
    Accounts,
    /// Every address of the domain.
    Any,
}

/// How mail of a route travels.
#[derive(Clone, Debug)]
pub enum Transport {
    /// A Maildir for each address.
    Maildir {
        /// Absolute path with `{domain}`, `{local}` and `{address}` filled in for each recipient.
        path: String,
        /// Whom the route takes.
        recipients: LocalRecipients,
        /// The folder of each mailbox for copies of what its owner sends.
        sent_folder: Box<str>,
    },
    /// A program that puts mail into mailboxes, by LMTP (RFC 2033).
    Lmtp {
        /// Where it listens; a Unix socket or a host.
        hop: Hop,
        /// Whom the route takes.
        recipients: LocalRecipients,
        /// The folder of each mailbox for copies of what its owner sends.
        sent_folder: Box<str>,
    },
    /// A smarthost, by SMTP.
    Relay(Hop),
    /// The mail hosts of the recipient's domain, by SMTP (RFC 5321 §5).
    Mx(Mx),
    /// Taken and thrown away: for tests.
    Discard,
}

impl Transport {
    /// The label of this kind of transport in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Transport::Maildir { .. } => "maildir",
            Transport::Lmtp { .. } => "lmtp",
            Transport::Relay(_) => "relay",
            Transport::Mx(_) => "mx",
            Transport::Discard => "discard",
        }
    }

    /// The hosts, where there are any.
    pub fn hop(&self) -> Option<&Hop> {
        match self {
            Transport::Lmtp { hop, .. } | Transport::Relay(hop) => Some(hop),
            Transport::Maildir { .. } | Transport::Mx(_) | Transport::Discard => None,
        }
    }

    /// Whether its mail leaves by links to hosts, which may answer or not; and how many connections
    /// one next hop takes at once.
    pub fn connections(&self) -> Option<usize> {
        match self {
            Transport::Lmtp { hop, .. } | Transport::Relay(hop) => Some(hop.connections),
            Transport::Mx(mx) => Some(mx.connections),
            Transport::Maildir { .. } | Transport::Discard => None,
        }
    }

    /// The folder of its mailboxes for copies of what their owners send, where it has mailboxes.
    pub fn sent_folder(&self) -> Option<&str> {
        match self {
            Transport::Maildir { sent_folder, .. } | Transport::Lmtp { sent_folder, .. } => {
                Some(sent_folder)
            }
            Transport::Relay(_) | Transport::Mx(_) | Transport::Discard => None,
        }
    }

    /// Whom the route takes.
    pub fn recipients(&self) -> LocalRecipients {
        match self {
            Transport::Maildir { recipients, .. } | Transport::Lmtp { recipients, .. } => {
                *recipients
            }
            Transport::Relay(_) | Transport::Mx(_) | Transport::Discard => LocalRecipients::Any,
        }
    }
}

/// The hosts of a next hop, and how they are spoken to.
#[derive(Clone, Debug)]
pub struct Hop {
    /// At least one.
    pub hosts: Vec<Host>,
    /// Whom the hosts' certificates must satisfy.
    pub trust: Trust,
    /// As whom to sign in; the most specific that fits is taken, none where none fits.
    pub credentials: Vec<Credential>,
    /// Connections at once, to all hosts together; at least 1.
    pub connections: usize,
    /// Messages that one connection carries at most; at least 1.
    pub messages_per_connection: u32,
    /// How long a connection waits for a further message before it is closed; zero for not at all.
    pub idle: Duration,
}

/// How mail hosts of recipients' domains are spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mx {
    /// The port: 25, but in laboratories.
    pub port: u16,
    /// Connections at once to one mail host, whatever domains it serves; at least 1.
    pub connections: usize,
    /// Messages that one connection carries at most; at least 1.
    pub messages_per_connection: u32,
    /// How long a connection waits for a further message before it is closed; zero for not at all.
    pub idle: Duration,
    /// Which of their addresses are tried.
    pub addresses: AddressKinds,
    /// Our own address for connections over IPv4; none lets the system choose.
    pub source_ipv4: Option<Ipv4Addr>,
    /// The same over IPv6.
    pub source_ipv6: Option<Ipv6Addr>,
    /// Authorities that are trusted beside the system's, in a PEM file: for laboratories.
    pub authorities: Option<PathBuf>,
}

impl Default for Mx {
    fn default() -> Self {
        Mx {
            port: 25,
            connections: 16,
            messages_per_connection: 100,
            idle: Duration::from_secs(15),
            addresses: AddressKinds::Both,
            source_ipv4: None,
            source_ipv6: None,
            authorities: None,
        }
    }
}

/// Which addresses of a host are tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AddressKinds {
    /// IPv6 and IPv4 by turns.
    #[default]
    Both,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// Where one host of a next hop listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// A host name or an IP address, and a port.
    Tcp {
        /// As the operator wrote it, without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How far a link may lead, as far as its name tells.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Whereabouts {
    /// A Unix socket, a loopback address, or `localhost`.
    ThisMachine,
    /// An address of a private network (RFC 1918, RFC 4193) or of one link (RFC 3927, RFC 4291
    /// §2.5.6).
    PrivateNetwork,
    /// Any other address, and every name: what it stands for may change.
    Anywhere,
}

impl Place {
    /// How far a link to it may lead; what decides whether it may do without TLS.
    pub fn whereabouts(&self) -> Whereabouts {
        let Place::Tcp { host, .. } = self else {
            return Whereabouts::ThisMachine;
        };
        if host.eq_ignore_ascii_case("localhost") {
            return Whereabouts::ThisMachine;
        }
        // An IPv4 address within an IPv6 one leads where the IPv4 address leads.
        let Ok(address) = host.parse::<IpAddr>().map(|it| it.to_canonical()) else {
            return Whereabouts::Anywhere;
        };
        let is_private = match address {
            IpAddr::V4(address) => address.is_private() || address.is_link_local(),
            IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
        };
        match address.is_loopback() {
            true => Whereabouts::ThisMachine,
            false if is_private => Whereabouts::PrivateNetwork,
            false => Whereabouts::Anywhere,
        }
    }
}

/// One host of a next hop.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host {
    /// Where it listens.
    pub place: Place,
    /// How the link is protected.
    pub encryption: Encryption,
    /// Hosts of a lower order are tried first.
    pub order: u16,
    /// Among hosts of one order, the share of attempts that begin here; 0 only when all others fail.
    pub weight: u16,
}

/// How a link to a host of a route is protected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Encryption {
    /// TLS from the first octet (465, RFC 8314 §3.3).
    Implicit,
    /// STARTTLS, without which nothing is said (587 or 25, RFC 3207).
    StartTls,
    /// None: for a Unix socket, or an address on loopback or in a private network that the route
    /// names as such.
    Plaintext,
}

/// Whom a host's certificate must satisfy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// The authorities of this system.
    #[default]
    System,
    /// The authorities in this PEM file, and no others.
    Authorities(PathBuf),
    /// It is one of these: SHA-256 of its DER. Names and dates do not matter then.
    Pins(Vec<[u8; 32]>),
}

/// As whom to sign in at a next hop, and for whose mail.
#[derive(Clone)]
pub struct Credential {
    /// For whose mail; for everybody's where this is none.
    pub origin: Option<OriginPattern>,
    /// Login name.
    pub name: String,
    /// Password.
    pub password: Arc<SecretString>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("origin", &self.origin)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Hop {
    /// As whom to sign in for mail of this origin.
    pub fn credential(&self, origin: &super::Origin<'_>) -> Option<&Credential> {
        let fitting = self.credentials.iter().filter_map(|credential| {
            let rank = match &credential.origin {
                None => 0,
                Some(pattern) => pattern.rank(origin)?,
            };
            Some((rank, credential))
        });
        // Of equals the first; config refuses them.
        fitting
            .rev()
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, credential)| credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_shows_that_a_host_is_near() {
        use Whereabouts::{Anywhere, PrivateNetwork, ThisMachine};
        for (host, whereabouts) in [
            ("localhost", ThisMachine),
            ("LocalHost", ThisMachine),
            ("127.0.0.1", ThisMachine),
            ("127.9.9.9", ThisMachine),
            ("::1", ThisMachine),
            ("::ffff:127.0.0.1", ThisMachine),
            ("10.0.0.1", PrivateNetwork),
            ("172.16.0.1", PrivateNetwork),
            ("172.31.255.255", PrivateNetwork),
            ("192.168.1.1", PrivateNetwork),
            ("169.254.1.1", PrivateNetwork),
            ("fe80::1", PrivateNetwork),
            ("fd00::1", PrivateNetwork),
            ("::ffff:10.0.0.1", PrivateNetwork),
            ("172.32.0.1", Anywhere),
            ("100.64.0.1", Anywhere),
            ("192.0.2.1", Anywhere),
            ("0.0.0.0", Anywhere),
            ("2001:db8::1", Anywhere),
            ("::ffff:192.0.2.1", Anywhere),
            ("mail.example.org", Anywhere),
            ("localhost.example.org", Anywhere),
            ("10.0.0.1.example.org", Anywhere),
        ] {
            let place = Place::Tcp {
                host: host.into(),
                port: 25,
            };
            assert_eq!(place.whereabouts(), whereabouts, "{host}");
        }
        let socket = Place::Unix("/run/lmtp".into());
        assert_eq!(socket.whereabouts(), ThisMachine);
    }

    #[test]
    fn a_password_shows_in_no_debug_output() {
        let credential = Credential {
            origin: None,
            name: "ann".into(),
            password: Arc::new("tomtom".into()),
        };
        assert_eq!(
            format!("{credential:?}"),
            "Credential { origin: None, name: \"ann\", .. }"
        );
    }

    #[test]
    fn the_most_specific_credential_is_taken() {
        let credential = |name: &str, origin| Credential {
            origin,
            name: name.into(),
            password: Arc::default(),
        };
        let mailbox = |text: &str| crate::smtp::Mailbox::parse(text).unwrap();
        let hop = Hop {
            hosts: Vec::new(),
            trust: Trust::System,
            credentials: vec![
                credential("all", None),
                credential(
                    "shop",
                    Some(OriginPattern::Domain(
                        crate::smtp::Domain::parse("shop.example").unwrap(),
                    )),
                ),
                credential(
                    "boss",
                    Some(OriginPattern::Address(mailbox("boss@shop.example"))),
                ),
                credential("ann", Some(OriginPattern::Account("ann".into()))),
            ],
            connections: 1,
            messages_per_connection: 1,
            idle: Duration::ZERO,
        };
        for (sender, account, name) in [
            ("x@other.example", None, "all"),
            ("x@shop.example", None, "shop"),
            ("BOSS@shop.example", None, "boss"),
            ("boss@shop.example", Some("ann"), "ann"),
            ("x@other.example", Some("bob"), "all"),
        ] {
            let sender = mailbox(sender);
            let origin = crate::policy::routes::Origin {
                sender: Some(&sender),
                account,
            };
            let taken = hop.credential(&origin).map(|it| it.name.as_str());
            assert_eq!(taken, Some(name), "{sender} {account:?}");
        }
    }
}
