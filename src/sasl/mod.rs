//! SASL mechanisms as step-by-step exchanges (RFC 4422): PLAIN (RFC 4616) and LOGIN.
//!
//! Octets go in, a [`Step`] comes out. The room knows no account and verifies nothing: what it
//! hands on are names and a password, prepared (RFC 4013), that somebody else must check. A
//! mechanism that is not in [`Mechanism::ALL`] cannot be reached (S15).

mod base64;
mod exchange;
mod prepare;
mod scram_client;

use std::fmt;

use secrecy::SecretString;

pub use base64::{decode_base64, encode_base64};
pub use exchange::{Exchange, Step};
pub use prepare::prepare;
pub use scram_client::{Derivation, DerivedKey, NONCE_OCTETS, ScramClient, ScramFault};

/// Decoded octets of one response at most (S15; RFC 4954 §4 asks for as much).
pub const RESPONSE_MAX: usize = 12_288;
/// Octets of a name at most, before and after its preparation (RFC 4616 §2, S27).
pub const NAME_MAX: usize = 255;
/// Octets of a password at most, before and after its preparation (S27; RFC 4616 §2 asks for 255).
pub const PASSWORD_MAX: usize = 1024;

/// What a client claims: names and a password, each prepared with SASLprep.
#[derive(Clone)]
pub struct Credentials {
    /// Whom the client wants to act as; `None` where that follows from `authcid`.
    pub authzid: Option<String>,
    /// Login name.
    pub authcid: String,
    /// Password, wiped on drop.
    pub password: SecretString,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("authzid", &self.authzid)
            .field("authcid", &self.authcid)
            .finish_non_exhaustive()
    }
}

/// Mechanisms that can be offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The old two-prompt exchange, never standardized; some programs know nothing else.
    Login,
}

impl Mechanism {
    /// All of them, in the order in which EHLO lists them.
    pub const ALL: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

    /// Reads a mechanism's name, in any case (RFC 4954 §8).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The name that EHLO shows.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R4954-8a.
    #[test]
    fn mechanism_names_are_read_in_any_case() {
        for (name, mechanism) in [
            ("PLAIN", Some(Mechanism::Plain)),
            ("plain", Some(Mechanism::Plain)),
            ("LoGiN", Some(Mechanism::Login)),
            ("CRAM-MD5", None),
            ("PLAIN ", None),
            ("", None),
        ] {
            assert_eq!(Mechanism::parse(name), mechanism, "{name:?}");
        }
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::parse(mechanism.name()), Some(mechanism));
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let credentials = Credentials {
            authzid: None,
            authcid: "alice".into(),
            password: "open sesame".into(),
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("alice") && !shown.contains("sesame"),
            "{shown}"
        );
    }
}
