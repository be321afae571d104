//! SCRAM-SHA-256 from the side of the one who signs in (RFC 5802, RFC 7677), without channel
//! binding.
//!
//! ```text
//! start ──► client-first ──► server-first ──► challenged ──► Derivation
//!           Derivation::run, which takes a while ──► derived ──► client-final
//!           server-final ──► verified
//! ```
//!
//! The password never leaves; the server must prove in the end that it knew it too.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Derivation, DerivedKey,
    keys::{hmac, sha256},
};
use crate::sasl::{decode_base64, encode_base64, prepare};

/// Random octets that an exchange begins with.
pub const NONCE_OCTETS: usize = 24;
/// Below this a recorded exchange would be cheap to guess from (RFC 7677 §4).
const ITERATIONS_MIN: u32 = 4_096;
/// Above this a server would only keep us busy.
const ITERATIONS_MAX: u32 = 2_000_000;
/// Octets of a salt at most.
const SALT_MAX: usize = 1_024;

/// No channel binding, and none known of: the header `n,,` in base64.
const BINDING: &str = "biws";

/// Why an exchange came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScramFault {
    /// Name or password cannot be prepared (RFC 4013).
    #[error("name or password holds characters that SCRAM cannot carry")]
    Unpreparable,
    /// A message of the server that does not follow RFC 5802 §7, or another one's nonce.
    #[error("the server's SCRAM message is malformed")]
    Malformed,
    /// An iteration count outside 4,096 to 2,000,000.
    #[error("the server asks for {0} iterations, 4096 to 2000000 are borne")]
    Iterations(u32),
    /// The server sent `e=`, or a signature that is not made with our password.
    #[error("the server did not prove that it knows the password")]
    Unproved,
}

/// One exchange.
pub struct ScramClient {
    nonce: String,
    /// What both sides signed, as far as it is said.
    auth_message: String,
    server_signature: Option<[u8; 32]>,
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramClient")
    }
}

impl ScramClient {
    /// Begins; gives the client-first message to be sent.
    ///
    /// # Errors
    /// [`ScramFault::Unpreparable`].
    pub fn start(name: &str, nonce: &[u8; NONCE_OCTETS]) -> Result<(Self, Vec<u8>), ScramFault> {
        Self::start_with(name, encode_base64(nonce))
    }

    fn start_with(name: &str, nonce: String) -> Result<(Self, Vec<u8>), ScramFault> {
        let name = prepare(name).ok_or(ScramFault::Unpreparable)?;
        let name = name.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={name},r={nonce}");
        let first = format!("n,,{bare}").into_bytes();
        let client = ScramClient {
            nonce,
            auth_message: bare,
            server_signature: None,
        };
        Ok((client, first))
    }

