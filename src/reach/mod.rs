//! What a domain publishes about reaching it: MX, null MX, addresses, TLSA records, MTA-STS policy.
//!
//! Serves delivery and the forecast at RCPT with one reading of the DNS. It decides nothing: what
//! the facts allow is worked out by `policy::security`, and proved by `deliver`. It knows no message
//! and no connection. Speaks RFC 5321 §5.1, RFC 7505, RFC 7672 §2, RFC 8461.

mod forecast;
mod host;
mod hosts;
pub mod https;
pub mod sts;
#[cfg(test)]
mod tests;

pub use forecast::{Forecast, HostForecast, Outlook};
pub use host::{Host, HostFault};
pub use hosts::{Hosts, MxHost, NoHosts};

use std::{sync::Arc, time::SystemTime};

pub use sts::StsState;

use self::sts::Sts;
use crate::{dns::Dns, policy::security::StsFacts, smtp::Domain};

/// The keeper of what domains publish. Cheap to clone.
#[derive(Clone)]
pub struct Reach {
    dns: Dns,
    sts: Option<Arc<Sts>>,
}

impl Reach {
    /// A keeper that asks this DNS, and for policies where `sts` is given.
    pub fn new(dns: Dns, sts: Option<Arc<Sts>>) -> Self {
        Reach { dns, sts }
    }

    /// The DNS that it asks.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The mail hosts of a domain, in no order of preference yet.
    ///
    /// # Errors
    /// [`NoHosts`] where there are none, or none are known.
    pub async fn hosts(&self, domain: &Domain) -> Result<Hosts, NoHosts> {
        hosts::find(&self.dns, domain).await
    }

    /// Addresses and TLSA records of one of them.
    ///
    /// # Errors
    /// [`HostFault`] where it cannot be connected to.
    pub async fn host(&self, hosts: &Hosts, host: &MxHost, port: u16) -> Result<Host, HostFault> {
        host::find(&self.dns, hosts, host, port).await
    }

    /// The MTA-STS policy of a domain, as far as there is one that counts.
    pub async fn policy(&self, domain: &Domain, now: SystemTime) -> StsState {
        match &self.sts {
            Some(sts) if domain.literal().is_none() => sts.of(domain, now).await,
            Some(_) | None => StsState::none(),
        }
    }

    /// Fetches policies anew that are a day old.
    pub async fn refresh_due(&self, now: SystemTime) {
        if let Some(sts) = &self.sts {
            sts.refresh_due(now).await;
        }
    }

    /// The same after every host fell short of an enforced policy: a newer one may name others
    /// (RFC 8461 §5.1).
    pub async fn look_again(&self, domain: &Domain, now: SystemTime) {
        if let Some(sts) = &self.sts {
            sts.look_again(domain, now).await;
        }
    }
}

/// What a policy says of a host.
pub fn sts_facts(state: &StsState, host: &Domain) -> StsFacts {
    use crate::policy::sts::StsMode;
    match state.policy() {
        None => StsFacts::None,
        Some(policy) => {
            let named = policy.permits(host);
            match policy.mode {
                StsMode::Enforce => StsFacts::Enforced { named },
                StsMode::Testing => StsFacts::Testing { named },
                StsMode::None => StsFacts::None,
            }
        }
    }
}
