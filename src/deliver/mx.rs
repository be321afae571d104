//! Straight to the mail hosts of the recipients' domain (the route `mx`, RFC 5321 §5).
//!
//! For each host the facts that DNS and policy show are put to `policy::security`, and what it asks
//! is proved on the connection or the host does not get the message, not even its reverse-path. A
//! host that falls short is followed by the next one; where all do, the message waits, and its
//! sender is told why.

use std::{net::IpAddr, sync::Arc, time::Duration, time::SystemTime};

use super::{
    Attempt, Attempted, RecipientResult, Standing, Unprotected,
    hop::{Channel, Hops, Lane, Proving, Terms, Tour, Way, random},
    smtp::Sources,
    tls_results::{TlsResults, Witness},
};
use crate::{
    client::{Protocol, Security},
    dns::DnsError,
    envelope::{Link, MxProof, Outcome, Status},
    policy::{
        routes::{AddressKinds, Mx, Place},
        security::{Encryption, Facts, Identity, Levels, Plan, Requirement, Shortfall, plan},
    },
    reach::{Host, HostFault, Hosts, MxHost, NoHosts, Reach, StsState, sts_facts},
    smtp::{Domain, EnhancedCode},
    tls::Trust,
};

/// How long a domain or a host that the DNS does not tell of is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Makes one attempt at recipients of one domain.
pub(super) async fn attempt(
    hops: &Hops,
    reach: &Reach,
    levels: &Levels,
    results: &TlsResults,
    mx: &Mx,
    attempt: &Attempt,
) -> Attempted {
    let Some(first) = attempt.recipients.first() else {
        return Attempted::local(Vec::new());
    };
    let domain = first.address.domain();
    let required = levels.requirement(attempt.asks(), domain);
    let hosts = match reach.hosts(domain).await {
        Ok(hosts) => hosts,
        Err(why) => {
            Witness::nowhere(results, domain, &why);
            return nowhere(&why, required, attempt.recipients.len());
        }
    };
    let sts = reach.policy(domain, SystemTime::now()).await;
    let terms = Terms {
        protocol: Protocol::Smtp,
        credential: None,
        connections: mx.connections,
        messages_per_connection: mx.messages_per_connection,
        idle: mx.idle,
        several: hosts.list.len() > 1,
    };
    let journey = Journey {
        reach,
        mx,
        required,
        hosts: &hosts,
        sts: &sts,
    };
    let mut tour = Tour::new(hops, terms, attempt);
    // Mail that goes in spite of what is published tells nothing about it, reports on TLS above all
    // (RFC 8460 §5.3).
    let results = match required.published_counts {
        true => results.clone(),
        false => TlsResults::default(),
    };
    let witness = Witness::new(&results, domain, &sts);
    for host in hosts.in_turn(random) {
        match journey.way(host).await {
            Ok((way, found)) => {
                let share: Arc<str> = way.lane.place.to_string().into();
                let _seat = hops.seat(&share, mx.connections).await;
                tour.visit(&way, &share).await;
                let opened = tour.opened();
                for opened in &opened {
                    witness.saw(host, &found, opened);
                }
                if let Some(way) = way.without_tls(&opened)
                    && !tour.is_over()
                {
                    tour.visit(&way, &share).await;
                }
            }
            Err(Impasse::Unreachable(fault)) => {
                let status = transient(4, 3, fault.to_string());
                tour.pass_over(link(host), status, ASK_AGAIN);
            }
            Err(Impasse::Unprotected(shortfall, why)) => {
                witness.refused(host, shortfall);
                let text = journey.told(host, shortfall, why.as_ref()).await;
                let unprotected = Unprotected {
                    required: Some(required),
                    hosts: 1,
                };
                let status = match shortfall {
                    // The DNS may tell more another time.
                    Shortfall::TlsaFailed => transient(7, 0, text),
                    Shortfall::NotInPolicy | Shortfall::MxNotProved => transient(7, 5, text),
                };
                tour.refuse(link(host), status, unprotected);
            }
        }
        if tour.is_over() {
            break;
        }
    }
    if tour.is_unprotected() {
        reach.look_again(domain, SystemTime::now()).await;
    }
    tour.end()
}

/// What holds for all hosts of an attempt.
struct Journey<'a> {
    reach: &'a Reach,
    mx: &'a Mx,
    required: Requirement,
    hosts: &'a Hosts,
    sts: &'a StsState,
}

/// Why a host is not connected to.
enum Impasse {
    Unreachable(HostFault),
    /// And what the DNS said, where that is the reason.
    Unprotected(Shortfall, Option<DnsError>),
}

