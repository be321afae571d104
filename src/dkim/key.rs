//! Making and reading keys, and the record that publishes one (RFC 6376 §3.6.1, RFC 8463 §4).

use data_encoding::BASE64;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256};
use rcgen::{PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretSlice;

use crate::store::dkim::Algorithm;

/// What is wrong with a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFault {
    /// It is of neither kind that DKIM knows, or cannot be read.
    #[error("not an RSA key of 2048 bits or more, nor an Ed25519 key: {0}")]
    Unusable(String),
    /// No key could be made.
    #[error("no key could be made: {0}")]
    NotMade(String),
}

/// A key of either kind with its public half.
#[derive(Debug)]
pub struct KeyPair {
    /// How it signs.
    pub algorithm: Algorithm,
    /// DER.
    pub private_key: SecretSlice<u8>,
    /// As it stands in the record.
    pub public_key: Vec<u8>,
}

impl KeyPair {
    /// A new key: RSA of 2048 bits (longer ones do not fit into answers of the DNS well), or Ed25519.
    ///
    /// # Errors
    /// [`KeyFault::NotMade`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyFault> {
        match algorithm {
            Algorithm::Rsa => {
                let made = rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
                let made = made.map_err(|error| KeyFault::NotMade(error.to_string()))?;
                Ok(KeyPair {
                    algorithm,
                    private_key: made.serialize_der().into(),
                    public_key: made.subject_public_key_info(),
                })
            }
            Algorithm::Ed25519 => {
                let der = Ed25519Key::generate_pkcs8();
                let der = der.map_err(|error| KeyFault::NotMade(error.to_string()))?;
                KeyPair::read(&PrivatePkcs8KeyDer::from(der).into())
            }
        }
    }

    /// A key that was made elsewhere.
    ///
    /// # Errors
    /// [`KeyFault::Unusable`], also where an RSA key has less than 2048 bits (RFC 8301 §3.2).
    pub fn read(der: &PrivateKeyDer<'_>) -> Result<Self, KeyFault> {
        let (algorithm, public_key) = match signing(der)? {
            DkimKey::Rsa(_) => {
                let pair = rcgen::KeyPair::try_from(der);
                let pair = pair.map_err(|error| KeyFault::Unusable(error.to_string()))?;
                (Algorithm::Rsa, pair.subject_public_key_info())
            }
            DkimKey::Ed25519(key) => (Algorithm::Ed25519, key.public_key()),
        };
        Ok(KeyPair {
            algorithm,
            private_key: der.secret_der().to_vec().into(),
            public_key,
        })
    }
}

/// The key itself, of whichever kind it is.
pub(super) fn signing(der: &PrivateKeyDer<'_>) -> Result<DkimKey, KeyFault> {
    let rsa = match RsaKey::<Sha256>::from_key_der(der.clone_key()) {
        Ok(key) => return Ok(DkimKey::Rsa(key)),
        Err(error) => error,
    };
    if let PrivateKeyDer::Pkcs8(pkcs8) = der
        && let Ok(key) = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der())
    {
        return Ok(DkimKey::Ed25519(key));
    }
    Err(KeyFault::Unusable(rsa.to_string()))
}

/// The text of the record under `<selector>._domainkey.<domain>`.
pub fn record(algorithm: Algorithm, public_key: &[u8]) -> String {
    let (kind, key) = (algorithm.as_str(), BASE64.encode(public_key));
    // h=sha256: a verifier is not to be talked into SHA-1 (RFC 8301 §3.1).
    format!("v=DKIM1; h=sha256; k={kind}; p={key}")
}
