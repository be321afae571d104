//! Which records a domain needs.

use std::time::SystemTime;

use super::zone::{Data, Line};
use crate::{
    cli::{
        dkim::{self, RECORD_STAYS},
        timestamp,
    },
    dns::Srv,
    envelope::Tlsa,
    policy::routes::Mx,
    store::dkim::StoredKey,
};

/// What records follow from.
#[derive(Clone)]
pub(super) struct Facts {
    /// A-labels, lower case.
    pub(super) domain: String,
    /// Our own name.
    pub(super) host: String,
    pub(super) keys: Vec<StoredKey>,
    /// The route to mail hosts, where there is one.
    pub(super) mail_hosts: Option<Mx>,
    /// The port of implicit TLS, where it is served.
    pub(super) submissions: Option<u16>,
    /// The port of STARTTLS, where it is served.
    pub(super) submission: Option<u16>,
    /// A record for each certificate's key.
    pub(super) certificates: Vec<Tlsa>,
    pub(super) now: SystemTime,
}

/// How much depends on a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// Without it mail is refused or taken for junk.
    Must,
    /// It makes something better.
    Should,
    /// It is for whoever runs the domain's mail hosts to decide.
    Hint,
}

impl Need {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Need::Must => "must",
            Need::Should => "should",
            Need::Hint => "hint",
        }
    }
}

/// What a record is compared by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// Some SPF record that lets our addresses send.
    Spf,
    /// The same key.
    Dkim,
    /// Any policy.
    Dmarc,
    /// The same host and port.
    Service,
    /// The same key, among others.
    Tlsa,
    /// Any text that begins so.
    Begins(&'static str),
}

/// A record to be published.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) line: Line,
    pub(super) need: Need,
    pub(super) rule: Rule,
    /// Lines of explanation; the same for records that belong together.
    pub(super) about: &'static str,
}

const SPF: &str = "SPF: this host may send mail of the domain. Put \"a:\" into the record that is \
                   there,\nif one is: a domain has one at most.";
const SPF_HOST: &str = "SPF of the host itself, for reports: their envelope names nobody else.";
const DKIM: &str = "DKIM: the keys by which the domain's mail is signed.";
const DMARC: &str = "DMARC: tells receivers that mail is signed, and you what they see. Go on to\n\
                     p=quarantine and p=reject when the reports show that all of it is.";
const SERVICES: &str = "Mail programs find the server by these (RFC 6186, RFC 8314).";
const TLSA: &str = "DANE for those clients that know it, where the zone is signed. Publish the record \
                    of a\nnew key before it is put into service: a wrong record is worse than none.";
const RECEIVING: &str = "For mail to the domain, if you run its mail hosts: MTA-STS needs a policy at\n\
                         https://mta-sts.<domain>/.well-known/mta-sts.txt, TLSRPT an address for \
                         reports.";

impl Facts {
    /// All records, in the order in which they are shown.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut add = |name: String, data, need, rule, about| {
            let line = Line { name, data };
            wanted.push(Wanted {
                line,
                need,
                rule,
                about,
            });
        };
        let (domain, host) = (&self.domain, &self.host);
        if let Some(mx) = &self.mail_hosts {
            let text = format!("v=spf1 {} -all", sources(mx, &format!("a:{host}")));
            add(domain.clone(), Data::Text(text), Need::Must, Rule::Spf, SPF);
            if host != domain {
                let text = format!("v=spf1 {} -all", sources(mx, "a"));
                let data = Data::Text(text);
                add(host.clone(), data, Need::Should, Rule::Spf, SPF_HOST);
            }
        }
        for key in self.keys.iter().filter(|key| key.retired_at.is_none()) {
            let line = dkim::line(domain, &key.selector, key.algorithm, &key.public_key);
            add(line.name, line.data, Need::Must, Rule::Dkim, DKIM);
        }
        let text = format!("v=DMARC1; p=none; rua=mailto:postmaster@{domain}");
        let name = format!("_dmarc.{domain}");
        add(name, Data::Text(text), Need::Should, Rule::Dmarc, DMARC);
        let services = [
            ("_submissions", self.submissions, 0),
            ("_submission", self.submission, 10),
        ];
        for (service, port, priority) in services {
            let data = Data::Service(Srv {
                priority: if port.is_some() { priority } else { 0 },
                weight: u16::from(port.is_some()),
                port: port.unwrap_or(0),
                // A service that is not there is said not to be (RFC 2782).
                target: port.map_or("", |_| host).into(),
            });
            let name = format!("{service}._tcp.{domain}");
            add(name, data, Need::Should, Rule::Service, SERVICES);
        }
        for port in [self.submissions, self.submission].into_iter().flatten() {
            for tlsa in &self.certificates {
                let name = format!("_{port}._tcp.{host}");
                let data = Data::Tlsa(tlsa.clone());
                add(name, data, Need::Hint, Rule::Tlsa, TLSA);
            }
        }
        let day = timestamp(self.now);
        let id: String = day.chars().filter(char::is_ascii_digit).collect();
        let texts = [
            ("_mta-sts", format!("v=STSv1; id={id}"), "v=STSv1"),
            (
                "_smtp._tls",
                format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}"),
                "v=TLSRPTv1",
            ),
        ];
        for (label, text, begins) in texts {
            let (name, data) = (format!("{label}.{domain}"), Data::Text(text));
            add(name, data, Need::Hint, Rule::Begins(begins), RECEIVING);
        }
        wanted
    }

    /// What cannot be published because it is not there yet.
    pub(super) fn lacking(&self) -> Vec<String> {
        let signs = self.keys.iter().any(|key| key.retired_at.is_none());
        let words = "no key signs its mail (DKIM)".to_owned();
        if signs { Vec::new() } else { vec![words] }
    }

    /// What no record says.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.mail_hosts.is_none() {
            notes.push(
                "SPF: no route hands mail to mail hosts; publish what the operator of your \
                 smarthost asks for."
                    .to_owned(),
            );
        }
        if self.keys.iter().all(|key| key.retired_at.is_some()) {
            notes.push(format!(
                "DKIM: there is no key yet. Make some: gatepost domain dkim add {}",
                self.domain
            ));
        }
        for key in &self.keys {
            let until = key.retired_at.map(|at| at + RECORD_STAYS);
            if let Some(until) = until.filter(|until| *until > self.now) {
                notes.push(format!(
                    "{}._domainkey.{}: retired; its record stays until {}",
                    key.selector,
                    self.domain,
                    timestamp(until)
                ));
            }
        }
        notes
    }
}

/// The mechanisms by which our addresses are named.
fn sources(mx: &Mx, otherwise: &str) -> String {
    let four = mx.source_ipv4.map(|address| format!("ip4:{address}"));
    let six = mx.source_ipv6.map(|address| format!("ip6:{address}"));
    let named: Vec<_> = four.into_iter().chain(six).collect();
    match named.len() {
        // Of the other kind it is still the host's own address.
        0 | 1 => [named, vec![otherwise.to_owned()]].concat().join(" "),
        _ => named.join(" "),
    }
}
