//! What a next hop's certificate is held against, and in which words it is refused.
//!
//! However little is asked of the certificate itself, the handshake's signature is always checked:
//! the other end holds the key of the certificate that it shows.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{
    Certificate,
    certificate::VERSION_3,
    dane::{Dane, Unproved, public_key},
    fingerprint::{fingerprint, hex},
    printable::printable,
};
use crate::envelope::Proof;

/// Octets of a certificate's names, or of the library's own words, that are shown at most.
const SHOWN: usize = 200;

/// Why a certificate was refused. Names in it come from the network; here they are printable ASCII
/// of bounded length.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateFault {
    /// No chain leads to an authority that is trusted.
    #[error(
        "no trusted authority stands behind the certificate (SHA-256 {})",
        hex(.fingerprint)
    )]
    UnknownIssuer {
        /// Of the certificate.
        fingerprint: [u8; 32],
    },
    /// It claims to be by an authority that is trusted, and was signed with another key.
    #[error(
        "the certificate bears the name of a trusted authority, but not its signature (SHA-256 {})",
        hex(.fingerprint)
    )]
    OtherKey {
        /// Of the certificate.
        fingerprint: [u8; 32],
    },
    /// It is its own issuer.
    #[error("the certificate is self-signed (SHA-256 {})", hex(.fingerprint))]
    SelfSigned {
        /// Of the certificate.
        fingerprint: [u8; 32],
    },
    /// CA:TRUE, which no host's certificate may say (RFC 5280 §4.2.1.9).
    #[error(
        "the certificate is an authority's own (CA:TRUE), which proves no host; it can only be pinned \
         (SHA-256 {})",
        hex(.fingerprint)
    )]
    Authority {
        /// Of the certificate.
        fingerprint: [u8; 32],
    },
    /// It names other hosts (RFC 9525).
    #[error("the certificate is not for {wanted} but for {names}")]
    WrongName {
        /// The host that was meant.
        wanted: String,
        /// Those that it names.
        names: String,
    },
    /// It, or an authority's behind it, has ended.
    #[error("{} expired at {at}", .whose.words())]
    Expired {
        /// Whose certificate.
        whose: Whose,
        /// RFC 3339.
        at: String,
    },
    /// It, or an authority's behind it, has not begun; or our clock is wrong.
    #[error("{} is not valid before {from}; is the clock right?", .whose.words())]
    NotYetValid {
        /// Whose certificate.
        whose: Whose,
        /// RFC 3339.
        from: String,
    },
    /// None of the fingerprints that were given.
    #[error("the certificate is none of those pinned; its SHA-256 is {}", hex(.fingerprint))]
    NotPinned {
        /// Of the certificate that was shown.
        fingerprint: [u8; 32],
    },
    /// No TLSA record speaks of it or of an authority behind it.
    #[error(
        "no TLSA record of the host matches the certificate that it shows; one that would is \"{}\"",
        .would.as_deref().unwrap_or("none, for the certificate cannot be read")
    )]
    NotInTlsa {
        /// A record that would.
        would: Option<String>,
    },
    /// The handshake was signed with another key: the certificate is somebody else's.
    #[error("the host does not hold the key of the certificate that it shows")]
    KeyNotHeld,
    /// Only version 3 is understood.
    #[error("the certificate is of X.509 version {0}, only version 3 is supported")]
    Version(u8),
    /// Anything else, in the library's words.
    #[error("the certificate was refused: {0}")]
    Other(String),
}

/// Whose certificate in a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// The host's.
    Host,
    /// One of those behind it.
    Authority,
}

impl Whose {
    fn words(self) -> &'static str {
        match self {
            Whose::Host => "the certificate",
            Whose::Authority => "the certificate of an authority behind the host's",
        }
    }
}

/// What is asked of a certificate.
#[derive(Debug)]
pub(super) enum Demand {
    /// A chain to a trusted authority, the right name and the right time; what that proves.
    Chain(Arc<WebPkiServerVerifier>, Proof),
    /// To be one of these.
    Pins(Vec<[u8; 32]>),
    /// To be what TLSA records say.
    Dane(Dane),
    /// Nothing; but whether there is such a chain is noted.
    Observed(Option<Arc<WebPkiServerVerifier>>),
    /// Nothing.
    Nothing,
}

