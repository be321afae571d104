//! Routes, from the file's values to the table that answers.
//!
//! What a mistake here could cost is mail sent in the clear or by the wrong provider, so every key
//! that would have no effect is a mistake too.

mod hop;
mod hosts;
mod mx;
mod origins;
mod sign_in;
mod trust;

use super::{
    fields::Table,
    options::{Wrong, complain},
    passwords::Passwords,
    schema::{Config, Recipients, Route},
};
use crate::policy::routes::{self, DomainPattern, LocalRecipients, RouteTable, Transport};

pub(super) use sign_in::password_files;

/// Ways for mail to go.
const TRANSPORTS: [&str; 5] = ["maildir", "lmtp", "relay", "mx", "discard"];
/// Keys that every route may have.
const COMMON: &[&str] = &["name", "domains", "senders", "accounts", "transport"];
/// Keys of a next hop.
const HOP: &[&str] = &[
    "hosts",
    "tls",
    "ca",
    "pins",
    "user",
    "password_file",
    "credentials",
    "connections",
    "messages_per_connection",
    "idle",
];

/// Keys of a route to mail hosts.
const MX: &[&str] = &[
    "ca",
    "connections",
    "messages_per_connection",
    "idle",
    "addresses",
    "source",
    "port",
];

/// Whether `key` means something to a route of this transport.
pub(super) fn fits(transport: &str, key: &str) -> bool {
    let own: &[&str] = match transport {
        "maildir" => &["path", "recipients", "sent_folder"],
        "lmtp" => &["recipients", "sent_folder"],
        "mx" => MX,
        _ => &[],
    };
    let of_hop = matches!(transport, "lmtp" | "relay");
    COMMON.contains(&key) || own.contains(&key) || (of_hop && HOP.contains(&key))
}

/// Where complaints about one route go.
struct Complaints<'a> {
    route: usize,
    wrong: &'a mut Wrong,
}

impl Complaints<'_> {
    fn about(&mut self, key: &str, text: impl Into<String>) {
        complain(self.wrong, &format!("routes.{}.{key}", self.route), text);
    }
}

/// The table of all routes, or nothing and the reasons.
pub(super) fn routes(
    config: &Config,
    passwords: &Passwords,
    wrong: &mut Wrong,
) -> Option<RouteTable> {
    let before = wrong.len();
    if config.routes.is_empty() {
        complain(wrong, "routes", "no route: mail would have nowhere to go");
    }
    let mut table = RouteTable::default();
    for (n, written) in config.routes.iter().enumerate() {
        let route = route(written, passwords, &mut Complaints { route: n, wrong });
        // Of a table with gaps, what contradicts what would be half the truth.
        if wrong.len() == before
            && let Some(route) = route
            && let Err(error) = table.add(route)
        {
            complain(wrong, &format!("routes.{n}"), error.to_string());
        }
    }
    (wrong.len() == before).then_some(table)
}

fn route(
    written: &Route,
    passwords: &Passwords,
    complaints: &mut Complaints<'_>,
) -> Option<routes::Route> {
    if written.name.is_empty() {
        complaints.about("name", "is missing");
    }
    let mut domains = Vec::new();
    for domain in &written.domains {
        match DomainPattern::parse(domain) {
            Ok(domain) => domains.push(domain),
            Err(error) => complaints.about("domains", format!("\"{domain}\": {error}")),
        }
    }
    let origins = origins::origins("", &written.senders, &written.accounts, complaints);
    unfitting(written, complaints);
    if !is_folder(&written.sent_folder) {
        let text = "takes up to 64 letters, digits, blanks, \"-\" and \"_\", with a letter or digit at both ends";
        complaints.about("sent_folder", text);
    }
    let recipients = match written.recipients {
        Recipients::Accounts => LocalRecipients::Accounts,
        Recipients::Any => LocalRecipients::Any,
    };
    let transport = match written.transport.as_str() {
        "maildir" => Transport::Maildir {
            path: written.path.clone(),
            recipients,
            sent_folder: written.sent_folder.as_str().into(),
        },
        "lmtp" => Transport::Lmtp {
            hop: hop::hop(written, hop::Service::Mailboxes, passwords, complaints)?,
            recipients,
            sent_folder: written.sent_folder.as_str().into(),
        },
        "relay" => Transport::Relay(hop::hop(
            written,
            hop::Service::Smarthost,
            passwords,
            complaints,
        )?),
        "discard" => Transport::Discard,
        "mx" => Transport::Mx(mx::mx(written, complaints)),
        name => {
            let text = format!(
                "\"{name}\" is unknown; here there are \"maildir\", \"lmtp\", \"relay\", \"mx\" and \
                 \"discard\""
            );
            complaints.about("transport", text);
            return None;
        }
    };
    Some(routes::Route {
        name: written.name.clone(),
        domains,
        origins,
        transport,
    })
}

/// Complains of keys that mean nothing to the route's transport.
/// Whether it can name a folder in a Maildir (Maildir++ divides names by dots) and the detail of an
/// address.
fn is_folder(name: &str) -> bool {
    let ends = |it: Option<char>| it.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = |c: char| c.is_ascii_alphanumeric() || " -_".contains(c);
    name.len() <= 64
        && ends(name.chars().next())
        && ends(name.chars().last())
        && name.chars().all(fits)
}

fn unfitting(written: &Route, complaints: &mut Complaints<'_>) {
    let transport = &written.transport;
    if !TRANSPORTS.contains(&transport.as_str()) {
        return;
    }
    let unset = Route::default().entries();
    for (entry, unset) in written.entries().into_iter().zip(unset) {
        if entry.value != unset.value && !fits(transport, entry.key) {
            let takers: Vec<_> = TRANSPORTS
                .into_iter()
                .filter(|taker| fits(taker, entry.key))
                .map(|taker| format!("\"{taker}\""))
                .collect();
            let text = format!(
                "means nothing with transport = \"{transport}\"; it is for {}",
                takers.join(" and ")
            );
            complaints.about(entry.key, text);
        }
    }
}

#[cfg(test)]
mod tests;
