//! Development certificates for `gatepost demo`: an authority whose key is thrown away, and one leaf.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{PairFiles, TlsError, inspect, read_pem};

/// Names of the leaf.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long a leaf and its authority are good.
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Made anew when less than this is left.
const LEAST: Duration = Duration::from_secs(14 * 24 * 3600);

const README: &str = include_str!("../../certs-dev/README.md");

/// A development certificate on disk.
#[derive(Clone, Debug)]
pub struct Development {
    /// The authority to trust.
    pub ca: PathBuf,
    /// What to serve.
    pub pair: PairFiles,
}

/// Uses the development certificate in `directory`, or makes one where there is none that lasts.
///
/// # Errors
/// [`TlsError::Development`] where it cannot be made or written.
pub fn certificate(directory: &Path, now: SystemTime) -> Result<Development, TlsError> {
    let made = Development {
        ca: directory.join("ca.pem"),
        pair: PairFiles {
            chain: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        },
    };
    if !lasts(&made, now) {
        make(directory, &made, now).map_err(|reason| TlsError::Development {
            path: directory.to_owned(),
            reason: reason.to_string(),
        })?;
    }
    Ok(made)
}

fn lasts(made: &Development, now: SystemTime) -> bool {
    let has_authority = read_pem(&made.ca).is_ok_and(|pem| !pem.certificates.is_empty());
    has_authority
        && inspect(&made.pair, now).is_ok_and(|found| {
            found.certificate.not_before <= now
                && found.certificate.not_after > now + LEAST
                && NAMES.map(String::from).to_vec() == found.certificate.names
        })
}

fn make(
    directory: &Path,
    made: &Development,
    now: SystemTime,
) -> Result<(), Box<dyn std::error::Error>> {
    // An hour back, for clocks that differ a little.
    let (from, until) = (now - Duration::from_secs(3600), now + LIFE);

    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "Gatepost development CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (authority.not_before, authority.not_after) = (from.into(), until.into());
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?;

    let mut leaf = CertificateParams::new(NAMES.map(String::from))?;
    leaf.distinguished_name
        .push(DnType::CommonName, "localhost");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (from.into(), until.into());
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(authority, authority_key);
    let leaf = leaf.signed_by(&key, &issuer)?;

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // A checkout brings these along; elsewhere the directory explains itself too.
    for (name, text) in [(".gitignore", "*.pem\n*.new\n"), ("README.md", README)] {
        let path = directory.join(name);
        if !path.exists() {
            write(&path, text)?;
        }
    }
    write(&made.ca, &ca.pem())?;
    write(&made.pair.chain, &leaf.pem())?;
    write(&made.pair.key, &key.serialize_pem())?;
    Ok(())
}

/// Writes beside and renames, so that no reader sees half a file.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_development_certificate_is_made_once_and_renewed_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("certs-dev");
        let now = SystemTime::now();
        let made = certificate(&place, now).unwrap();
        let first = fs::read(&made.pair.chain).unwrap();
        let mode = fs::metadata(&made.pair.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(inspect(&made.pair, now).unwrap().warnings.is_empty());

        certificate(&place, now).unwrap();
        assert_eq!(fs::read(&made.pair.chain).unwrap(), first);

        certificate(&place, now + LIFE - LEAST).unwrap();
        assert_ne!(fs::read(&made.pair.chain).unwrap(), first);
    }
}
