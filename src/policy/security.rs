//! How well a hand-off must be protected, and what that asks of one MX host.
//!
//! Pure tables. Two questions are answered here, and nowhere else:
//!
//! 1. What does the hand-off of this message to this domain require? The strictest of what the
//!    operator says for the site and for the domain, of what the account says, and of what the
//!    message says ([`Requirement`]).
//! 2. May this MX host have it, and what must it prove ([`plan`])?
//!
//! | what DNS and policy show of the host | `opportunistic` | `encrypted` | `verified`, REQUIRETLS |
//! |---|---|---|---|
//! | usable TLSA records | DANE | DANE | DANE, where the MX is proved |
//! | TLSA records of no use | TLS | TLS | its name, where the MX is proved |
//! | no TLSA records | TLS if offered | TLS | its name, where the MX is proved |
//! | TLSA records cannot be looked up | not this host | not this host | not this host |
//! | …and an enforced policy that names it | its name, or DANE | its name, or DANE | its name, or DANE |
//! | …and an enforced policy that does not | not this host | not this host | not this host |
//!
//! An MX is proved by DNSSEC or by a policy that names it, enforced or in testing. A message with
//! `TLS-Required: No` from an account that may say so goes to every host, with TLS where it is
//! offered (RFC 8689 §4.2.2), unless the operator has named the domain.
//!
//! Speaks RFC 7672 §2.2, RFC 8461 §5, RFC 8689 §4.2.

mod levels;

pub use levels::Levels;

use std::fmt;

use crate::envelope::{AccountProtection, AccountTls, Level, MxProof, Protection, TlsWish};

/// What one hand-off requires.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Requirement {
    /// How well it must be protected.
    pub level: Level,
    /// The next hop must pass the requirement on (RFC 8689 §4.2.1).
    pub passed_on: bool,
    /// What the domain publishes counts. It does not for a message with `TLS-Required: No`.
    pub published_counts: bool,
}

/// What a message's hand-offs must be protected by, as it is accepted; `None` where it asks for less
/// than its account may.
///
/// `asked` is REQUIRETLS in the envelope, `lowered` is `TLS-Required: No` in the header. The envelope
/// counts before the header (RFC 8689 §4.1), and so does what the account always asks.
pub fn protection(account: AccountProtection, asked: bool, lowered: bool) -> Option<Protection> {
    let tls = match account.tls {
        AccountTls::Require => TlsWish::Required,
        AccountTls::AsAsked | AccountTls::MayLower if asked => TlsWish::Required,
        AccountTls::MayLower if lowered => TlsWish::Optional,
        AccountTls::AsAsked if lowered => return None,
        AccountTls::AsAsked | AccountTls::MayLower => TlsWish::Unsaid,
    };
    Some(Protection {
        level: account.level,
        tls,
    })
}

impl Requirement {
    /// Of a message that asks for `protection`, at a site of this level, to a domain for which the
    /// operator has set `domain`, where anything.
    pub fn of(protection: Protection, site: Level, domain: Option<Level>) -> Self {
        let level = [Some(site), domain, protection.level];
        let level = level.into_iter().flatten().max().unwrap_or_default();
        match protection.tls {
            TlsWish::Required => Requirement {
                level: Level::Verified,
                passed_on: true,
                published_counts: true,
            },
            TlsWish::Optional => match domain {
                None => Requirement {
                    level: Level::Opportunistic,
                    passed_on: false,
                    published_counts: false,
                },
                Some(level) => Requirement {
                    level,
                    passed_on: false,
                    published_counts: true,
                },
            },
            TlsWish::Unsaid => Requirement {
                level,
                passed_on: false,
                published_counts: true,
            },
        }
    }

    /// Whether identity must be proved: mail that had better come back soon than wait for long.
    pub fn is_strict(self) -> bool {
        self.level == Level::Verified
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.passed_on {
            true => f.write_str("REQUIRETLS"),
            false => write!(f, "{}", self.level),
        }
    }
}

