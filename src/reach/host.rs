//! Addresses and TLSA records of one mail host (RFC 7672 §2.2).

use std::net::IpAddr;

use super::hosts::{Hosts, MxHost, is_of_a_host};
use crate::{
    dns::{Answer, Dns, DnsError, Verdict},
    envelope::Tlsa,
    policy::{
        dane::{self, Usable},
        security::TlsaFacts,
    },
    smtp::Domain,
};

/// What is known of a mail host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// What its TLSA records are good for.
    pub tlsa: TlsaFacts,
    /// Those that can be used.
    pub records: Vec<Tlsa>,
    /// The TLSA base domain, or else the host's own name: what is asked for in the handshake
    /// (RFC 7672 §8.1).
    pub base: Domain,
    /// Names of which a certificate under a DANE-TA record must bear one (RFC 7672 §3.2.2).
    pub names: Vec<Domain>,
    /// Why the TLSA records are not known, where they are not.
    pub trouble: Option<DnsError>,
}

/// Why a mail host cannot be connected to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostFault {
    /// It has none.
    #[error("the mail host {0} has no address")]
    NoAddress(String),
    /// Nobody knows.
    #[error("the addresses of the mail host {0} could not be looked up: {1}")]
    Unknown(String, DnsError),
}

pub(super) async fn find(
    dns: &Dns,
    hosts: &Hosts,
    host: &MxHost,
    port: u16,
) -> Result<Host, HostFault> {
    if let Some(address) = host.name.literal() {
        return Ok(Host {
            addresses: vec![address],
            tlsa: TlsaFacts::None,
            records: Vec::new(),
            base: host.name.clone(),
            names: Vec::new(),
            trouble: None,
        });
    }
    let unknown = |error| HostFault::Unknown(host.text(), error);
    let mut answer = dns.addresses(&host.name).await.map_err(unknown)?;
    answer.records.retain(is_of_a_host);
    if answer.records.is_empty() {
        return Err(HostFault::NoAddress(host.text()));
    }
    let found = tlsa(dns, host, &answer, port).await;
    let (tlsa, records, base, trouble) = match found {
        Ok(Some((base, published))) => match dane::usable(&published) {
            Usable::Records(records) => (TlsaFacts::Usable, records, base, None),
            Usable::None => (TlsaFacts::Unusable, Vec::new(), base, None),
        },
        Ok(None) => (TlsaFacts::None, Vec::new(), host.name.clone(), None),
        Err(error) => (
            TlsaFacts::Failed,
            Vec::new(),
            host.name.clone(),
            Some(error),
        ),
    };
    let mut names = vec![base.clone()];
    if hosts.secure {
        // Where the MX record could be forged, only the host's own name means anything.
        names.extend([hosts.domain.clone(), hosts.canonical.clone()]);
    }
    names.dedup();
    Ok(Host {
        addresses: answer.records,
        tlsa,
        records,
        base,
        names,
        trouble,
    })
}

/// The TLSA records that DNSSEC vouches for, and their base domain.
///
/// At the end of the host's aliases first, where DNSSEC vouches for them too, and then at its own
/// name; never at a name between (RFC 7672 §2.2.3). Where its addresses are not signed nobody is
/// asked (RFC 7672 §2.2.2): hosts behind such names often cannot answer.
async fn tlsa(
    dns: &Dns,
    host: &MxHost,
    addresses: &Answer<IpAddr>,
    port: u16,
) -> Result<Option<(Domain, Vec<Tlsa>)>, DnsError> {
    if addresses.verdict != Verdict::Secure {
        return match addresses.aliased {
            // The alias itself may be signed although what it leads to is not (RFC 7672 §2.2.2).
            true if dns.is_alias_secure(&host.name).await? => signed(dns, &host.name, port).await,
            true | false => Ok(None),
        };
    }
    if addresses.aliased
        && let Ok(end) = Domain::parse_host(&addresses.canonical)
        && let Some(found) = signed(dns, &end, port).await?
    {
        return Ok(Some(found));
    }
    signed(dns, &host.name, port).await
}

async fn signed(
    dns: &Dns,
    base: &Domain,
    port: u16,
) -> Result<Option<(Domain, Vec<Tlsa>)>, DnsError> {
    let answer = dns.tlsa(base, port).await?;
    let is_there = answer.verdict == Verdict::Secure && !answer.records.is_empty();
    Ok(is_there.then(|| (base.clone(), answer.records)))
}
