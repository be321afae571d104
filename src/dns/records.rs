//! Records that need more than reading.

use crate::smtp::Domain;

/// A mail host of a domain.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Mx {
    /// Lower ones are tried first.
    pub preference: u16,
    /// The host.
    pub exchange: Exchange,
}

/// What an MX record names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Exchange {
    /// A host.
    Host(Domain),
    /// The root: no host at all (RFC 7505 §3).
    Null,
}

/// A host of a service (RFC 2782).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Srv {
    /// Lower ones are tried first.
    pub priority: u16,
    /// The share among hosts of the same priority.
    pub weight: u16,
    /// Where the host serves.
    pub port: u16,
    /// The host; empty where the service is not offered.
    pub target: Box<str>,
}

/// Whether a domain takes no mail: its only MX record names no host (RFC 7505 §3).
pub fn is_null_mx(records: &[Mx]) -> bool {
    matches!(
        records,
        [Mx {
            exchange: Exchange::Null,
            ..
        }]
    )
}

/// Reads a record; one whose exchange no host can bear is none.
pub(super) fn mx(preference: u16, exchange: &str) -> Option<Mx> {
    let exchange = match exchange {
        "" => Exchange::Null,
        name => Exchange::Host(Domain::parse_host(name).ok()?),
    };
    Some(Mx {
        preference,
        exchange,
    })
}
