//! How a connection to a next hop is set up.

use std::{fmt, time::Duration};

use secrecy::SecretString;

use crate::smtp::Domain;

/// What the next hop speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, and one reply for each recipient behind the message.
    Lmtp,
}

/// How the connection stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channel {
    /// In the clear.
    Plain,
    /// Encrypted; who is at the other end is not proved.
    Unproved,
    /// Encrypted, and the other end has proved to be the host that was meant.
    Proved,
}

/// What the channel must be before any credential or message travels.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Security {
    /// Encrypted and proved; STARTTLS where the connection begins in the clear.
    #[default]
    Proved,
    /// Encrypted, by whomever (RFC 7672 §2.2 knows such hosts).
    Encrypted,
    /// STARTTLS where it is offered; the message goes in the clear otherwise, credentials never do.
    IfOffered,
    /// In the clear as it is, credentials too: the operator has named this near host for it.
    Plaintext,
}

/// How we sign in at the next hop.
#[derive(Clone)]
pub struct Credentials {
    /// Login name.
    pub name: String,
    /// Password, wiped on drop.
    pub password: SecretString,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is spoken.
    pub protocol: Protocol,
    /// Our own name in EHLO: the primary host name or an address literal (RFC 5321 §4.1.4).
    pub hello_name: Domain,
    /// What the channel must be.
    pub security: Security,
    /// Where given, the message goes only after a sign-in.
    pub credentials: Option<Credentials>,
    /// Octets of a BDAT chunk at most, where CHUNKING is offered; 0 never uses it.
    pub chunk_octets: u64,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

impl Options {
    /// Settings for `hello_name` that need nothing else to be said: SMTP over a proved channel.
    pub fn new(hello_name: Domain) -> Self {
        Options {
            protocol: Protocol::Smtp,
            hello_name,
            security: Security::Proved,
            credentials: None,
            chunk_octets: 16 * 1024 * 1024,
            timeouts: Timeouts::default(),
        }
    }
}

/// How long is waited at most for each thing (RFC 5321 §4.5.3.2); the defaults are its minima.
///
/// Each is counted from the command, or from the reply before it where commands went out together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// The greeting (5 min).
    pub greeting: Duration,
    /// The answer to EHLO, HELO, LHLO, STARTTLS or RSET (5 min; the RFC names none).
    pub hello: Duration,
    /// The TLS handshake (1 min).
    pub handshake: Duration,
    /// Each answer in an AUTH exchange (3 min; RFC 4954 §4 leaves it open).
    pub sign_in: Duration,
    /// The answer to MAIL (5 min).
    pub mail: Duration,
    /// Each answer to RCPT (5 min).
    pub rcpt: Duration,
    /// The answer to DATA (2 min).
    pub data: Duration,
    /// Sending one piece of content (3 min).
    pub block: Duration,
    /// Each answer to the end of the content, or to a chunk (10 min).
    pub end_of_data: Duration,
    /// The answer to QUIT, for which nobody waits (10 s).
    pub quit: Duration,
    /// A transaction as a whole: a host that crawls must not keep a place for days (4 h).
    pub transaction: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Timeouts {
            greeting: minutes(5),
            hello: minutes(5),
            handshake: minutes(1),
            sign_in: minutes(3),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end_of_data: minutes(10),
            quit: Duration::from_secs(10),
            transaction: minutes(240),
        }
    }
}
