//! TLS as clients meet it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use rustls::{
    ClientConfig, ProtocolVersion, SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey,
    version,
};

use crate::{
    server::{ALICE, PASSWORD, PATIENCE, Server, Settings, sign_in},
    wire::{Client, trust},
};

fn only(
    server: &Server,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let roots = crate::wire::roots(&server.path("certs/ca.pem"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// R8314-4a, R9325-3.1.1b, R9325-4.2b: both versions work, each with forward secrecy and AEAD.
#[test]
fn tls_1_2_and_1_3_both_work_on_both_ports() {
    let server = Server::start();
    for (offered, spoken) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = only(&server, &[offered]);
        let mut implicit = Client::implicit(server.submissions, Arc::clone(&config)).unwrap();
        implicit.reply().unwrap();
        let mut upgraded = Client::plain(server.submission).unwrap();
        upgraded.reply().unwrap();
        upgraded.ask("EHLO client.example").unwrap();
        assert!(upgraded.ask("STARTTLS").unwrap().starts_with("220 "));
        upgraded.handshake(config).unwrap();
        for mut client in [implicit, upgraded] {
            client.ask("EHLO client.example").unwrap();
            assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("235 "));
            let tls = client.tls().unwrap();
            assert_eq!(tls.protocol_version(), Some(spoken));
            let suite = tls.negotiated_cipher_suite().unwrap().suite();
            let name = suite.as_str().unwrap();
            assert!(name.contains("GCM") || name.contains("CHACHA20"), "{name}");
            assert!(
                name.starts_with("TLS13_") || name.contains("ECDHE"),
                "{name}"
            );
        }
    }
}

/// R9325-3.1.1a: a ClientHello of TLS 1.1 gets an alert and no greeting.
#[test]
fn older_versions_are_refused() {
    let server = Server::start();
    // Version 3.2, one suite (ECDHE-RSA-AES128-SHA), no compression, no extensions.
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![
        22,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    record.extend(&hello);
    let mut socket = TcpStream::connect(server.submissions).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&record).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(
        answer.len() == 7 && answer[0] == 21 && answer[5] == 2,
        "{answer:?}"
    );
}

/// R9325-3.8a, S10: who speaks another protocol is turned away, who names none is welcome.
#[test]
fn a_foreign_application_protocol_is_refused() {
    let server = Server::start();
    for protocol in ["http/1.1", "h2", "imap"] {
        let mut config = (*only(&server, &[&version::TLS13])).clone();
        config.alpn_protocols = vec![protocol.into()];
        let error = Client::implicit(server.submissions, Arc::new(config)).err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            text.contains("NoApplicationProtocol"),
            "{protocol}: {text:?}"
        );
    }
    drop(server.signed_in());
}

/// Notes whether it was asked for a certificate.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Relaxed);
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        false
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// R8314-4.2b.
#[test]
fn no_certificate_is_asked_of_clients() {
    let server = Server::start();
    for offered in [&version::TLS12, &version::TLS13] {
        let asked = Arc::new(Asked::default());
        let mut config = (*only(&server, &[offered])).clone();
        config.client_auth_cert_resolver = Arc::clone(&asked) as Arc<dyn ResolvesClientCert>;
        let mut client = Client::implicit(server.submissions, Arc::new(config)).unwrap();
        client.reply().unwrap();
        assert!(!asked.0.load(Relaxed), "{offered:?}");
    }
}

/// R9325-3.10a: tickets allow no early data.
#[test]
fn no_early_data_is_offered() {
    let server = Server::start();
    let mut config = (*only(&server, &[&version::TLS13])).clone();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for round in 0..2 {
        let mut client = Client::implicit(server.submissions, Arc::clone(&config)).unwrap();
        client.reply().unwrap();
        // The second handshake resumes, so there was a ticket that could have allowed it.
        assert!(!client.early_data_was_possible(), "{round}");
        let kind = client.tls().unwrap().handshake_kind().unwrap();
        let resumed = kind == rustls::HandshakeKind::Resumed;
        assert_eq!(resumed, round == 1, "{kind:?}");
    }
}

/// A second pair, for other.example, and the authority to trust for it.
pub fn make_pair(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    let key = folder.join(format!("{name}.key"));
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).unwrap();
}

/// R8314-4.4b, R9325-3.7a: the name asked for chooses the certificate; without one there is the
/// default.
#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let mut server = Server::stopped(Settings::new());
    let folder = server.path("certs");
    make_pair(&folder, "other.example");
    let here = folder.display();
    let second = format!(
        "\n[[certificates]]\ncert = \"{here}/other.example.pem\"\nkey = \"{here}/other.example.key\""
    );
    server.settings = server.settings.clone().with("certificates", &second);
    server.configure();
    server.run();
    let other = trust(&folder.join("other.example.pem"));
    let ours = Arc::clone(&server.trust);
    for (name, config, good) in [
        ("other.example", &other, true),
        ("localhost", &ours, true),
        ("localhost", &other, false),
        ("other.example", &ours, false),
        // An address is no name for SNI: the default certificate, which is good for it.
        ("127.0.0.1", &ours, true),
    ] {
        let mut client = Client::plain(server.submissions).unwrap();
        let done = client.handshake_as(name, Arc::clone(config));
        assert_eq!(done.is_ok(), good, "{name}: {done:?}");
    }
}

/// R8314-3b: 465 answers plain text with no text, and says in the log what it was.
#[test]
fn plain_text_on_465_is_closed() {
    let server = Server::start();
    for (said, noted) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET"),
        ("EHLO client.example\r\n", "EHLO"),
    ] {
        let mut socket = TcpStream::connect(server.submissions).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(said.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(
            !answer
                .windows(3)
                .any(|part| part == b"220" || part == b"HTT"),
            "{answer:?}"
        );
        assert!(answer.len() <= 7, "{noted}: {answer:?}");
        server.logged(&["handshake failed", "plain"]);
    }
    drop(server.signed_in());
}

/// R9325-3.2a, R6409-3.1a, R5068-3.1a, R8314-3a: unless told otherwise both services are there, the
/// one with TLS from the first octet before the other.
#[test]
fn both_services_are_the_default() {
    let config = gatepost::config::Config::default();
    let ports = |addresses: &[std::net::SocketAddr]| -> Vec<u16> {
        addresses.iter().map(|address| address.port()).collect()
    };
    assert_eq!(ports(&config.listeners.submissions), [465, 465]);
    assert_eq!(ports(&config.listeners.submission), [587, 587]);
}
