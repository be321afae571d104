//! Every key of a `[[routes]]` table.

use std::{fmt, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{super::fields::table, seconds};
use crate::config::units::Span;

/// Which recipients a local route takes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipients {
    /// Addresses of accounts.
    Accounts,
    /// Every address.
    Any,
}

/// How the links to a route's hosts are protected.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteTls {
    /// From the first octet.
    Implicit,
    /// By STARTTLS.
    Starttls,
    /// Not at all.
    None,
}

/// Which addresses of a mail host are tried.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteAddresses {
    /// Of both kinds.
    Both,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

table! {
    /// Where mail for some recipient domains goes; repeat the table for more. A route that names
    /// the domain wins over "*." patterns, the longest of them over the others, and "*" comes last.
    /// docs/routes.md has whole examples.
    Route {
        /// Its name in logs and metrics.
        name: String = String::new(),
        /// Recipient domains: "example.org"; "*.example.org" for every domain below it; "*" for all.
        domains: Vec<String> = Vec::new(),
        /// Only mail from these: "alice@example.org", or "example.org" for all of a domain. With
        /// neither senders nor accounts: everybody's. Mail of others goes by the next best route.
        senders: Vec<String> = Vec::new(),
        /// Only mail that these accounts submit, by login name; a route may name both.
        accounts: Vec<String> = Vec::new(),
        /// How: "maildir", "lmtp" (a program that keeps mailboxes), "relay" (a smarthost), "mx"
        /// (straight to the mail hosts of the recipients' domains), or "discard" (taken and thrown
        /// away, for tests).
        transport: String = "maildir".into(),
        /// maildir: the recipient's, absolute, with {domain}, {local} or {address} filled in.
        path: String = String::new(),
        /// maildir, lmtp: who has a mailbox there: "accounts" (others are refused at RCPT) or "any".
        recipients: Recipients = Recipients::Accounts,
        /// maildir, lmtp: the folder for copies of what its mailboxes' owners send (gatepost user
        /// sent-copy). LMTP has it as a detail behind the local part, alice+Sent@….
        sent_folder: String = "Sent".into(),
        /// lmtp, relay: "smtp.provider.example:465", "[2001:db8::1]:587" or "unix:/run/dovecot/lmtp".
        /// Several are tried in this order; { host = "…", order = 10, weight = 1 } says otherwise.
        hosts: Vec<RouteHost> = Vec::new(),
        /// lmtp, relay: "implicit" (from the first octet), "starttls", or "none" for Unix sockets,
        /// localhost and private addresses. Unset: port 465 of a relay is implicit, LMTP at such
        /// an address none, all else starttls. A Unix socket never has TLS.
        tls: Option<RouteTls> = None,
        /// lmtp, relay: PEM file of the only authorities to trust; empty: those of the system. mx:
        /// PEM file of authorities to trust beside those of the system, for laboratories.
        ca: PathBuf = PathBuf::new(),
        /// lmtp, relay: SHA-256 fingerprints of the certificates to trust, and no others. Names,
        /// dates and authorities do not matter then.
        pins: Vec<String> = Vec::new(),
        /// lmtp, relay: name to sign in with; empty: no sign-in.
        user: String = String::new(),
        /// lmtp, relay: absolute path of a file that holds the password and nothing else, or
        /// "credential:NAME" for one that systemd hands over (LoadCredential=).
        password_file: String = String::new(),
        /// lmtp, relay: other sign-ins for the mail of some.
        credentials: Vec<RouteCredential> = Vec::new(),
        /// lmtp, relay: connections at once, to all its hosts together. mx: to one mail host.
        connections: usize = 16,
        /// lmtp, relay, mx: messages that one connection carries at most.
        messages_per_connection: u32 = 100,
        /// lmtp, relay, mx: how long a connection is kept for the next message; "0s": not at all.
        idle: Span = seconds(15),
        /// mx: which addresses of a mail host are tried: "both", "ipv4" or "ipv6".
        addresses: RouteAddresses = RouteAddresses::Both,
        /// mx: our own addresses, at most one of each kind; with none the system chooses.
        source: Vec<IpAddr> = Vec::new(),
        /// mx: the port of mail hosts; another one is for laboratories.
        port: u16 = 25,
    }
}

table! {
    /// Another sign-in of the route above, for the mail of these senders or accounts; repeat the
    /// table for more. An account wins over an address, an address over a domain.
    RouteCredential {
        /// Mail from these addresses or domains.
        senders: Vec<String> = Vec::new(),
        /// Mail that these accounts submit.
        accounts: Vec<String> = Vec::new(),
        /// Name to sign in with.
        user: String = String::new(),
        /// As in the route.
        password_file: String = String::new(),
    }
}

table! {
    /// A host with its place among the others.
    HostTable {
        /// As where it stands alone.
        host: String = String::new(),
        /// Lower ones are tried first; unset: ten times its place in the list.
        order: Option<u16> = None,
        /// Share of the attempts among hosts of one order; 0: only when the others fail.
        weight: u16 = 1,
    }
}

/// A host of a route: a text where it stands alone, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RouteHost {
    /// Tried in its turn.
    Plain(String),
    /// With an order or a weight.
    Placed(HostTable),
}

impl<'de> Deserialize<'de> for RouteHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostVisitor)
    }
}

/// By hand, because what serde says of an untagged enum helps nobody.
struct HostVisitor;

impl<'de> de::Visitor<'de> for HostVisitor {
    type Value = RouteHost;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host such as \"smtp.provider.example:465\", or a table { host = \"…\" }")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<RouteHost, E> {
        Ok(RouteHost::Plain(value.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RouteHost, A::Error> {
        let table = HostTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(RouteHost::Placed(table))
    }
}
