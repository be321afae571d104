//! What would become of a message, as far as the DNS and policies tell without asking any mail host.
//!
//! A forecast is no promise: a host may still be down, show another certificate, or refuse.

use std::time::SystemTime;

use super::{Host, HostFault, Hosts, MxHost, NoHosts, Reach, StsState, sts_facts};
use crate::{
    dns::DnsError,
    policy::security::{Facts, Plan, Requirement, Shortfall, plan},
    smtp::Domain,
};

/// What is to be expected of one mail host.
#[derive(Clone, Debug)]
pub struct HostForecast {
    /// The host.
    pub host: MxHost,
    /// What is published of it, and what it would have to prove; or why it would not get the message.
    pub found: Result<(Host, Result<Plan, Shortfall>), HostFault>,
}

/// What is to be expected of a domain.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// What the hand-off requires.
    pub required: Requirement,
    /// Its mail hosts, in the order of preference.
    pub hosts: Result<(Hosts, Vec<HostForecast>), NoHosts>,
    /// Its policy.
    pub sts: StsState,
}

/// What follows from a forecast.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outlook {
    /// At least one host may have the message, if it proves what it must.
    Fair,
    /// The domain does not exist.
    NoSuchDomain,
    /// The domain takes no mail.
    NullMx,
    /// No host will do as things are published; what is missing, to stand behind the domain's name.
    CannotBeProtected(String),
    /// Nobody knows.
    Unknown(String),
}

impl Reach {
    /// Looks up whatever bears on the delivery of a message to this domain.
    pub async fn forecast(
        &self,
        domain: &Domain,
        required: Requirement,
        port: u16,
        now: SystemTime,
    ) -> Forecast {
        let hosts = match self.hosts(domain).await {
            Ok(hosts) => hosts,
            Err(why) => {
                return Forecast {
                    required,
                    hosts: Err(why),
                    sts: StsState::none(),
                };
            }
        };
        let sts = self.policy(domain, now).await;
        let mut forecasts = Vec::new();
        for host in hosts.by_preference().into_iter().flatten() {
            let found = self.host(&hosts, host, port).await.map(|found| {
                let facts = Facts {
                    mx_secure: hosts.secure,
                    tlsa: found.tlsa,
                    sts: sts_facts(&sts, &host.name),
                };
                (found, plan(required, facts))
            });
            forecasts.push(HostForecast {
                host: host.clone(),
                found,
            });
        }
        Forecast {
            required,
            hosts: Ok((hosts, forecasts)),
            sts,
        }
    }

    /// Begins to look a domain up, so that the answers are there when they are asked for.
    pub async fn hint(&self, domain: &Domain) {
        if let Ok(hosts) = self.hosts(domain).await
            && let Some(first) = hosts.list.first()
        {
            let _ = self.dns().addresses(&first.name).await;
        }
    }
}

impl Forecast {
    /// What follows from it.
    pub fn outlook(&self) -> Outlook {
        let (hosts, forecasts) = match &self.hosts {
            Ok(found) => found,
            Err(NoHosts::NoSuchDomain(_)) => return Outlook::NoSuchDomain,
            Err(NoHosts::NullMx(_)) => return Outlook::NullMx,
            Err(why @ NoHosts::NoHost(_)) => return Outlook::Unknown(why.to_string()),
            Err(why @ NoHosts::Unknown(..)) => return Outlook::Unknown(why.to_string()),
        };
        let is_fair = |it: &HostForecast| matches!(it.found, Ok((_, Ok(_))));
        if forecasts.iter().any(is_fair) {
            return Outlook::Fair;
        }
        let unknown = forecasts.iter().find_map(|it| match &it.found {
            Err(fault) => Some(fault.to_string()),
            Ok((host, Err(Shortfall::TlsaFailed))) => {
                let why = host.trouble.as_ref().map(DnsError::to_string);
                Some(why.unwrap_or_else(|| Shortfall::TlsaFailed.to_string()))
            }
            Ok((_, _)) => None,
        });
        if let Some(why) = unknown {
            return Outlook::Unknown(why);
        }
        let why = forecasts.iter().find_map(|it| match &it.found {
            Ok((_, Err(shortfall))) => Some((it.host.text(), *shortfall)),
            _ => None,
        });
        match why {
            Some((host, shortfall)) => {
                Outlook::CannotBeProtected(missing(self.required, &host, shortfall))
            }
            None => Outlook::Unknown(format!("{} has no host to try", hosts.domain)),
        }
    }
}

/// What is missing, in few words: they stand in a reply.
fn missing(required: Requirement, host: &str, shortfall: Shortfall) -> String {
    let why = match shortfall {
        Shortfall::MxNotProved => "its MX is not signed (DNSSEC) and it has no MTA-STS policy",
        Shortfall::NotInPolicy => "its MTA-STS policy does not name its mail host",
        Shortfall::TlsaFailed => "its TLSA records cannot be looked up",
    };
    let what = match required.passed_on {
        true => "REQUIRETLS",
        false => "verified TLS",
    };
    format!("{what} cannot be met, {why} ({host})")
}