    /// Takes the server-first message; gives what is to be worked out.
    ///
    /// # Errors
    /// [`ScramFault`] where the message is malformed or its demand not borne.
    pub fn challenged(
        &mut self,
        server_first: &[u8],
        password: &SecretString,
    ) -> Result<Derivation, ScramFault> {
        let text = std::str::from_utf8(server_first).map_err(|_| ScramFault::Malformed)?;
        let mut parts = text.split(',');
        let mut part = |name: &str| {
            let part = parts.next().and_then(|part| part.strip_prefix(name));
            part.ok_or(ScramFault::Malformed)
        };
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        let is_ours = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        if !is_ours || !nonce.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
            return Err(ScramFault::Malformed);
        }
        let salt = decode_base64(salt.as_bytes())
            .filter(|salt| !salt.is_empty() && salt.len() <= SALT_MAX)
            .ok_or(ScramFault::Malformed)?;
        if !iterations.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ScramFault::Malformed);
        }
        let iterations: u32 = iterations.parse().map_err(|_| ScramFault::Malformed)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramFault::Iterations(iterations));
        }
        let prepared =
            Zeroizing::new(prepare(password.expose_secret()).ok_or(ScramFault::Unpreparable)?);
        self.auth_message.push_str(&format!(",{text},"));
        self.nonce = nonce.to_owned();
        let password = SecretString::from(prepared.as_str());
        Ok(Derivation::new(password, salt, iterations))
    }

    /// Takes the worked-out key; gives the client-final message to be sent.
    pub fn derived(&mut self, key: &DerivedKey) -> Vec<u8> {
        let client_key = key.client_key();
        let stored_key = sha256(&*client_key);
        let without_proof = format!("c={BINDING},r={}", self.nonce);
        self.auth_message.push_str(&without_proof);
        let mut proof = hmac(&stored_key, self.auth_message.as_bytes());
        for (octet, key) in proof.iter_mut().zip(client_key.iter()) {
            *octet ^= key;
        }
        self.server_signature = Some(hmac(&*key.server_key(), self.auth_message.as_bytes()));
        format!("{without_proof},p={}", encode_base64(&proof)).into_bytes()
    }

    /// Takes the server-final message.
    ///
    /// # Errors
    /// [`ScramFault::Unproved`] where it does not prove that the server knows the password.
    pub fn verified(&mut self, server_final: &[u8]) -> Result<(), ScramFault> {
        let expected = self.server_signature.take().ok_or(ScramFault::Unproved)?;
        let given = server_final
            .strip_prefix(b"v=")
            .and_then(|rest| rest.split(|octet| *octet == b',').next())
            .and_then(decode_base64)
            .ok_or(ScramFault::Unproved)?;
        if bool::from(given.ct_eq(&expected[..])) {
            Ok(())
        } else {
            Err(ScramFault::Unproved)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begun(name: &str) -> (ScramClient, String) {
        let (client, first) = ScramClient::start_with(name, NONCE.into()).unwrap();
        (client, String::from_utf8(first).unwrap())
    }

    /// The exchange of RFC 7677 §3.
    #[test]
    fn the_example_of_the_rfc() {
        let (mut client, first) = begun("user");
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let password = "pencil".into();
        let derivation = client
            .challenged(SERVER_FIRST.as_bytes(), &password)
            .unwrap();
        assert_eq!(derivation.iterations(), 4096);
        let last = String::from_utf8(client.derived(&derivation.run())).unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(client.verified(SERVER_FINAL), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for last in [
            &b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8="[..],
            b"v=",
            b"v=AAAA",
            b"e=other-error",
            b"",
            b"\xff",
        ] {
            let (mut client, _) = begun("user");
            let derivation = client
                .challenged(SERVER_FIRST.as_bytes(), &"pencil".into())
                .unwrap();
            let _ = client.derived(&derivation.run());
            assert_eq!(client.verified(last), Err(ScramFault::Unproved));
            // Nor does the right word count behind a wrong one, or before anything was said.
            assert_eq!(client.verified(SERVER_FINAL), Err(ScramFault::Unproved));
        }
        assert_eq!(
            begun("user").0.verified(SERVER_FINAL),
            Err(ScramFault::Unproved)
        );
    }

    #[test]
    fn what_a_server_may_not_say_first() {
        let malformed = ScramFault::Malformed;
        for (first, fault) in [
            ("", malformed),
            ("r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", malformed),
            ("r=another,s=W22Z,i=4096", malformed),
            ("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", malformed),
            ("r=rOprNGfwEbeRWgbNEkqO x,s=W22Z,i=4096", malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22,i=4096", malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z", malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=+4096", malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999999", malformed),
            (
                "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4095",
                ScramFault::Iterations(4_095),
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=2000001",
                ScramFault::Iterations(2_000_001),
            ),
        ] {
            let (mut client, _) = begun("user");
            let result = client.challenged(first.as_bytes(), &"pencil".into());
            assert_eq!(result.map(|_| ()), Err(fault), "{first}");
        }
    }

    #[test]
    fn names_are_prepared_and_escaped() {
        assert_eq!(begun("a=b,c").1, format!("n,,n=a=3Db=2Cc,r={NONCE}"));
        assert_eq!(begun("I\u{ad}X").1, format!("n,,n=IX,r={NONCE}"));
        assert!(ScramClient::start("a\u{7}", &[0; NONCE_OCTETS]).is_err());
        let (_, first) = ScramClient::start("u", &[0; NONCE_OCTETS]).unwrap();
        assert_eq!(first, b"n,,n=u,r=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn debug_shows_no_secret() {
        let (mut client, _) = begun("user");
        let derivation = client
            .challenged(SERVER_FIRST.as_bytes(), &"pencil".into())
            .unwrap();
        let shown = format!("{client:?} {derivation:?} {:?}", DerivedKey::of([65; 32]));
        assert!(
            !shown.contains("pencil") && !shown.contains("65"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn no_message_of_a_server_panics(
            first in "(r=rOprNGfwEbeRWgbNEkqO)?[a-zA-Z0-9=,+/]{0,20}(,s=[A-Za-z=]{0,8})?(,i=[0-9]{0,4})?",
            last in "(v=)?[A-Za-z0-9=,]{0,50}",
        ) {
            let (mut client, _) = begun("user");
            let _ = client.challenged(first.as_bytes(), &"pencil".into());
            let _ = client.derived(&DerivedKey::of([1; 32]));
            let _ = client.verified(last.as_bytes());
        }
    }
}
