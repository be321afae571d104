//! A next hop's certificate held against its TLSA records (RFC 6698, RFC 7671, RFC 7672 §3).
//!
//! It stands here, beside the other ways to prove a host and not with delivery, so that all of them
//! tell what is wrong in one set of words. Which records can be used at all is sorted out before
//! (`policy::dane`), and so is whether DNSSEC vouches for them.

use std::sync::Arc;

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use sha2::{Digest, Sha256, Sha512};

use crate::envelope::{Proof, Tlsa};

/// Certificates of a chain that are held against records; a longer one is a nuisance.
const CHAIN_MOST: usize = 16;

/// Records, and the names that an authority's certificate must be for.
#[derive(Clone, Debug)]
pub(super) struct Dane {
    pub records: Arc<[Tlsa]>,
    pub names: Vec<ServerName<'static>>,
    pub provider: Arc<CryptoProvider>,
}

/// Why no record proves a certificate.
#[derive(Debug)]
pub(super) enum Unproved {
    /// None matches anything that was shown.
    NoMatch,
    /// An authority's record matches, and its certificate does not lead to this one for this name.
    Chain(Error, Option<ServerName<'static>>),
}

impl Dane {
    /// By which kind of record the host is proved.
    ///
    /// A record of its own certificate is enough, whatever names and dates it bears (RFC 7672
    /// §3.1.1). One of an authority makes that the only authority, and the certificate must be in
    /// date and bear one of the names (RFC 7672 §3.1.2).
    pub fn proof(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Proof, Unproved> {
        let of_usage = |usage| self.records.iter().filter(move |it| it.usage == usage);
        if of_usage(Tlsa::DANE_EE).any(|record| matches(record, leaf)) {
            return Ok(Proof::DaneEe);
        }
        let others = &others[..others.len().min(CHAIN_MOST)];
        let mut why = Unproved::NoMatch;
        for record in of_usage(Tlsa::DANE_TA) {
            let shown = others.iter().filter(|it| matches(record, it)).cloned();
            // The authority itself, published whole, need not be shown (RFC 7671 §5.2.1).
            let published = (record.selector == Tlsa::CERTIFICATE
                && record.matching == Tlsa::EXACT)
                .then(|| CertificateDer::from(record.data.to_vec()));
            for authority in shown.chain(published) {
                match self.chain(&authority, leaf, others, now) {
                    Ok(()) => return Ok(Proof::DaneTa),
                    Err(error) => why = error,
                }
            }
        }
        Err(why)
    }

    fn chain(
        &self,
        authority: &CertificateDer<'_>,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Unproved> {
        let nameless = |error| Unproved::Chain(error, None);
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.clone().into_owned())
            .map_err(nameless)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|_| nameless(CertificateError::UnknownIssuer.into()))?;
        let mut why = nameless(CertificateError::NotValidForName.into());
        for name in &self.names {
            match verifier.verify_server_cert(leaf, others, name, &[], now) {
                Ok(_) => return Ok(()),
                Err(error) => why = Unproved::Chain(error, Some(name.clone())),
            }
        }
        Err(why)
    }
}

/// Whether a record speaks of this certificate.
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let key;
    let selected: &[u8] = match record.selector {
        Tlsa::CERTIFICATE => certificate,
        Tlsa::PUBLIC_KEY => match public_key(certificate) {
            Some(found) => {
                key = found;
                &key
            }
            None => return false,
        },
        _ => return false,
    };
    match record.matching {
        Tlsa::EXACT => *record.data == *selected,
        Tlsa::SHA_256 => *record.data == *Sha256::digest(selected),
        Tlsa::SHA_512 => *record.data == *Sha512::digest(selected),
        _ => false,
    }
}

/// The public key of a certificate with its algorithm (SubjectPublicKeyInfo).
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(parsed.subject_public_key_info().to_vec())
}

/// The TLSA record that names the key of this certificate: `3 1 1`, which survives a renewal with the
/// same key (RFC 7671 §5.1).
pub fn tlsa(certificate: &CertificateDer<'_>) -> Option<Tlsa> {
    Some(Tlsa {
        usage: Tlsa::DANE_EE,
        selector: Tlsa::PUBLIC_KEY,
        matching: Tlsa::SHA_256,
        data: Sha256::digest(public_key(certificate)?).to_vec().into(),
    })
}
