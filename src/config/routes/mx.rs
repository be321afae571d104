//! A route to the mail hosts of the recipients' domains.

use std::net::IpAddr;

use super::{Complaints, hop::numbers};
use crate::{
    config::{
        options::is_plain,
        schema::{Route, RouteAddresses},
    },
    policy::routes::{AddressKinds, Mx},
};

/// Reads all that a route says of mail hosts.
pub(super) fn mx(route: &Route, complaints: &mut Complaints<'_>) -> Mx {
    numbers(route, complaints);
    if route.port == 0 {
        complaints.about("port", "0 is no port");
    }
    let has_ca = !route.ca.as_os_str().is_empty();
    if has_ca && !is_plain(&route.ca) {
        complaints.about("ca", "must be an absolute path");
    }
    let (mut source_ipv4, mut source_ipv6) = (None, None);
    for (n, source) in route.source.iter().enumerate() {
        let is_second = match source {
            IpAddr::V4(address) => source_ipv4.replace(*address).is_some(),
            IpAddr::V6(address) => source_ipv6.replace(*address).is_some(),
        };
        if is_second {
            let text = "is the second of its kind; one of each kind is used";
            complaints.about(&format!("source.{n}"), text);
        }
        if source.is_unspecified() || source.is_multicast() {
            complaints.about(&format!("source.{n}"), "is no address of a host");
        }
    }
    Mx {
        port: route.port,
        connections: route.connections,
        messages_per_connection: route.messages_per_connection,
        idle: route.idle.0,
        addresses: match route.addresses {
            RouteAddresses::Both => AddressKinds::Both,
            RouteAddresses::Ipv4 => AddressKinds::Ipv4,
            RouteAddresses::Ipv6 => AddressKinds::Ipv6,
        },
        source_ipv4,
        source_ipv6,
        authorities: has_ca.then(|| route.ca.clone()),
    }
}
