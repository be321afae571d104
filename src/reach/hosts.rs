//! The mail hosts of a domain (RFC 5321 §5.1, RFC 7505).

use std::net::IpAddr;

use crate::{
    dns::{Absence, Dns, DnsError, Exchange, Mx, Verdict, is_null_mx},
    smtp::Domain,
};

/// Hosts of one domain that are tried at most; further ones are of the highest preference values.
const HOSTS_MOST: usize = 32;

/// The mail hosts of a domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosts {
    /// The domain.
    pub domain: Domain,
    /// The domain at the end of its aliases, where it is one (RFC 5321 §5.1).
    pub canonical: Domain,
    /// At least one.
    pub list: Vec<MxHost>,
    /// DNSSEC vouches for the list.
    pub secure: bool,
    /// The domain has no MX record and is its own host.
    pub implicit: bool,
}

/// One mail host.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct MxHost {
    /// Its name, or the address literal that the recipient's address names.
    pub name: Domain,
    /// Lower ones are tried first.
    pub preference: u16,
}

impl MxHost {
    /// The name as connections and evidence have it.
    pub fn text(&self) -> String {
        match self.name.literal() {
            Some(address) => address.to_string(),
            None => self.name.canonical(),
        }
    }
}

/// Why a domain has no mail host that could be tried.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoHosts {
    /// NXDOMAIN.
    #[error("the domain {0} does not exist")]
    NoSuchDomain(Domain),
    /// It says so itself (RFC 7505).
    #[error("the domain {0} takes no mail (null MX)")]
    NullMx(Domain),
    /// It exists, and names no host.
    #[error("the domain {0} has neither a mail host nor an address")]
    NoHost(Domain),
    /// Nobody knows; later, somebody may.
    #[error("the mail hosts of {0} could not be looked up: {1}")]
    Unknown(Domain, DnsError),
}

impl NoHosts {
    /// Whether another attempt may end otherwise.
    pub fn is_transient(&self) -> bool {
        matches!(self, NoHosts::Unknown(..))
    }
}

impl Hosts {
    /// The lists of hosts of one preference, lowest first.
    ///
    /// Each host once; where it stands twice its lowest preference counts.
    pub fn by_preference(&self) -> Vec<Vec<&MxHost>> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|host| host.preference);
        let mut lists: Vec<Vec<&MxHost>> = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for host in sorted {
            let key = host.text();
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            match lists.last_mut() {
                Some(last) if last[0].preference == host.preference => last.push(host),
                _ => lists.push(vec![host]),
            }
        }
        lists
    }

    /// Every host once in the order in which one attempt tries them: lower preferences first, those
    /// of one preference by chance (RFC 5321 §5.1).
    ///
    /// `random` gives a number below its argument, which is at least 1.
    pub fn in_turn(&self, mut random: impl FnMut(u32) -> u32) -> Vec<&MxHost> {
        let mut turn = Vec::new();
        for mut equals in self.by_preference() {
            while !equals.is_empty() {
                let count = u32::try_from(equals.len()).unwrap_or(u32::MAX);
                let at = random(count) as usize % equals.len();
                turn.push(equals.swap_remove(at));
            }
        }
        turn
    }

    /// A name for the hosts that are tried first: domains that share them share connections.
    pub fn site(&self) -> String {
        let mut names: Vec<_> = match self.by_preference().first() {
            Some(first) => first.iter().map(|host| host.text()).collect(),
            None => Vec::new(),
        };
        names.sort();
        names.join("+")
    }
}

pub(super) async fn find(dns: &Dns, domain: &Domain) -> Result<Hosts, NoHosts> {
    if domain.literal().is_some() {
        return Ok(own_host(domain, domain.clone(), false));
    }
    let unknown = |error| NoHosts::Unknown(domain.clone(), error);
    let answer = dns.mx(domain).await.map_err(unknown)?;
    let secure = answer.verdict == Verdict::Secure;
    if answer.absence == Some(Absence::Name) {
        return Err(NoHosts::NoSuchDomain(domain.clone()));
    }
    if is_null_mx(&answer.records) {
        return Err(NoHosts::NullMx(domain.clone()));
    }
    let canonical = Domain::parse_host(&answer.canonical).unwrap_or_else(|_| domain.clone());
    let mut list: Vec<_> = answer.records.iter().filter_map(host).collect();
    if list.is_empty() && answer.absence.is_none() {
        // It names hosts, and none of them could be one: not its own host (RFC 5321 §5.1).
        return Err(NoHosts::NoHost(domain.clone()));
    }
    if list.is_empty() {
        let addresses = dns.addresses(&canonical).await.map_err(unknown)?;
        return match addresses.absence {
            Some(Absence::Name) if answer.absence.is_none() => {
                Err(NoHosts::NoSuchDomain(domain.clone()))
            }
            _ if addresses.records.is_empty() => Err(NoHosts::NoHost(domain.clone())),
            _ => Ok(own_host(domain, canonical, secure)),
        };
    }
    list.sort_by_key(|host| host.preference);
    list.truncate(HOSTS_MOST);
    Ok(Hosts {
        domain: domain.clone(),
        canonical,
        list,
        secure,
        implicit: false,
    })
}

fn host(mx: &Mx) -> Option<MxHost> {
    match &mx.exchange {
        Exchange::Host(name) => Some(MxHost {
            name: name.clone(),
            preference: mx.preference,
        }),
        Exchange::Null => None,
    }
}

fn own_host(domain: &Domain, name: Domain, secure: bool) -> Hosts {
    Hosts {
        domain: domain.clone(),
        canonical: name.clone(),
        list: vec![MxHost {
            name,
            preference: 0,
        }],
        secure,
        implicit: true,
    }
}

/// Whether an address may be one of a host that others can reach.
pub(super) fn is_of_a_host(address: &IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}
