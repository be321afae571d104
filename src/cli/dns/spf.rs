//! Whether a domain's SPF record lets an address send (RFC 7208), as far as that can be told without a
//! message: macros depend on its sender.

use std::{future::Future, net::IpAddr, pin::Pin};

use mail_auth::{
    common::parse::TxtRecordParser as _,
    spf::{Macro, Mechanism, Qualifier, Spf},
};

use crate::{
    dns::{Dns, DnsError, Exchange},
    smtp::Domain,
};

/// Look-ups of one evaluation at most (RFC 7208 §4.6.4).
const LOOKUPS: u32 = 10;

/// What a record says of an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Allowed {
    Yes,
    No,
    CannotTell(String),
}

/// What `domain` says of `address`.
pub(super) async fn allows(dns: &Dns, domain: &str, address: IpAddr) -> Result<Allowed, DnsError> {
    let mut lookups = 0;
    evaluate(dns, domain.to_owned(), address, &mut lookups).await
}

fn evaluate<'a>(
    dns: &'a Dns,
    domain: String,
    address: IpAddr,
    lookups: &'a mut u32,
) -> Pin<Box<dyn Future<Output = Result<Allowed, DnsError>> + Send + 'a>> {
    Box::pin(async move {
        let texts = dns.txt(&domain).await?.records.into_iter();
        let is_spf = |text: &String| text.to_ascii_lowercase().starts_with("v=spf1");
        let Some(text) = texts.into_iter().find(is_spf) else {
            return Ok(Allowed::CannotTell(format!("{domain} has no SPF record")));
        };
        let Ok(spf) = Spf::parse(text.as_bytes()) else {
            return Ok(Allowed::CannotTell(format!("cannot be read: {text}")));
        };
        for directive in &spf.directives {
            match matches(dns, &domain, address, &directive.mechanism, lookups).await? {
                Match::No => {}
                Match::CannotTell(why) => return Ok(Allowed::CannotTell(why)),
                Match::Yes => {
                    return Ok(match directive.qualifier {
                        Qualifier::Pass => Allowed::Yes,
                        Qualifier::Fail | Qualifier::SoftFail | Qualifier::Neutral => Allowed::No,
                    });
                }
            }
            if *lookups > LOOKUPS {
                let why = format!("it needs more than {LOOKUPS} look-ups, which is an error");
                return Ok(Allowed::CannotTell(why));
            }
        }
        match &spf.redirect {
            None => Ok(Allowed::No),
            Some(target) => match named(target, &domain) {
                Some(target) => {
                    *lookups += 1;
                    evaluate(dns, target, address, lookups).await
                }
                None => Ok(Allowed::CannotTell("it depends on the message".to_owned())),
            },
        }
    })
}

enum Match {
    Yes,
    No,
    CannotTell(String),
}

async fn matches(
    dns: &Dns,
    domain: &str,
    address: IpAddr,
    mechanism: &Mechanism,
    lookups: &mut u32,
) -> Result<Match, DnsError> {
    let depends = || Ok(Match::CannotTell("it depends on the message".to_owned()));
    let found = |is: bool| Ok(if is { Match::Yes } else { Match::No });
    match mechanism {
        Mechanism::All => Ok(Match::Yes),
        Mechanism::Ip4 { addr, mask } => {
            let net = IpAddr::V4(*addr);
            found(is_within(address, net, *mask, u128::MAX))
        }
        Mechanism::Ip6 { addr, mask } => {
            let net = IpAddr::V6(*addr);
            found(is_within(address, net, u32::MAX, *mask))
        }
        Mechanism::A {
            macro_string,
            ip4_mask,
            ip6_mask,
        } => {
            *lookups += 1;
            let Some(host) = named(macro_string, domain) else {
                return depends();
            };
            let addresses = addresses(dns, &host).await?;
            let mut addresses = addresses.into_iter();
            found(addresses.any(|it| is_within(address, it, *ip4_mask, *ip6_mask)))
        }
        Mechanism::Mx {
            macro_string,
            ip4_mask,
            ip6_mask,
        } => {
            *lookups += 1;
            let Some(host) = named(macro_string, domain) else {
                return depends();
            };
            let Ok(host) = Domain::parse(&host) else {
                return Ok(Match::No);
            };
            for mx in dns.mx(&host).await?.records {
                if let Exchange::Host(host) = mx.exchange {
                    let addresses = addresses(dns, &host.canonical()).await?;
                    let mut addresses = addresses.into_iter();
                    if addresses.any(|it| is_within(address, it, *ip4_mask, *ip6_mask)) {
                        return Ok(Match::Yes);
                    }
                }
            }
            Ok(Match::No)
        }
        Mechanism::Include { macro_string } => {
            *lookups += 1;
            let Some(target) = named(macro_string, domain) else {
                return depends();
            };
            if *lookups > LOOKUPS {
                return Ok(Match::No);
            }
            Ok(match evaluate(dns, target, address, lookups).await? {
                Allowed::Yes => Match::Yes,
                Allowed::No => Match::No,
                Allowed::CannotTell(why) => Match::CannotTell(why),
            })
        }
        Mechanism::Ptr { .. } | Mechanism::Exists { .. } => depends(),
    }
}

async fn addresses(dns: &Dns, host: &str) -> Result<Vec<IpAddr>, DnsError> {
    match Domain::parse(host) {
        Ok(host) => Ok(dns.addresses(&host).await?.records),
        Err(_) => Ok(Vec::new()),
    }
}

/// The domain that a mechanism speaks of, where it depends on nothing else.
fn named(target: &Macro, domain: &str) -> Option<String> {
    match target {
        Macro::None => Some(domain.to_owned()),
        Macro::Literal(name) => String::from_utf8(name.to_vec()).ok(),
        Macro::Variable { .. } | Macro::List(_) => None,
    }
}

fn is_within(address: IpAddr, net: IpAddr, mask4: u32, mask6: u128) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() & mask4 == b.to_bits() & mask4,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() & mask6 == b.to_bits() & mask6,
        _ => false,
    }
}
