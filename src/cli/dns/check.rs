//! Records that should be there, held against the DNS.

use std::{net::IpAddr, sync::Arc};

use mail_auth::{common::parse::TxtRecordParser as _, dmarc::Dmarc};
use tokio_util::task::AbortOnDropHandle;

use super::{
    spf::{self, Allowed},
    wanted::{Facts, Need, Rule, Wanted},
    zone::Data,
};
use crate::{
    dns::{Dns, DnsError, Srv},
    smtp::Domain,
};

/// How a record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Published,
    Missing,
    /// Another one is there.
    Differs,
    /// The DNS does not tell.
    Unknown,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Published => "published",
            State::Missing => "missing",
            State::Differs => "differs",
            State::Unknown => "unknown",
        }
    }
}

/// A record that was looked for.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) need: Need,
    pub(super) state: State,
    pub(super) words: String,
}

impl Checked {
    /// Whether mail suffers: what must be there is not known to be, or something is wrong.
    pub(super) fn is_bad(&self) -> bool {
        match self.state {
            State::Published => false,
            State::Missing | State::Unknown => self.need == Need::Must,
            State::Differs => true,
        }
    }
}

type Found = Result<(State, String), DnsError>;

/// Looks for every record, all at once.
pub(super) async fn check(dns: &Dns, facts: &Facts, wanted: &[Wanted]) -> Vec<Checked> {
    let facts = Arc::new(facts.clone());
    let looks: Vec<_> = wanted
        .iter()
        .map(|it| {
            let (dns, facts, it) = (dns.clone(), Arc::clone(&facts), it.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { look(&dns, &facts, &it).await }))
        })
        .collect();
    let mut checked = Vec::with_capacity(wanted.len());
    for (it, look) in wanted.iter().zip(looks) {
        let found = look
            .await
            .unwrap_or_else(|error| Ok((State::Unknown, error.to_string())));
        let (state, words) = found.unwrap_or_else(|error| (State::Unknown, error.to_string()));
        let words = match state {
            State::Missing => format!("publish {}", it.line),
            _ => words,
        };
        let at = |other: &Checked| other.name == it.line.name && other.kind == "TLSA";
        if it.rule == Rule::Tlsa && checked.iter().any(at) {
            // All certificates of a port were looked at together.
            continue;
        }
        checked.push(Checked {
            name: it.line.name.clone(),
            kind: it.line.data.kind(),
            need: it.need,
            state,
            words,
        });
    }
    checked
}

async fn look(dns: &Dns, facts: &Facts, it: &Wanted) -> Found {
    let name = &it.line.name;
    match (&it.line.data, it.rule) {
        (Data::Text(_), Rule::Spf) => spf(dns, facts, name).await,
        (Data::Text(text), Rule::Dkim) => dkim(dns, name, text).await,
        (Data::Text(_), Rule::Dmarc) => dmarc(dns, name).await,
        (Data::Text(_), Rule::Begins(begins)) => begun(dns, name, begins).await,
        (Data::Service(srv), _) => service(dns, name, srv).await,
        (Data::Tlsa(_) | Data::Text(_), _) => tlsa(dns, facts, name).await,
    }
}

fn as_wanted() -> (State, String) {
    (State::Published, String::new())
}

fn differs(words: impl Into<String>) -> (State, String) {
    (State::Differs, words.into())
}

fn missing() -> (State, String) {
    (State::Missing, String::new())
}

/// Texts of a name that begin so.
async fn texts(dns: &Dns, name: &str, begins: &str) -> Result<Vec<String>, DnsError> {
    let found = dns.txt(name).await?.records.into_iter();
    let is_such = |text: &String| {
        let start = text.get(..begins.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(begins))
    };
    Ok(found.filter(is_such).collect())
}

async fn begun(dns: &Dns, name: &str, begins: &str) -> Found {
    Ok(match texts(dns, name, begins).await?.len() {
        0 => missing(),
        1 => as_wanted(),
        // RFC 8461 §3.1, RFC 8460 §3.
        several => differs(format!("{several} such records count as none")),
    })
}

async fn spf(dns: &Dns, facts: &Facts, name: &str) -> Found {
    let records = texts(dns, name, "v=spf1").await?;
    let record = match records.as_slice() {
        [] => return Ok(missing()),
        [record] => record,
        // RFC 7208 §4.5.
        several => {
            let count = several.len();
            return Ok(differs(format!(
                "{count} SPF records: receivers take that for an error"
            )));
        }
    };
    let addresses = match own_addresses(dns, facts).await? {
        Some(addresses) => addresses,
        None => return Ok(differs(format!("{} has no address", facts.host))),
    };
    for address in addresses {
        match spf::allows(dns, name, address).await? {
            Allowed::Yes => {}
            Allowed::No => return Ok(differs(format!("does not let {address} send: {record}"))),
            Allowed::CannotTell(why) => {
                let words = format!("cannot be told whether it lets {address} send: {why}");
                return Ok((State::Unknown, words));
            }
        }
    }
    Ok(as_wanted())
}

