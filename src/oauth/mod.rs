//! Whether a bearer token is good, and whose it is (RFC 6750).
//!
//! ```text
//! looks like a JWT and keys are set -> signature, iss, aud, exp, nbf (RFC 7519) -> scope -> name
//! anything else                     -> asked of its issuer (RFC 7662)           -> scope -> name
//! ```
//!
//! Keys come from a file or a URL (RFC 7517). They are read anew when they are old, and when a token
//! names one that is not among them, so that an issuer may change its keys at any time. While an
//! issuer cannot be reached the keys that are known serve on for a day. The room knows no accounts.

mod claims;
mod introspection;
mod keys;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use hyper::Uri;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use secrecy::SecretString;

use self::{claims::Claims, introspection::Introspected, keys::Keys};
use crate::{tls::TlsError, web::Web};

/// Clocks may differ by this much.
const LEEWAY: Duration = Duration::from_secs(60);

/// Signatures with a key that others can see; never one with a shared secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Whose tokens are taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who issues them: the claim `iss`.
    pub issuer: String,
    /// For whom they are: one of these is in the claim `aud`.
    pub audiences: Vec<String>,
    /// What they are signed with.
    pub keys: Option<KeySource>,
    /// Whom to ask about the others.
    pub introspection: Option<Introspection>,
    /// The claim that names the account.
    pub claim: String,
    /// What is put behind a name without a domain; empty for nothing.
    pub domain: String,
    /// Words that the scope must hold, all of them.
    pub scope: String,
    /// PEM file of authorities to trust beside those of the system.
    pub authorities: Option<PathBuf>,
    /// How long the issuer may take to answer.
    pub limit: Duration,
}

/// Where keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// In this file.
    File(PathBuf),
    /// Behind this address.
    Url(Uri),
}

/// A service that knows tokens (RFC 7662).
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Its address.
    pub url: Uri,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it.
    pub client_secret: SecretString,
    /// How long its word on one token is remembered.
    pub remember: Duration,
}

/// Why a token opens nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It was good once: its owner's program is to fetch another one.
    #[error("the token has expired")]
    Expired,
    /// It is not good, in words that hold nothing of it.
    #[error("{0}")]
    Invalid(String),
    /// That cannot be found out.
    #[error("{0}")]
    Unavailable(String),
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Invalid(text.into())
}

/// Checks tokens.
#[derive(Debug)]
pub struct Verifier {
    options: Options,
    web: Web,
    keys: Option<Keys>,
    introspected: Introspected,
}

impl Verifier {
    /// Reads the authorities, and nothing yet of the issuer. Blocks.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(options: Options) -> Result<Self, TlsError> {
        let web = Web::open(options.authorities.as_deref(), options.limit)?;
        Ok(Verifier {
            keys: options
                .keys
                .clone()
                .map(|from| Keys::new(from, web.clone())),
            introspected: Introspected::default(),
            web,
            options,
        })
    }

    /// The name that a good token stands for, as its issuer wrote it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn name(&self, token: &str) -> Result<String, Refusal> {
        let claims = match (&self.keys, decode_header(token)) {
            (Some(keys), Ok(header)) => {
                self.signed(keys, token, header.alg, header.kid.as_deref())
                    .await?
            }
            _ => match &self.options.introspection {
                Some(service) => {
                    let asked = self.introspected.ask(&self.web, service, token).await?;
                    asked.is_meant_for(&self.options)?;
                    asked
                }
                None => return Err(invalid("the token is no JWT")),
            },
        };
        claims.name(&self.options)
    }

    async fn signed(
        &self,
        keys: &Keys,
        token: &str,
        algorithm: Algorithm,
        key_id: Option<&str>,
    ) -> Result<Claims, Refusal> {
        if !ALGORITHMS.contains(&algorithm) {
            return Err(invalid(format!(
                "tokens signed by {algorithm:?} are not taken"
            )));
        }
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&self.options.audiences);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY.as_secs();
        let mut refusal = invalid("the issuer has no such key");
        for key in keys.find(key_id).await?.iter() {
            if key
                .common
                .key_algorithm
                .is_some_and(|of| of.to_string() != format!("{algorithm:?}"))
            {
                continue;
            }
            let Ok(key) = DecodingKey::from_jwk(key) else {
                continue;
            };
            match decode::<Claims>(token, &key, &validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => {
                    refusal = match error.kind() {
                        ErrorKind::ExpiredSignature => return Err(Refusal::Expired),
                        ErrorKind::InvalidIssuer => return Err(invalid("another issuer")),
                        ErrorKind::InvalidAudience => {
                            return Err(invalid("meant for somebody else"));
                        }
                        // Nothing of the token is in these words.
                        ErrorKind::MissingRequiredClaim(claim) => {
                            return Err(invalid(format!("no claim {claim:?}")));
                        }
                        ErrorKind::ImmatureSignature => return Err(invalid("not valid yet")),
                        _ => invalid("the signature is not its issuer's"),
                    }
                }
            }
        }
        Err(refusal)
    }
}
