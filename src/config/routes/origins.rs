//! Whose mail: the keys `senders` and `accounts`.

use super::Complaints;
use crate::{
    accounts::login_name,
    policy::routes::OriginPattern,
    smtp::{Domain, Mailbox},
};

/// Reads both lists of a route, or of the table called `table` in it.
pub(super) fn origins(
    table: &str,
    senders: &[String],
    accounts: &[String],
    complaints: &mut Complaints<'_>,
) -> Vec<OriginPattern> {
    let mut origins = Vec::new();
    for text in senders {
        match sender(text) {
            Ok(pattern) => origins.push(pattern),
            Err(why) => complaints.about(&format!("{table}senders"), format!("\"{text}\": {why}")),
        }
    }
    for text in accounts {
        match login_name(text) {
            Some(name) => origins.push(OriginPattern::Account(name)),
            None => {
                let text = format!("\"{text}\" cannot be a login name");
                complaints.about(&format!("{table}accounts"), text);
            }
        }
    }
    origins
}

/// An address, or a domain; `*@` in front of a domain is what accounts have it with.
fn sender(text: &str) -> Result<OriginPattern, String> {
    if text.starts_with("*.") {
        return Err("only recipient domains have patterns; name each sender domain".to_owned());
    }
    let domain = text.strip_prefix("*@").or_else(|| text.strip_prefix('@'));
    let read = match domain {
        Some(domain) => Domain::parse(domain).map(OriginPattern::Domain),
        None if text.contains('@') => Mailbox::parse(text).map(OriginPattern::Address),
        None => Domain::parse(text).map(OriginPattern::Domain),
    };
    read.map_err(|error| error.to_string())
}
