//! The certificates of scripted next hops: a good one, and those that a client must not believe.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Certificate {
    /// For localhost and 127.0.0.1, from the authority of [`authority`].
    Good,
    /// For elsewhere.example.
    WrongName,
    /// Was good until an hour ago.
    Expired,
    /// For localhost, vouched for by itself.
    SelfSigned,
    /// For localhost, from an authority that nobody knows.
    OtherAuthority,
    /// For one-label names below the zones of the laboratory, such as mx1.secure.test, from the
    /// authority of [`authority`].
    MailHost,
    /// The same, good until an hour ago.
    MailHostExpired,
}

/// What [`Certificate::MailHost`] names.
const MAIL_HOSTS: [&str; 8] = [
    "*.secure.test",
    "*.insecure.test",
    "*.sts.test",
    "*.nsec3.test",
    "*.a.sts.test",
    "*.b.sts.test",
    "*.c.sts.test",
    "*.d.sts.test",
];

/// The file with the authority that a client of these hops trusts.
pub fn authority() -> PathBuf {
    made().directory.path().join("hop-ca.pem")
}

impl Certificate {
    pub const ALL: [Certificate; 7] = [
        Certificate::Good,
        Certificate::WrongName,
        Certificate::Expired,
        Certificate::SelfSigned,
        Certificate::OtherAuthority,
        Certificate::MailHost,
        Certificate::MailHostExpired,
    ];

    /// The SHA-256 of the certificate in DER, by which it may be pinned.
    pub fn fingerprint(self) -> [u8; 32] {
        Sha256::digest(&self.pair().certificate).into()
    }

    /// The certificate.
    pub fn der(self) -> CertificateDer<'static> {
        self.pair().certificate.clone()
    }

    /// Files with the certificate and its key, for servers that read such.
    pub fn files(self) -> (PathBuf, PathBuf) {
        let place = |what| made().directory.path().join(format!("{self:?}-{what}.pem"));
        (place("cert"), place("key"))
    }

    /// What a server with this certificate is set up with.
    pub fn server(self) -> Arc<ServerConfig> {
        let pair = self.pair();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.key.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.certificate.clone()], key)
            .unwrap();
        Arc::new(config)
    }

    fn pair(self) -> &'static Pair {
        let place = Certificate::ALL.iter().position(|other| *other == self);
        &made().pairs[place.expect("every certificate is among all")]
    }
}

struct Pair {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

struct Made {
    directory: TempDir,
    pairs: Vec<Pair>,
}

/// Makes all of them once.
fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("hop-certs-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let (known, pem) = make_authority("Hop test CA");
        let (unknown, _) = make_authority("Unknown test CA");
        fs::write(directory.path().join("hop-ca.pem"), pem).unwrap();
        let make = |kind: Certificate| {
            let (names, until) = match kind {
                Certificate::WrongName => (&["elsewhere.example"][..], 24 * HOUR),
                Certificate::MailHost => (&MAIL_HOSTS[..], 24 * HOUR),
                Certificate::MailHostExpired => (&MAIL_HOSTS[..], Duration::ZERO),
                Certificate::Expired => (&["localhost", "127.0.0.1"][..], Duration::ZERO),
                _ => (&["localhost", "127.0.0.1"][..], 24 * HOUR),
            };
            let params = leaf(names, until);
            let key = KeyPair::generate().unwrap();
            let certificate = match kind {
                Certificate::SelfSigned => params.self_signed(&key),
                Certificate::OtherAuthority => params.signed_by(&key, &unknown),
                _ => params.signed_by(&key, &known),
            }
            .unwrap();
            let place = |what| directory.path().join(format!("{kind:?}-{what}.pem"));
            fs::write(place("cert"), certificate.pem()).unwrap();
            fs::write(place("key"), key.serialize_pem()).unwrap();
            Pair {
                certificate: certificate.der().clone(),
                key: key.serialize_der(),
            }
        };
        let pairs = Certificate::ALL.into_iter().map(make).collect();
        Made { directory, pairs }
    })
}

fn make_authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    params.not_before = (now - 48 * HOUR).into();
    params.not_after = (now + 48 * HOUR).into();
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// Good from yesterday until so long after an hour ago.
fn leaf(names: &[&str], until: Duration) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "hop");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let hour_ago = SystemTime::now() - HOUR;
    params.not_before = (hour_ago - 23 * HOUR).into();
    params.not_after = (hour_ago + until).into();
    params
}
