//! Handshakes over memory: what is served to whom, and what is refused.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, ClientConnection, Error, ServerConnection, crypto::CryptoProvider};

use super::*;
use crate::envelope::{TlsFacts, TlsVersion};

/// Writes a self-signed pair under a name and gives its certificate.
fn pair(directory: &Path, file: &str, names: &[&str]) -> (PairFiles, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let files = PairFiles {
        chain: directory.join(format!("{file}.pem")),
        key: directory.join(format!("{file}.key")),
    };
    fs::write(&files.chain, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    (files, certificate.der().to_vec())
}

/// A client that takes any certificate: these tests look at what was served.
fn client(
    provider: CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(provider);
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anyone::Anyone(provider)))
        .with_no_client_auth()
}

struct Met {
    facts: TlsFacts,
    leaf: Vec<u8>,
}

fn meet(server: &Server, client: Arc<ClientConfig>, name: &str) -> Result<Met, Error> {
    let mut client = ClientConnection::new(client, name.to_owned().try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server.acceptor().config())).unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(Met {
        facts: facts(&server).unwrap(),
        leaf: client.peer_certificates().unwrap()[0].to_vec(),
    })
}

const BOTH: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// R9325-3.7a, extension-interactions §17: exact and wildcard names, the default for all others.
#[test]
fn the_certificate_is_chosen_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (first, default) = pair(directory.path(), "a", &["mail.example.org"]);
    let (second, wild) = pair(directory.path(), "b", &["*.example.net", "example.net"]);
    let server = Server::open(&[first, second], &Visitors::default()).unwrap();
    let config = Arc::new(client(provider(), BOTH));
    for (name, served) in [
        ("mail.example.org", &default),
        ("smtp.example.net", &wild),
        ("EXAMPLE.net", &wild),
        ("a.b.example.net", &default),
        ("unknown.example", &default),
        ("192.0.2.1", &default),
    ] {
        let met = meet(&server, Arc::clone(&config), name).unwrap();
        assert_eq!(&met.leaf, served, "{name}");
    }
}

/// S44: a good pair goes into service, a broken one leaves the old there and says so.
#[test]
fn certificates_are_exchanged_and_broken_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let (files, first) = pair(directory.path(), "a", &["a.example"]);
    let server = Server::open(std::slice::from_ref(&files), &Visitors::default()).unwrap();
    // A new client each time: one that resumes is shown no certificate.
    let served = || {
        let config = Arc::new(client(provider(), BOTH));
        meet(&server, config, "a.example").unwrap().leaf
    };
    assert_eq!(served(), first);

    let (_, second) = pair(directory.path(), "a", &["a.example"]);
    assert_eq!(served(), first);
    server.reload(std::slice::from_ref(&files)).unwrap();
    assert_eq!(served(), second);

    // The key of another certificate.
    let (other, _) = pair(directory.path(), "b", &["a.example"]);
    fs::copy(&other.key, &files.key).unwrap();
    let errors = server.reload(std::slice::from_ref(&files)).unwrap_err();
    assert!(
        matches!(errors[..], [TlsError::Mismatch { .. }]),
        "{errors:?}"
    );
    assert_eq!(served(), second);

    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        fs::write(&files.chain, broken).unwrap();
        assert!(server.reload(std::slice::from_ref(&files)).is_err());
        assert_eq!(served(), second);
    }
    assert!(server.reload(&[]).is_err());
    // A new pair beside the broken one does go into service.
    assert!(server.reload(&[files, other]).is_err());
    assert_eq!(server.certificates().len(), 2);
}

/// R9325-3.1.1b, R8314-4d: 1.3 is preferred, and the post-quantum group suffices alone.
#[test]
fn versions_suites_and_groups_are_the_best_that_both_have() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = pair(directory.path(), "a", &["a.example"]);
    let server = Server::open(&[files], &Visitors::default()).unwrap();
    let hybrid = CryptoProvider {
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768],
        ..provider()
    };
    let met = meet(&server, Arc::new(client(hybrid, BOTH)), "a.example").unwrap();
    assert_eq!(met.facts.version, TlsVersion::V13);
    assert_eq!(met.facts.group, Some("X25519MLKEM768"));
    assert!(
        met.facts.suite.starts_with("TLS_AES_"),
        "{}",
        met.facts.suite
    );
    assert_eq!(met.facts.server_name.as_deref(), Some("a.example"));

    let old = client(provider(), &[&rustls::version::TLS12]);
    let met = meet(&server, Arc::new(old), "a.example").unwrap();
    assert_eq!(met.facts.version, TlsVersion::V12);
    assert!(met.facts.suite.starts_with("TLS_ECDHE_ECDSA_WITH_"));
}

/// R8996-a: a hello that offers TLS 1.1 at most is refused.
#[test]
fn old_versions_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = pair(directory.path(), "a", &["a.example"]);
    let server = Server::open(&[files], &Visitors::default()).unwrap();
    let mut hello = vec![0x01, 0, 0, 43, 0x03, 0x02];
    hello.extend([7; 32]);
    // No session, two suites, no compression.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    hello[3] = u8::try_from(hello.len() - 4).unwrap();
    let mut wire = vec![0x16, 0x03, 0x01, 0, u8::try_from(hello.len()).unwrap()];
    wire.extend(hello);
    let mut connection = ServerConnection::new(Arc::clone(server.acceptor().config())).unwrap();
    connection.read_tls(&mut wire.as_slice()).unwrap();
    let refused = connection.process_new_packets().unwrap_err();
    assert!(matches!(refused, Error::PeerIncompatible(_)), "{refused:?}");
}

/// S10: a client that asks for another protocol is refused, one that asks for none is served.
#[test]
fn foreign_protocols_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = pair(directory.path(), "a", &["a.example"]);
    let server = Server::open(&[files], &Visitors::default()).unwrap();
    for (offered, welcome) in [
        (&[][..], true),
        (&["smtp"][..], true),
        (&["h2", "smtp"], true),
        (&["h2", "http/1.1"], false),
    ] {
        let mut config = client(provider(), BOTH);
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let met = meet(&server, Arc::new(config), "a.example");
        assert_eq!(met.is_ok(), welcome, "{offered:?}");
    }
}

/// R9325-3.4a: a second handshake resumes by ticket, and no early data is allowed.
#[test]
fn sessions_resume_without_early_data() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = pair(directory.path(), "a", &["a.example"]);
    let server = Server::open(&[files], &Visitors::default()).unwrap();
    assert_eq!(server.acceptor().config().max_early_data_size, 0);
    let config = Arc::new(client(provider(), BOTH));
    let met = |config| meet(&server, config, "a.example").unwrap().facts.resumed;
    assert!(!met(Arc::clone(&config)));
    assert!(met(config));
}

#[test]
fn an_open_key_file_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = pair(directory.path(), "a", &["a.example"]);
    for (mode, told) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        let found = inspect(&files, SystemTime::now()).unwrap();
        let warned = found.warnings.iter().any(|w| w.contains("chmod"));
        assert_eq!(warned, told, "{mode:o}");
    }
}

mod anyone {
    use std::sync::Arc;

    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub struct Anyone(pub Arc<CryptoProvider>);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
