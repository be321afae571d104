//! Signing one message.

use std::{
    io::{self, Read},
    sync::Arc,
};

use mail_auth::{
    common::{
        crypto::{Algorithm, DkimKey, Sha256, SigningKey},
        headers::Writable,
    },
    dkim::{DkimSigner, DkimSigningStream},
};
use rustls::pki_types::PrivateKeyDer;
use secrecy::ExposeSecret as _;

use super::{
    fields::covered,
    key::{self, KeyFault},
};
use crate::{message::fields, store::dkim::SigningKey as StoredKey};

/// Octets of a body that are read at once.
const PIECE: usize = 128 * 1024;

/// Why a message was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Its body could not be read.
    #[error("body could not be read to be signed: {0}")]
    Body(#[from] io::Error),
    /// The signature could not be made.
    #[error("message could not be signed: {0}")]
    Signature(String),
}

/// A key at work.
pub(super) struct Signer {
    selector: Box<str>,
    key: Shared,
}

impl Signer {
    pub(super) fn new(stored: &StoredKey) -> Result<Self, KeyFault> {
        let der = PrivateKeyDer::try_from(stored.private_key.expose_secret());
        let der = der.map_err(|error| KeyFault::Unusable(error.to_owned()))?;
        Ok(Signer {
            selector: stored.selector.as_str().into(),
            key: Shared(Arc::new(key::signing(&der)?)),
        })
    }
}

/// mail-auth takes the key of each signer for its own; ours are many messages'.
#[derive(Clone)]
struct Shared(Arc<DkimKey>);

impl SigningKey for Shared {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.0.sign(input)
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

/// The keys by which one message is signed.
#[derive(Clone, Default)]
pub struct Signers(Vec<(Box<str>, Arc<[Signer]>)>);

impl Signers {
    pub(super) fn new(signing: Vec<(Box<str>, Arc<[Signer]>)>) -> Self {
        Signers(signing)
    }

    /// Whether nobody signs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The domains that sign, for the log; none where nobody does.
    pub fn domains(&self) -> Option<String> {
        let domains: Vec<_> = self.0.iter().map(|(domain, _)| &**domain).collect();
        (!domains.is_empty()).then(|| domains.join(" "))
    }

    /// Puts signatures on top of a header section (with its blank line). Reads all of the body and
    /// computes: not to be called on the reactor.
    ///
    /// # Errors
    /// [`SignError`]; the message must then not leave as if it were signed.
    pub fn sign(&self, header: &[u8], body: &mut dyn Read) -> Result<Vec<u8>, SignError> {
        let section = header.strip_suffix(b"\r\n").unwrap_or(header);
        let fields = fields(section).map_err(|fault| SignError::Signature(fault.to_string()))?;
        let names = covered(section, &fields);
        let templates: Vec<DkimSigner<Shared, _>> = self
            .0
            .iter()
            .flat_map(|(domain, signers)| signers.iter().map(move |signer| (domain, signer)))
            .map(|(domain, signer)| {
                DkimSigner::from_key(signer.key.clone())
                    .domain(&**domain)
                    .selector(&*signer.selector)
                    .headers(names.iter().copied())
            })
            .collect();
        let mut streams: Vec<DkimSigningStream<'_, Shared>> = templates
            .iter()
            .map(|template| template.sign_streaming())
            .collect();
        for stream in &mut streams {
            stream.write(header);
        }
        let mut piece = vec![0; PIECE];
        loop {
            let count = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            for stream in &mut streams {
                stream.write(&piece[..count]);
            }
        }
        let mut signed = Vec::with_capacity(header.len() + streams.len() * 1024);
        for stream in streams {
            let signature = stream
                .finish()
                .map_err(|error| SignError::Signature(error.to_string()))?;
            signature.write(&mut signed, true);
        }
        signed.extend_from_slice(header);
        Ok(signed)
    }
}

/// A header section without the signatures on top of it, which are ours: whatever a client brought
/// stands below our trace field.
pub fn unsigned(header: &[u8]) -> &[u8] {
    let section = header.strip_suffix(b"\r\n").unwrap_or(header);
    let Ok(fields) = fields(section) else {
        return header;
    };
    let is_signature = |name: &[u8]| name.eq_ignore_ascii_case(b"DKIM-Signature");
    let first = fields
        .iter()
        .find(|field| !is_signature(&header[field.name.clone()]));
    match first {
        Some(field) => &header[field.whole.start..],
        None => header,
    }
}
