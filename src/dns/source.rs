//! Where answers come from.

use std::{future::Future, net::IpAddr, pin::Pin, time::Duration};

use super::{Absence, DnsError, Srv, Verdict};
use crate::envelope::Tlsa;

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Mail hosts.
    Mx,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// TLSA records.
    Tlsa,
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
    /// Hosts of a service.
    Srv,
    /// The alias itself.
    Cname,
    /// The zone's own record.
    Soa,
}

impl Kind {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Mx => "mx",
            Kind::A => "a",
            Kind::Aaaa => "aaaa",
            Kind::Tlsa => "tlsa",
            Kind::Txt => "txt",
            Kind::Ptr => "ptr",
            Kind::Srv => "srv",
            Kind::Cname => "cname",
            Kind::Soa => "soa",
        }
    }
}

/// A record of an answer. Names are in lower case, in ASCII, without the last dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Whose it is.
    pub owner: Box<str>,
    /// How long it may be remembered.
    pub ttl: Duration,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Data {
    /// Preference and exchange; the latter is empty for the root.
    Mx(u16, Box<str>),
    /// An address of either kind.
    Address(IpAddr),
    /// A TLSA record.
    Tlsa(Tlsa),
    /// The strings of a text, put together; octets that are no UTF-8 are replaced.
    Txt(String),
    /// A name (PTR).
    Name(Box<str>),
    /// A host of a service (SRV).
    Srv(Srv),
    /// The name that this one stands for (CNAME).
    Alias(Box<str>),
    /// The zone's own record (SOA).
    Zone,
}

impl Data {
    /// Whether it answers a question of this kind.
    pub(super) fn is_of(&self, kind: Kind) -> bool {
        match (self, kind) {
            (Data::Mx(..), Kind::Mx)
            | (Data::Tlsa(_), Kind::Tlsa)
            | (Data::Txt(_), Kind::Txt)
            | (Data::Name(_), Kind::Ptr)
            | (Data::Srv(_), Kind::Srv)
            | (Data::Alias(_), Kind::Cname)
            | (Data::Zone, Kind::Soa) => true,
            (Data::Address(address), Kind::A) => address.is_ipv4(),
            (Data::Address(address), Kind::Aaaa) => address.is_ipv6(),
            _ => false,
        }
    }
}

/// An answer as the source gives it, aliases and all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The answer section, as far as it is understood.
    pub records: Vec<Record>,
    /// What is not there, where no record answers the question.
    pub absence: Option<Absence>,
    /// What DNSSEC says of all of it.
    pub verdict: Verdict,
    /// Whether the source's word on DNSSEC is believed at all.
    pub is_trusted: bool,
    /// How long an absence may be remembered.
    pub absent_for: Duration,
}

/// An answer on its way.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Reply, DnsError>> + Send + 'a>>;

/// A source of answers with a word on DNSSEC.
pub trait Source: Send + Sync {
    /// Asks one question. The name is as in [`Record`]; empty for the root.
    ///
    /// Waits no longer than its own settings have it.
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asked<'a>;
}
