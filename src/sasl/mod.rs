//! SASL mechanisms as step-by-step exchanges (RFC 4422): PLAIN (RFC 4616), LOGIN, and SCRAM-SHA-256
//! with and without channel binding (RFC 5802, 7677, 9266, 5929), OAUTHBEARER (RFC 7628) and XOAUTH2,
//! EXTERNAL (RFC 4422 appendix A).
//!
//! Octets go in, a [`Step`] comes out. The room knows no account: what it hands on is a [`Claim`],
//! with names and passwords prepared (RFC 4013), that somebody else must check. A mechanism that is
//! not in [`Mechanism::ALL`] cannot be reached (S15).

mod base64;
mod exchange;
mod oauth;
mod prepare;
mod scram;

use std::{fmt, sync::Arc};

use secrecy::SecretString;

pub use base64::{decode_base64, encode_base64};
pub use exchange::{Exchange, Lookup, Step, Surroundings};
pub use oauth::TOKEN_MAX;
pub use prepare::prepare;
pub use scram::{
    Bindings, Derivation, DerivedKey, LabelledKeys, NONCE_OCTETS, Ring, SERVER_NONCE_OCTETS,
    ScramClient, ScramFault, ScramKeys,
};

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

/// What a client made of its exchange; to be checked before it is believed.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It gave a password.
    Password(Credentials),
    /// It proved that it knows a password, as far as the keys were still good.
    Proof(Proof),
    /// It gave a token of somebody who vouches for it.
    Token(Token),
    /// It leaves it to its channel to say who it is.
    External {
        /// Whom the client wants to act as; `None` where that follows from the certificate.
        authzid: Option<String>,
        /// What the client proved to be in the handshake.
        certificate: Arc<ClientCertificate>,
    },
    /// It answered a challenge of somebody else, who can judge it.
    Relayed {
        /// Login name.
        authcid: String,
        /// The exchange.
        relay: Relay,
        /// The client's answer.
        response: Box<[u8]>,
    },
    /// It proved nothing: a failed guess at this name.
    Unproved {
        /// Login name.
        authcid: String,
    },
}

impl Claim {
    /// Login name; empty where only what it shows tells whose it is.
    pub fn authcid(&self) -> &str {
        match self {
            Claim::Token(token) => token.authzid.as_deref().unwrap_or_default(),
            Claim::External { authzid, .. } => authzid.as_deref().unwrap_or_default(),
            Claim::Password(credentials) => &credentials.authcid,
            Claim::Proof(proof) => &proof.authcid,
            Claim::Relayed { authcid, .. } | Claim::Unproved { authcid } => authcid,
        }
    }
}

/// An exchange that somebody else has part in, by a number of the keeper's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Relay(pub u64);

/// A bearer token (RFC 6750), not looked into.
#[derive(Clone)]
pub struct Token {
    /// Whom the client says that it is, or wants to act as.
    pub authzid: Option<String>,
    /// The token, wiped on drop.
    pub token: SecretString,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("authzid", &self.authzid)
            .finish_non_exhaustive()
    }
}

/// What is known of the certificate that a client has the key of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
    /// The mail addresses that it names, where an authority that we were told to trust vouches for
    /// them.
    pub addresses: Vec<String>,
}

/// What a refused bearer of a token is told, so that its program can get another one (RFC 7628
/// §3.2.2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenAdvice {
    /// The scope that a token needs.
    pub scope: String,
    /// Where its issuer describes itself.
    pub discovery: String,
}

/// A proof that fits keys of the [`Ring`] that was given for the name.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Whom the client wants to act as; `None` where that follows from `authcid`.
    pub authzid: Option<String>,
    /// Login name.
    pub authcid: String,
    /// What the keys were labelled with.
    pub label: i64,
    /// The keys: they may have been taken away meanwhile.
    pub keys: ScramKeys,
}

/// Mechanisms that can be offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// RFC 7677, bound to the channel.
    ScramSha256Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 4616.
    Plain,
    /// The old two-prompt exchange, never standardized; some programs know nothing else.
    Login,
    /// RFC 7628.
    OAuthBearer,
    /// The older form of the same, never standardized.
    XOAuth2,
    /// RFC 4422 appendix A.
    External,
}

impl Mechanism {
    /// All of them, in the order in which EHLO lists them.
    pub const ALL: [Mechanism; 7] = [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::OAuthBearer,
        Mechanism::XOAuth2,
        Mechanism::External,
    ];

    /// Reads a mechanism's name, in any case (RFC 4954 §8).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The name that EHLO shows.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::External => "EXTERNAL",
        }
    }

    /// Whether it needs a channel that can be bound to.
    pub fn is_bound(self) -> bool {
        self == Mechanism::ScramSha256Plus
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
            ("scram-sha-256-plus", Some(Mechanism::ScramSha256Plus)),
            ("SCRAM-SHA-256", Some(Mechanism::ScramSha256)),
            ("SCRAM-SHA-1", None),
            ("oauthbearer", Some(Mechanism::OAuthBearer)),
            ("External", Some(Mechanism::External)),
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
