//! How well a message must be protected on its way out.

use std::fmt;

use crate::smtp::ReversePath;

/// How well a hand-off must be protected; a later one asks for more.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// TLS where the next hop offers it, and the strongest that its domain publishes.
    Opportunistic,
    /// TLS always; the next hop proves its identity wherever its domain publishes how.
    #[default]
    Encrypted,
    /// The next hop proves its identity always: by DANE, by MTA-STS, or by a certificate for a name
    /// that DNSSEC vouches for.
    Verified,
}

impl Level {
    /// Every level, the lowest first.
    pub const ALL: [Level; 3] = [Level::Opportunistic, Level::Encrypted, Level::Verified];

    /// The word for it in settings, logs, traces and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Opportunistic => "opportunistic",
            Level::Encrypted => "encrypted",
            Level::Verified => "verified",
        }
    }

    /// Reads [`Level::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Level::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a message says of TLS on its whole way (RFC 8689).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum TlsWish {
    /// Nothing.
    #[default]
    Unsaid,
    /// `TLS-Required: No`, from a sender who may say so: delivery matters more than protection.
    Optional,
    /// REQUIRETLS: [`Level::Verified`] at every hop, each of which passes the wish on.
    Required,
}

impl TlsWish {
    /// Every wish.
    pub const ALL: [TlsWish; 3] = [TlsWish::Unsaid, TlsWish::Optional, TlsWish::Required];

    /// The word for it in rows and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsWish::Unsaid => "unsaid",
            TlsWish::Optional => "optional",
            TlsWish::Required => "required",
        }
    }

    /// Reads [`TlsWish::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        TlsWish::ALL.into_iter().find(|wish| wish.as_str() == word)
    }
}

/// What an account may ask of TLS for a message, or has to (RFC 8689).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AccountTls {
    /// REQUIRETLS where the message asks for it.
    #[default]
    AsAsked,
    /// REQUIRETLS for every message, for clients that cannot ask.
    Require,
    /// `TLS-Required: No` counts.
    MayLower,
}

impl AccountTls {
    /// Every one.
    pub const ALL: [AccountTls; 3] = [
        AccountTls::AsAsked,
        AccountTls::Require,
        AccountTls::MayLower,
    ];

    /// The word for it in commands, rows and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            AccountTls::AsAsked => "as-asked",
            AccountTls::Require => "require",
            AccountTls::MayLower => "may-lower",
        }
    }

    /// Reads [`AccountTls::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        AccountTls::ALL.into_iter().find(|tls| tls.as_str() == word)
    }
}

/// What holds for all mail of an account.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct AccountProtection {
    /// The least level of its hand-offs, where it has one of its own.
    pub level: Option<Level>,
    /// What it asks of TLS.
    pub tls: AccountTls,
}

/// What a message's sender and account ask of every hand-off; decided when it is accepted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Protection {
    /// The least level, where the account has one of its own.
    pub level: Option<Level>,
    /// What the message itself asks.
    pub tls: TlsWish,
}

impl Protection {
    /// What it asks of the hosts that get mail with this reverse-path: mail from `<>` tells of other
    /// mail, and is not lost for want of a promise that is given where it can be had (RFC 8689 §5).
    pub fn of_hosts(self, sender: &ReversePath) -> Protection {
        match (self.tls, sender) {
            (TlsWish::Required, ReversePath::Null) => Protection {
                tls: TlsWish::Unsaid,
                ..self
            },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_levels_grow() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.as_str()), Some(level));
        }
        for wish in TlsWish::ALL {
            assert_eq!(TlsWish::parse(wish.as_str()), Some(wish));
        }
        for tls in AccountTls::ALL {
            assert_eq!(AccountTls::parse(tls.as_str()), Some(tls));
        }
        assert!(Level::ALL.is_sorted());
        assert_eq!(Level::parse("secure"), None);
    }
}
