//! A next hop: its hosts with their order, and whether each link is fit for mail and passwords.

use std::collections::HashSet;

use super::{Complaints, hosts::place, sign_in::credentials, trust::trust};
use crate::{
    config::{
        passwords::Passwords,
        schema::{HostTable, Route, RouteHost, RouteTls},
        units::Span,
    },
    policy::routes::{Credential, Encryption, Hop, Host, Place, Trust, Whereabouts},
};

/// Hosts of one route; an attempt may have to go through all of them.
const HOSTS_MAX: usize = 16;
/// Connections at once to one next hop.
const CONNECTIONS_MAX: usize = 1000;
/// Messages of one connection.
const MESSAGES_MAX: u32 = 100_000;
/// Longest wait for a further message: servers wait five minutes (RFC 5321 §4.5.3.2.7).
const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(300);

/// What listens there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Service {
    /// A program that keeps mailboxes, by LMTP.
    Mailboxes,
    /// Another server, by SMTP.
    Smarthost,
}

/// Reads all that a route says of its next hop; nothing where that is not enough for one.
pub(super) fn hop(
    route: &Route,
    service: Service,
    passwords: &Passwords,
    complaints: &mut Complaints<'_>,
) -> Option<Hop> {
    let hosts = hosts(route, service, complaints);
    let trust = trust(route, complaints);
    let credentials = credentials(route, passwords, complaints);
    numbers(route, complaints);
    if route.hosts.is_empty() {
        let text = match service {
            Service::Mailboxes => {
                "is missing: where it listens, such as \"unix:/run/dovecot/lmtp\""
            }
            Service::Smarthost => "is missing: such as \"smtp.provider.example:465\"",
        };
        complaints.about("hosts", text);
    }
    if hosts.is_empty() {
        return None;
    }
    links(route, &hosts, &trust, &credentials, complaints);
    Some(Hop {
        hosts,
        trust,
        credentials,
        connections: route.connections,
        messages_per_connection: route.messages_per_connection,
        idle: route.idle.0,
    })
}

fn hosts(route: &Route, service: Service, complaints: &mut Complaints<'_>) -> Vec<Host> {
    if route.hosts.len() > HOSTS_MAX {
        complaints.about("hosts", format!("are more than {HOSTS_MAX}"));
        return Vec::new();
    }
    let mut hosts = Vec::new();
    let mut seen = HashSet::new();
    for (n, written) in route.hosts.iter().enumerate() {
        let key = format!("hosts.{n}");
        let (text, order, weight) = match written {
            RouteHost::Plain(text) => (text, None, HostTable::default().weight),
            RouteHost::Placed(table) => (&table.host, table.order, table.weight),
        };
        match place(text) {
            Ok(place) if !seen.insert(place.clone()) => {
                complaints.about(&key, format!("{place} stands there twice"));
            }
            // RFC 2033 §5.
            Ok(Place::Tcp { port: 25, .. }) if service == Service::Mailboxes => {
                complaints.about(&key, "LMTP is not spoken on port 25; 24 is usual");
            }
            Ok(place) => hosts.push(Host {
                encryption: encryption(&place, service, route.tls),
                place,
                // HOSTS_MAX keeps the product small.
                order: order.unwrap_or(10 * (n as u16 + 1)),
                weight,
            }),
            Err(error) => complaints.about(&key, error.to_string()),
        }
    }
    hosts
}

/// How the link to a host is protected: as asked, or else by what its port and address say.
fn encryption(place: &Place, service: Service, asked: Option<RouteTls>) -> Encryption {
    let Place::Tcp { port, .. } = place else {
        return Encryption::Plaintext;
    };
    match asked {
        Some(RouteTls::Implicit) => Encryption::Implicit,
        Some(RouteTls::Starttls) => Encryption::StartTls,
        Some(RouteTls::None) => Encryption::Plaintext,
        None if service == Service::Smarthost && *port == 465 => Encryption::Implicit,
        None if service == Service::Mailboxes && place.whereabouts() != Whereabouts::Anywhere => {
            Encryption::Plaintext
        }
        None => Encryption::StartTls,
    }
}

/// No mail crosses an open link, and no password leaves this machine on one.
fn links(
    route: &Route,
    hosts: &[Host],
    trust: &Trust,
    credentials: &[Credential],
    complaints: &mut Complaints<'_>,
) {
    let open = || {
        hosts
            .iter()
            .filter(|host| host.encryption == Encryption::Plaintext)
    };
    if let Some(host) = open().find(|host| host.place.whereabouts() == Whereabouts::Anywhere) {
        let text = format!(
            "\"none\" is for Unix sockets, \"localhost\" and addresses of private networks; {} may \
             be anywhere, and mail does not cross an open link",
            host.place
        );
        complaints.about("tls", text);
    } else if let Some(host) =
        open().find(|host| host.place.whereabouts() > Whereabouts::ThisMachine)
        && !credentials.is_empty()
    {
        let key = match route.user.is_empty() {
            true => "credentials",
            false => "user",
        };
        let text = format!(
            "the password would cross the network to {} without TLS; set tls, or let that host \
             take mail by address and leave the sign-in out",
            host.place
        );
        complaints.about(key, text);
    }
    let is_tcp = |host: &Host| matches!(host.place, Place::Tcp { .. });
    if matches!(route.tls, Some(RouteTls::Implicit | RouteTls::Starttls))
        && !hosts.iter().any(is_tcp)
    {
        complaints.about("tls", "a Unix socket never has TLS; leave the key out");
    }
    let is_all_open = open().count() == hosts.len();
    if *trust != Trust::System && (is_all_open || open().any(is_tcp)) {
        let key = match trust {
            Trust::Authorities(_) => "ca",
            Trust::Pins(_) | Trust::System => "pins",
        };
        let text = match is_all_open {
            true => "no host of this route is reached by TLS",
            false => "not every host of this route is reached by TLS; set tls",
        };
        complaints.about(key, text);
    }
}

/// How much and how long.
pub(super) fn numbers(route: &Route, complaints: &mut Complaints<'_>) {
    for (key, value, most) in [
        (
            "connections",
            route.connections as u64,
            CONNECTIONS_MAX as u64,
        ),
        (
            "messages_per_connection",
            route.messages_per_connection.into(),
            MESSAGES_MAX.into(),
        ),
    ] {
        if value == 0 || value > most {
            complaints.about(key, format!("{value} is out of range, from 1 to {most}"));
        }
    }
    if route.idle.0 > IDLE_MAX {
        let text = format!("is too long, the most is {}", Span(IDLE_MAX));
        complaints.about("idle", text);
    }
}