/// The addresses that mail leaves from, as far as they can be known.
async fn own_addresses(dns: &Dns, facts: &Facts) -> Result<Option<Vec<IpAddr>>, DnsError> {
    let mx = facts.mail_hosts.as_ref();
    let four = mx.and_then(|mx| mx.source_ipv4).map(IpAddr::V4);
    let six = mx.and_then(|mx| mx.source_ipv6).map(IpAddr::V6);
    let mut addresses: Vec<_> = four.into_iter().chain(six).collect();
    if let (None, _) | (_, None) = (four, six)
        && let Ok(host) = Domain::parse(&facts.host)
    {
        let found = dns.addresses(&host).await?.records.into_iter();
        let is_open = |address: &IpAddr| match address {
            IpAddr::V4(_) => four.is_none(),
            IpAddr::V6(_) => six.is_none(),
        };
        addresses.extend(found.filter(is_open));
    }
    Ok((!addresses.is_empty()).then_some(addresses))
}

async fn dkim(dns: &Dns, name: &str, wanted: &str) -> Found {
    let records = dns.txt(name).await?.records;
    let ours = tag(wanted, "p");
    let is_ours = |text: &String| tag(text, "p") == ours;
    Ok(match records.as_slice() {
        [] => missing(),
        [only] if is_ours(only) => as_wanted(),
        [only] => differs(format!("another key is there: {only}")),
        several if several.iter().any(is_ours) => {
            differs("several records are there; receivers take any of them")
        }
        _ => differs("other keys are there"),
    })
}

/// The value of a tag without the blanks that may stand in it (RFC 6376 §3.2).
fn tag(text: &str, name: &str) -> Option<String> {
    let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
    let (_, value) = tags.find(|(tag, _)| tag.trim() == name)?;
    Some(value.split_whitespace().collect())
}

async fn dmarc(dns: &Dns, name: &str) -> Found {
    let records = texts(dns, name, "v=DMARC1").await?;
    Ok(match records.as_slice() {
        [] => missing(),
        [only] => match Dmarc::parse(only.as_bytes()) {
            Ok(_) => as_wanted(),
            Err(error) => differs(format!("cannot be read ({error}): {only}")),
        },
        several => differs(format!("{} records count as none", several.len())),
    })
}

async fn service(dns: &Dns, name: &str, wanted: &Srv) -> Found {
    let records = dns.srv(name).await?.records;
    // Priority and weight are the operator's affair.
    let is_such = |it: &Srv| (it.port, &it.target) == (wanted.port, &wanted.target);
    Ok(match records.as_slice() {
        [] => missing(),
        found if found.iter().any(is_such) => as_wanted(),
        found => {
            let hosts: Vec<_> = found
                .iter()
                .map(|it| format!("{}:{}", it.target, it.port))
                .collect();
            differs(format!("leads to {}", hosts.join(" ")))
        }
    })
}

/// Every certificate in use must be named where any is (RFC 7671 §8.1).
async fn tlsa(dns: &Dns, facts: &Facts, name: &str) -> Found {
    let (port, host) = name
        .strip_prefix('_')
        .and_then(|rest| rest.split_once("._tcp."))
        .unwrap_or_default();
    let (Ok(port), Ok(host)) = (port.parse(), Domain::parse(host)) else {
        return Ok(missing());
    };
    let records = dns.tlsa(&host, port).await?.records;
    if records.is_empty() {
        return Ok(missing());
    }
    let unnamed = facts.certificates.iter().find(|it| !records.contains(it));
    let others = records
        .iter()
        .any(|record| (record.usage, record.selector, record.matching) != (3, 1, 1));
    Ok(match (unnamed, others) {
        (None, _) => as_wanted(),
        (Some(_), true) => (
            State::Unknown,
            "records of another form are there; compare them yourself".to_owned(),
        ),
        (Some(missed), false) => differs(format!(
            "the certificate in use is not named, clients with DANE refuse it; publish {missed}"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_their_blanks_removed() {
        let text = "v=DKIM1; k=rsa ;p = AB C\tD=; t=s";
        assert_eq!(tag(text, "p").as_deref(), Some("ABCD="));
        assert_eq!(tag(text, "k").as_deref(), Some("rsa"));
        assert_eq!(tag(text, "x"), None);
    }
}