impl Journey<'_> {
    /// How this host is to be spoken to.
    async fn way(&self, host: &MxHost) -> Result<(Way, Host), Impasse> {
        let found = self.reach.host(self.hosts, host, self.mx.port).await;
        let found = found.map_err(Impasse::Unreachable)?;
        let facts = Facts {
            mx_secure: self.hosts.secure,
            tlsa: found.tlsa,
            sts: sts_facts(self.sts, &host.name),
        };
        match plan(self.required, facts) {
            Ok(mut plan) => {
                let validates =
                    || async { self.reach.dns().validation().await.why_not().is_none() };
                if plan.mx == MxProof::None && self.required.published_counts && !validates().await
                {
                    // That nothing was found means nothing then, and the evidence says so.
                    plan.mx = MxProof::Unchecked;
                }
                self.planned(host, &found, plan).map(|way| (way, found))
            }
            Err(shortfall) => Err(Impasse::Unprotected(shortfall, found.trouble)),
        }
    }

    fn planned(&self, host: &MxHost, found: &Host, plan: Plan) -> Result<Way, Impasse> {
        let addresses = in_turn(&found.addresses, self.mx.addresses);
        if addresses.is_empty() {
            return Err(Impasse::Unreachable(HostFault::NoAddress(host.text())));
        }
        let authorities = self.mx.authorities.clone();
        let (security, trust, name) = match plan.identity {
            Identity::Dane => (
                Security::Proved,
                Trust::dane(
                    found.records.clone(),
                    found.names.iter().map(Domain::canonical),
                ),
                found.base.canonical(),
            ),
            Identity::WebPki => (Security::Proved, Trust::system(authorities), host.text()),
            Identity::Anyone => {
                let security = match plan.encryption {
                    Encryption::Always => Security::Encrypted,
                    Encryption::IfOffered => Security::IfOffered,
                };
                (security, Trust::Observed(authorities), host.text())
            }
        };
        Ok(Way {
            lane: Lane {
                place: Place::Tcp {
                    host: host.text(),
                    port: self.mx.port,
                },
                channel: Channel::StartTls(security, Proving { trust, name }),
            },
            addresses: Some(addresses),
            sources: Sources {
                ipv4: self.mx.source_ipv4,
                ipv6: self.mx.source_ipv6,
            },
            mx: Some(plan.mx),
            required: Some(self.required),
        })
    }

    /// What is missing, in words that name the domain and the host.
    async fn told(&self, host: &MxHost, what: Shortfall, why: Option<&DnsError>) -> String {
        let mut text = format!("{}: {}: {what}", self.hosts.domain, host.text());
        if let Some(why) = why {
            text.push_str(&format!(" ({why})"));
        }
        if what == Shortfall::MxNotProved {
            let validation = self.reach.dns().validation().await;
            if let Some(why) = validation.why_not() {
                text.push_str(&format!(
                    "; this server cannot tell whether it is signed: {why}"
                ));
            }
            if let Some(why) = self.sts.trouble() {
                text.push_str(&format!("; its policy could not be had: {why}"));
            }
        }
        text
    }
}

/// Addresses in the order in which they are tried: both kinds by turns, IPv6 first.
fn in_turn(addresses: &[IpAddr], kinds: AddressKinds) -> Arc<[IpAddr]> {
    let of = |v6: bool| addresses.iter().filter(move |it| it.is_ipv6() == v6);
    match kinds {
        AddressKinds::Ipv4 => of(false).copied().collect(),
        AddressKinds::Ipv6 => of(true).copied().collect(),
        AddressKinds::Both => {
            let (mut six, mut four) = (of(true), of(false));
            let mut turn = Vec::with_capacity(addresses.len());
            loop {
                let next = [six.next(), four.next()];
                if next == [None, None] {
                    return turn.into();
                }
                turn.extend(next.into_iter().flatten());
            }
        }
    }
}

/// What becomes of everybody where there is no host to try.
fn nowhere(why: &NoHosts, required: Requirement, count: usize) -> Attempted {
    let text = why.to_string();
    let failed = |subject, detail, text| {
        Outcome::Failed(Status::new(EnhancedCode::new(5, subject, detail), text))
    };
    let (outcome, standing, unprotected) = match why {
        NoHosts::NoSuchDomain(_) => (failed(1, 2, text), Standing::Answers, None),
        // RFC 7505 §3, RFC 7504.
        NoHosts::NullMx(_) => (failed(1, 10, text), Standing::Answers, None),
        NoHosts::NoHost(_) => (failed(4, 4, text), Standing::Answers, None),
        NoHosts::Unknown(_, DnsError::Bogus { .. }) => {
            let unprotected = Unprotected {
                required: Some(required),
                hosts: 1,
            };
            let outcome = Outcome::Deferred(transient(7, 5, text));
            (outcome, Standing::Answers, Some(unprotected))
        }
        NoHosts::Unknown(..) => {
            let outcome = Outcome::Deferred(transient(4, 3, text));
            (outcome, Standing::Silent(ASK_AGAIN), None)
        }
    };
    let result = RecipientResult {
        outcome,
        link: None,
        unprotected,
    };
    Attempted {
        results: vec![Some(result); count],
        in_vain: Arc::default(),
        standing,
    }
}

fn transient(subject: u16, detail: u16, text: String) -> Status {
    Status::new(EnhancedCode::new(4, subject, detail), text)
}

fn link(host: &MxHost) -> Link {
    Link {
        host: host.text().into(),
        address: None,
        tls: None,
        mx: Some(MxProof::None),
        requiretls: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R5321-5.1i.
    #[test]
    fn both_kinds_of_addresses_take_turns() {
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"];
        let all = all.map(|it| it.parse().unwrap());
        let turn = |kinds| -> Vec<String> {
            let turn = in_turn(&all, kinds);
            turn.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            turn(AddressKinds::Both),
            ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
        );
        assert_eq!(turn(AddressKinds::Ipv4).len(), 3);
        assert_eq!(turn(AddressKinds::Ipv6), ["2001:db8::1"]);
        assert!(in_turn(&all[..1], AddressKinds::Ipv6).is_empty());
    }
}
