//! What is made from a password: by whoever signs in each time, by us when it is set.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// The salted password that is to be worked out; off the reactor, for it takes up to seconds.
#[derive(Clone)]
pub struct Derivation {
    password: SecretString,
    salt: Vec<u8>,
    iterations: u32,
}

impl fmt::Debug for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derivation")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl Derivation {
    /// Of a prepared password (RFC 4013).
    pub fn new(prepared: SecretString, salt: Vec<u8>, iterations: u32) -> Self {
        Derivation {
            password: prepared,
            salt,
            iterations,
        }
    }

    /// How often the hash is to be taken.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// `Hi` of RFC 5802 §2.2: PBKDF2 of one block.
    pub fn run(&self) -> DerivedKey {
        let keyed = keyed(self.password.expose_secret().as_bytes());
        let mut mac = keyed.clone();
        mac.update(&self.salt);
        mac.update(&1u32.to_be_bytes());
        let mut block: Zeroizing<[u8; 32]> = Zeroizing::new(mac.finalize().into_bytes().into());
        let mut key = block.clone();
        for _ in 1..self.iterations {
            let mut mac = keyed.clone();
            mac.update(&*block);
            *block = mac.finalize().into_bytes().into();
            for (sum, octet) in key.iter_mut().zip(block.iter()) {
                *sum ^= octet;
            }
        }
        DerivedKey(key)
    }
}

/// What a [`Derivation`] gives.
#[derive(Clone)]
pub struct DerivedKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey")
    }
}

impl DerivedKey {
    #[cfg(test)]
    pub(super) fn of(octets: [u8; 32]) -> Self {
        DerivedKey(Zeroizing::new(octets))
    }

    pub(super) fn client_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac(&*self.0, b"Client Key"))
    }

    pub(super) fn server_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac(&*self.0, b"Server Key"))
    }

    /// What a server keeps instead of the password (RFC 5802 §3).
    pub fn keys(&self) -> ScramKeys {
        ScramKeys {
            stored: Zeroizing::new(sha256(&*self.client_key())),
            server: self.server_key(),
        }
    }
}

/// What a server keeps instead of the password: enough to check a proof and to give one, not to
/// sign in. Whoever has it can guess at the password, so it is wiped on drop and never shown.
#[derive(Clone)]
pub struct ScramKeys {
    stored: Zeroizing<[u8; 32]>,
    server: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys")
    }
}

impl ScramKeys {
    /// Keys as they were stored: `StoredKey` and `ServerKey`.
    pub fn new(stored: [u8; 32], server: [u8; 32]) -> Self {
        ScramKeys {
            stored: Zeroizing::new(stored),
            server: Zeroizing::new(server),
        }
    }

    /// `StoredKey`.
    pub fn stored_key(&self) -> &[u8; 32] {
        &self.stored
    }

    /// `ServerKey`.
    pub fn server_key(&self) -> &[u8; 32] {
        &self.server
    }

    /// Whether both are keys of one password, told in a time that depends on neither.
    pub fn same(&self, other: &ScramKeys) -> bool {
        self.stored.ct_eq(&*other.stored).into()
    }

    /// Whether `proof` over `auth_message` was made with the password of these keys.
    pub(super) fn proves(&self, proof: &[u8; 32], auth_message: &[u8]) -> Choice {
        let mut client_key = Zeroizing::new(hmac(&*self.stored, auth_message));
        for (octet, proven) in client_key.iter_mut().zip(proof) {
            *octet ^= proven;
        }
        sha256(&*client_key).ct_eq(&*self.stored)
    }

    pub(super) fn signature(&self, auth_message: &[u8]) -> [u8; 32] {
        hmac(&*self.server, auth_message)
    }
}

/// Keys, and what whoever gave them calls them by.
#[derive(Clone, Debug)]
pub struct LabelledKeys {
    /// Given back with a proof that these keys fit.
    pub label: i64,
    /// The keys.
    pub keys: ScramKeys,
}

/// All that one name may prove itself with. One salt serves every password of the name, because the
/// server says it before it can know which of them is meant.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Salt of all the keys.
    pub salt: Box<[u8]>,
    /// Iteration count of all the keys.
    pub iterations: u32,
    /// The keys; none fits where the name has no password that could be proved.
    pub keys: Vec<LabelledKeys>,
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("invariant: HMAC takes keys of any length")
}

pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let keys = ScramKeys::new([65; 32], [66; 32]);
        let ring = Ring {
            salt: Box::new([1; 16]),
            iterations: 4_096,
            keys: vec![LabelledKeys { label: 7, keys }],
        };
        let shown = format!("{ring:?}");
        assert!(!shown.contains("65") && !shown.contains("66"), "{shown}");
    }
}
