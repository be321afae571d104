//! One host as an attempt speaks to it: where it is, how the channel is protected, what it must
//! prove.

use std::{net::IpAddr, sync::Arc};

use super::opened::{Ended, Opened};
use crate::{
    client::Security,
    deliver::smtp::{OpenCause, Sources},
    envelope::{Link, MxProof},
    policy::{
        routes::{self, Hop, Host, Place},
        security::Requirement,
    },
    tls::Trust,
};

/// What two connections must have in common to be the same to everybody.
///
/// Mail that asks for less may not go by a connection that was opened for it by chance: what was
/// proved is evidence that a report shows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::deliver) struct Lane {
    pub(in crate::deliver) place: Place,
    pub(in crate::deliver) channel: Channel,
}

/// How a channel is protected.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::deliver) enum Channel {
    /// Not at all: for a near host that its route names as such.
    Plaintext,
    /// By TLS from the first octet.
    Implicit(Proving),
    /// By STARTTLS, as far as the client's rule goes.
    StartTls(Security, Proving),
}

/// What a host must prove in the handshake.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::deliver) struct Proving {
    pub(in crate::deliver) trust: Trust,
    /// The name that is asked for (SNI).
    pub(in crate::deliver) name: String,
}

/// A lane, and what only this attempt knows of it.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct Way {
    pub(in crate::deliver) lane: Lane,
    /// Addresses that were looked up before; none leaves it to the system.
    pub(in crate::deliver) addresses: Option<Arc<[IpAddr]>>,
    /// Our own addresses.
    pub(in crate::deliver) sources: Sources,
    /// For a mail host of the recipient's domain: what vouches for its being one.
    pub(in crate::deliver) mx: Option<MxProof>,
    /// What the host must live up to, where more than its route says.
    pub(in crate::deliver) required: Option<Requirement>,
}

impl Way {
    /// To a host that a route names.
    pub(super) fn to(hop: &Hop, host: &Host) -> Way {
        let proving = || Proving {
            trust: match &hop.trust {
                routes::Trust::System => Trust::SystemRoots,
                routes::Trust::Authorities(path) => Trust::Ca(path.clone()),
                routes::Trust::Pins(pins) => Trust::Pins(pins.clone()),
            },
            name: match &host.place {
                Place::Tcp { host, .. } => host.clone(),
                Place::Unix(_) => "localhost".to_owned(),
            },
        };
        Way {
            lane: Lane {
                place: host.place.clone(),
                channel: match host.encryption {
                    routes::Encryption::Plaintext => Channel::Plaintext,
                    routes::Encryption::Implicit => Channel::Implicit(proving()),
                    routes::Encryption::StartTls => Channel::StartTls(Security::Proved, proving()),
                },
            },
            addresses: None,
            sources: Sources::default(),
            mx: None,
            required: None,
        }
    }

    /// The same without TLS, where that was only to be used if offered, and what was offered did not
    /// work: broken TLS is no worse than none there (RFC 8689 §4.2.2, RFC 7435).
    pub(in crate::deliver) fn without_tls(&self, opened: &[Opened]) -> Option<Way> {
        let Channel::StartTls(Security::IfOffered, _) = self.lane.channel else {
            return None;
        };
        let is_broken = |it: &Opened| matches!(it.ended, Ended::Failed(OpenCause::Tls(_)));
        opened.last().filter(|it| is_broken(it))?;
        let mut way = self.clone();
        way.lane.channel = Channel::Plaintext;
        Some(way)
    }

    /// The host's name as links have it.
    pub(in crate::deliver) fn host(&self) -> Box<str> {
        match &self.lane.place {
            Place::Tcp { host, .. } => host.as_str().into(),
            Place::Unix(path) => path.display().to_string().into(),
        }
    }

    /// The link before anything is known of it.
    pub(in crate::deliver) fn link(&self) -> Link {
        Link {
            host: self.host(),
            address: None,
            tls: None,
            mx: self.mx,
            requiretls: None,
        }
    }
}
