//! Certificates of clients: asked for where the operator says so, and what is known of one.
//!
//! A handshake takes any certificate whose key the client has, for a program that shows one which is
//! of no use here must still be able to sign in with its password. Whom it proves is looked at after:
//! a fingerprint stands for itself, and what a certificate names counts only where an authority that
//! the operator trusts has signed it.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion,
    ServerConnection, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{Certificate, TlsError, client::authorities, fingerprint::fingerprint, provider};

/// Whether clients are asked for certificates.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Visitors {
    /// They are.
    pub asked: bool,
    /// A handshake without one fails, or with one that none of `authorities` vouches for.
    pub required: bool,
    /// Authorities whose word on a client's addresses is believed.
    pub authorities: Option<PathBuf>,
}

/// What is known of a client by its certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Visitor {
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// The mail addresses that it names, where it leads to an authority that is trusted.
    pub addresses: Vec<String>,
}

/// Checks certificates of clients.
#[derive(Debug)]
pub(super) struct Reception {
    provider: CryptoProvider,
    required: bool,
    chain: Option<Arc<dyn ClientCertVerifier>>,
}

impl Reception {
    /// Reads the authorities; `None` where nobody is to be asked.
    pub fn open(visitors: &Visitors) -> Result<Option<Arc<Self>>, TlsError> {
        if !visitors.asked {
            return Ok(None);
        }
        let chain = match &visitors.authorities {
            None => None,
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let built =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::new(provider()))
                        .build()
                        .map_err(|error| TlsError::Settings(Error::General(error.to_string())))?;
                Some(built)
            }
        };
        Ok(Some(Arc::new(Reception {
            provider: provider(),
            required: visitors.required,
            chain,
        })))
    }

    /// Who the client of a finished handshake is. On TLS 1.2 nobody: a certificate goes in the clear
    /// there (RFC 8314 §5.5).
    pub fn visitor(&self, connection: &ServerConnection) -> Option<Visitor> {
        if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        let (leaf, rest) = connection.peer_certificates()?.split_first()?;
        let is_trusted = self.chain.as_ref().is_some_and(|chain| {
            let now = UnixTime::now();
            chain.verify_client_cert(leaf, rest, now).is_ok()
        });
        let named = Certificate::parse(leaf).filter(|_| is_trusted);
        Some(Visitor {
            fingerprint: fingerprint(leaf),
            addresses: named.map_or_else(Vec::new, |certificate| certificate.mail_addresses),
        })
    }
}

impl ClientCertVerifier for Reception {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Programs choose the certificate to show by these.
        let chain = self.chain.as_ref();
        chain.map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.chain {
            Some(chain) if self.required => chain.verify_client_cert(leaf, rest, now),
            Some(_) | None => match Certificate::parse(leaf) {
                Some(_) => Ok(ClientCertVerified::assertion()),
                None => Err(CertificateError::BadEncoding.into()),
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
