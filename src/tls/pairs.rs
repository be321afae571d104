//! Certificate pairs and the choice among them by the name a client asks for (RFC 6066 §3).

use std::{fmt, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Certificate, TlsError, certificate::SignatureHash, provider, read_pem};

/// Where a pair lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PairFiles {
    /// The certificate and its intermediates, the server's own first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A checked pair in memory.
#[derive(Clone)]
pub(super) struct Pair {
    pub files: PairFiles,
    pub certificate: Certificate,
    key: Arc<CertifiedKey>,
    /// The leaf's hash as RFC 5929 §4.1 asks.
    end_point: Option<Box<[u8]>>,
    stamp: Stamp,
}

/// What shows that a file was replaced: device, inode, size and time of change of both files.
pub(super) type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

pub(super) fn stamp(files: &PairFiles) -> Stamp {
    [&files.chain, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
        ))
    })
}

impl Pair {
    /// Reads and checks both files.
    pub fn load(files: &PairFiles) -> Result<Self, TlsError> {
        // Taken first: a change while reading shows as one more change.
        let stamp = stamp(files);
        let chain = read_pem(&files.chain)?.certificates;
        let path = || files.chain.clone();
        let leaf = chain
            .first()
            .ok_or_else(|| TlsError::NoCertificate(path()))?;
        let certificate = Certificate::parse(leaf).ok_or_else(|| TlsError::Malformed(path()))?;
        if let Some(reason) = certificate.weakness() {
            return Err(TlsError::Weak {
                path: path(),
                reason,
            });
        }
        let end_point = certificate.signature_hash.map(|hash| match hash {
            SignatureHash::Sha256 => Sha256::digest(leaf).as_slice().into(),
            SignatureHash::Sha384 => Sha384::digest(leaf).as_slice().into(),
            SignatureHash::Sha512 => Sha512::digest(leaf).as_slice().into(),
        });
        let key = read_pem(&files.key)?
            .key
            .ok_or_else(|| TlsError::NoKey(files.key.clone()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|source| {
            TlsError::Mismatch {
                path: path(),
                source,
            }
        })?;
        Ok(Pair {
            files: files.clone(),
            certificate,
            key: Arc::new(key),
            end_point,
            stamp,
        })
    }

    /// The files as they were when this pair was read.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether a client that asked for `name` would accept this certificate.
    fn fits(&self, name: &ServerName<'_>) -> bool {
        self.key
            .end_entity_cert()
            .and_then(ParsedCertificate::try_from)
            .and_then(|leaf| verify_server_name(&leaf, name))
            .is_ok()
    }
}

/// The pairs in service; the first is the default. Swapped whole, so a handshake sees one set.
pub(super) struct Pairs(ArcSwap<Vec<Pair>>);

impl Pairs {
    pub fn new(pairs: Vec<Pair>) -> Self {
        Pairs(ArcSwap::from_pointee(pairs))
    }

    pub fn current(&self) -> Arc<Vec<Pair>> {
        self.0.load_full()
    }

    pub fn replace(&self, pairs: Vec<Pair>) {
        self.0.store(Arc::new(pairs));
    }

    /// The first pair that fits the name, else the default: an unknown name is no error, so nothing
    /// tells which names exist.
    fn choose<T>(&self, name: Option<&str>, of: impl FnOnce(&Pair) -> T) -> Option<T> {
        let pairs = self.0.load();
        let fitting = match name.and_then(|name| ServerName::try_from(name).ok()) {
            Some(name) if pairs.len() > 1 => pairs.iter().find(|pair| pair.fits(&name)),
            Some(_) | None => None,
        };
        fitting.or_else(|| pairs.first()).map(of)
    }

    /// The hash of the certificate that is shown for this name, made as RFC 5929 §4.1 asks.
    pub fn end_point(&self, name: Option<&str>) -> Option<Box<[u8]>> {
        self.choose(name, |pair| pair.end_point.clone())?
    }
}

impl ResolvesServerCert for Pairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), |pair| Arc::clone(&pair.key))
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.load().iter().map(|pair| &pair.files))
            .finish()
    }
}
