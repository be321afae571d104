//! PEM files: the only place that reads them.

use std::{fs::File, io::BufReader, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_pemfile::Item;

use super::TlsError;

/// What a PEM file holds.
#[derive(Debug, Default)]
pub struct Pem {
    /// Certificates in the file's order.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The first private key.
    pub key: Option<PrivateKeyDer<'static>>,
}

/// Reads every certificate and the first private key of a PEM file.
///
/// # Errors
/// [`TlsError::Read`] where the file cannot be read or its PEM is broken.
pub fn read_pem(path: &Path) -> Result<Pem, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut pem = Pem::default();
    for item in rustls_pemfile::read_all(&mut reader) {
        let key: PrivateKeyDer<'static> = match item.map_err(failed)? {
            Item::X509Certificate(der) => {
                pem.certificates.push(der);
                continue;
            }
            Item::Pkcs8Key(key) => key.into(),
            Item::Pkcs1Key(key) => key.into(),
            Item::Sec1Key(key) => key.into(),
            _ => continue,
        };
        pem.key.get_or_insert(key);
    }
    Ok(pem)
}

/// A sentence for the operator where a key file can be read by others than its owner and group.
pub(super) fn permission_warning(key: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        format!(
            "{} is open to every user of this machine (mode {:03o}); chmod it to 640 or 600",
            key.display(),
            mode & 0o777
        )
    })
}