/// What the TLSA records of a host are good for (RFC 7672 §2.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsaFacts {
    /// There are none, or DNSSEC does not vouch for them.
    None,
    /// At least one can be held against a certificate.
    Usable,
    /// There are some, and none can.
    Unusable,
    /// Nobody knows: the look-up failed, or was tampered with.
    Failed,
}

/// What an MTA-STS policy says of a host (RFC 8461 §4.1, §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StsFacts {
    /// There is no policy, or it is of the mode `none`.
    None,
    /// A policy in testing; whether it names the host.
    Testing {
        /// One of its patterns matches.
        named: bool,
    },
    /// An enforced policy; whether it names the host.
    Enforced {
        /// One of its patterns matches.
        named: bool,
    },
}

/// What is known of one MX host of a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts {
    /// DNSSEC vouches for the MX records, or for their absence where the domain is its own host.
    pub mx_secure: bool,
    /// Its TLSA records.
    pub tlsa: TlsaFacts,
    /// What the domain's policy says of it.
    pub sts: StsFacts,
}

/// Whether the channel must be encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encryption {
    /// It must.
    Always,
    /// Where the host offers it.
    IfOffered,
}

/// What the host must prove itself by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// Its TLSA records.
    Dane,
    /// A certificate for the MX host's name under an authority of this system.
    WebPki,
    /// Nothing.
    Anyone,
}

/// How one host may be spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Plan {
    /// Whether the channel must be encrypted.
    pub encryption: Encryption,
    /// What the host must prove.
    pub identity: Identity,
    /// What vouches for its being an MX of the domain.
    pub mx: MxProof,
    /// It must offer REQUIRETLS and be told.
    pub passed_on: bool,
}

/// Why a host may not have the message.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Shortfall {
    /// An attacker could have suppressed its TLSA records (RFC 7672 §2.1.2).
    #[error("its TLSA records could not be looked up")]
    TlsaFailed,
    /// RFC 8461 §5.
    #[error("the domain's MTA-STS policy does not name it")]
    NotInPolicy,
    /// Nothing vouches for its being an MX of the domain.
    #[error(
        "nothing proves that it is a mail host of the domain: its MX record is not signed (DNSSEC), \
         and no MTA-STS policy names it"
    )]
    MxNotProved,
}

/// What the hand-off asks of this host.
///
/// # Errors
/// [`Shortfall`] where the host may not have the message, whatever it may prove.
pub fn plan(required: Requirement, host: Facts) -> Result<Plan, Shortfall> {
    if !required.published_counts {
        return Ok(Plan {
            encryption: Encryption::IfOffered,
            identity: Identity::Anyone,
            mx: MxProof::None,
            passed_on: false,
        });
    }
    if host.tlsa == TlsaFacts::Failed {
        return Err(Shortfall::TlsaFailed);
    }
    let (is_enforced, is_named) = match host.sts {
        StsFacts::None => (false, false),
        StsFacts::Testing { named } => (false, named),
        StsFacts::Enforced { named: false } => return Err(Shortfall::NotInPolicy),
        StsFacts::Enforced { named: true } => (true, true),
    };
    let mx = match (host.mx_secure, is_named) {
        (true, _) => MxProof::Dnssec,
        (false, true) => MxProof::Sts,
        (false, false) => MxProof::None,
    };
    let is_verified = required.level == Level::Verified;
    if is_verified && mx == MxProof::None {
        return Err(Shortfall::MxNotProved);
    }
    let identity = match host.tlsa {
        TlsaFacts::Usable => Identity::Dane,
        TlsaFacts::None | TlsaFacts::Unusable | TlsaFacts::Failed => {
            match is_verified || is_enforced {
                true => Identity::WebPki,
                false => Identity::Anyone,
            }
        }
    };
    // Whoever publishes TLSA records has promised TLS (RFC 7672 §2.2).
    let is_promised = host.tlsa != TlsaFacts::None || is_enforced;
    Ok(Plan {
        encryption: match required.level {
            Level::Opportunistic if !is_promised => Encryption::IfOffered,
            Level::Opportunistic | Level::Encrypted | Level::Verified => Encryption::Always,
        },
        identity,
        mx,
        passed_on: required.passed_on,
    })
}

#[cfg(test)]
mod tests;