/// Holds certificates against a [`Demand`].
#[derive(Debug)]
pub(super) struct Verifier {
    pub demand: Demand,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// What a certificate that was let through has proved.
    pub fn proof(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Proof {
        let now = UnixTime::now();
        match &self.demand {
            Demand::Chain(_, proof) => *proof,
            Demand::Pins(_) => Proof::Pin,
            Demand::Dane(dane) => dane.proof(leaf, others, now).unwrap_or(Proof::None),
            Demand::Observed(Some(chain)) => {
                match chain.verify_server_cert(leaf, others, name, &[], now) {
                    Ok(_) => Proof::WebPki,
                    Err(_) => Proof::None,
                }
            }
            Demand::Observed(None) | Demand::Nothing => Proof::None,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.demand {
            Demand::Chain(chain, _) => chain
                .verify_server_cert(leaf, intermediates, name, ocsp, now)
                .map_err(|error| explained(error, leaf, Some(name))),
            Demand::Pins(pins) => {
                let fingerprint = fingerprint(leaf);
                if pins.contains(&fingerprint) {
                    Ok(ServerCertVerified::assertion())
                } else {
                    Err(carried(CertificateFault::NotPinned { fingerprint }))
                }
            }
            Demand::Dane(dane) => match dane.proof(leaf, intermediates, now) {
                Ok(_) => Ok(ServerCertVerified::assertion()),
                Err(Unproved::NoMatch) => Err(carried(not_in_tlsa(leaf))),
                Err(Unproved::Chain(error, wanted)) => Err(explained(
                    error,
                    leaf,
                    Some(wanted.as_ref().unwrap_or(name)),
                )),
            },
            Demand::Observed(_) | Demand::Nothing => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
            .map_err(|error| explained(error, leaf, None))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
            .map_err(|error| explained(error, leaf, None))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// With a record in the form that most publish (RFC 7671 §5.1), for whoever has to mend it.
fn not_in_tlsa(leaf: &CertificateDer<'_>) -> CertificateFault {
    if let Some(facts) = Certificate::parse(leaf)
        && facts.version != VERSION_3
    {
        return CertificateFault::Version(facts.version);
    }
    let would =
        public_key(leaf).map(|key| format!("3 1 1 {}", HEXLOWER.encode(&Sha256::digest(key))));
    CertificateFault::NotInTlsa { would }
}

/// A fault on its way through the TLS library.
fn carried(fault: CertificateFault) -> Error {
    CertificateError::Other(OtherError(Arc::new(fault))).into()
}

/// The library's verdict in our words, with what the certificate itself tells. No `name` stands
/// for the handshake's signature.
fn explained(error: Error, leaf: &CertificateDer<'_>, name: Option<&ServerName<'_>>) -> Error {
    let Error::InvalidCertificate(why) = error else {
        return error;
    };
    let facts = Certificate::parse(leaf);
    let facts = facts.as_ref();
    let fingerprint = fingerprint(leaf);
    // The end of the chain that failed is told by its date alone.
    let whose = |at: UnixTime, of_host: Option<SystemTime>| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs());
        if of_host == Some(at) {
            Whose::Host
        } else {
            Whose::Authority
        }
    };
    let fault = match why {
        CertificateError::ExpiredContext { not_after, .. } => CertificateFault::Expired {
            whose: whose(not_after, facts.map(|facts| facts.not_after)),
            at: date(not_after),
        },
        CertificateError::NotValidYetContext { not_before, .. } => CertificateFault::NotYetValid {
            whose: whose(not_before, facts.map(|facts| facts.not_before)),
            from: date(not_before),
        },
        CertificateError::BadSignature if name.is_none() => CertificateFault::KeyNotHeld,
        CertificateError::UnknownIssuer | CertificateError::BadSignature
            if facts.is_some_and(|facts| facts.self_signed) =>
        {
            CertificateFault::SelfSigned { fingerprint }
        }
        CertificateError::BadSignature => CertificateFault::OtherKey { fingerprint },
        CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer { fingerprint },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateFault::WrongName {
                wanted: name
                    .map(|name| name.to_str().into_owned())
                    .unwrap_or_default(),
                names: names(facts),
            }
        }
        why => match facts {
            Some(facts) if facts.version != VERSION_3 => CertificateFault::Version(facts.version),
            Some(facts) if facts.is_authority && matches!(why, CertificateError::Other(_)) => {
                CertificateFault::Authority { fingerprint }
            }
            _ => CertificateFault::Other(printable(why.to_string(), SHOWN)),
        },
    };
    carried(fault)
}

fn names(facts: Option<&Certificate>) -> String {
    match facts.map(|facts| facts.names.as_slice()) {
        None | Some([]) => "no host at all".to_owned(),
        Some(names) => printable(names.join(", "), SHOWN),
    }
}

fn date(at: UnixTime) -> String {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "a date out of reach".to_owned(), |at| at.to_string())
}
