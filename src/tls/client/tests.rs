//! Handshakes in memory with servers of every kind.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    HandshakeKind, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    envelope::TlsVersion,
    tls::{CertificateFault, Whose, fingerprint::hex},
};

pub(super) const NAME: &str = "mx.example.org";
pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// An authority, and where its certificate lies.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A certificate and a key that may belong to it.
pub(super) struct Made {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// An authority's between it and the root.
    pub(super) between: Option<CertificateDer<'static>>,
}

impl Made {
    fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }
}

pub(super) fn nothing(_: &mut CertificateParams) {}

pub(super) fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names = [NAME, "*.example.net", "192.0.2.7", "2001:db8::7"].map(String::from);
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    params
}

pub(super) fn expired(params: &mut CertificateParams) {
    params.not_after = day(-2).into();
}

fn day(from_now: i64) -> SystemTime {
    let days = Duration::from_secs(24 * 3600) * u32::try_from(from_now.abs()).unwrap();
    if from_now < 0 {
        SystemTime::now() - days
    } else {
        SystemTime::now() + days
    }
}

pub(super) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    Made {
        certificate: params(change).self_signed(&key).unwrap().into(),
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        between: None,
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::named(&ulid::Ulid::generate().to_string())
    }

    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let directory = tempfile::tempdir().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(directory.path().join("ca.pem"), pem).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn trusted(&self) -> Arc<Client> {
        Client::open(Trust::Ca(self.path())).unwrap()
    }

    pub(super) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let key = KeyPair::generate().unwrap();
        let certificate = params(change).signed_by(&key, &self.issuer).unwrap();
        Made {
            certificate: certificate.into(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            between: None,
        }
    }
}

fn pinned(pin: [u8; 32]) -> Arc<Client> {
    Client::open(Trust::Pins(vec![[7; 32], pin])).unwrap()
}

/// Shows what it was given, whether key and certificate belong together or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

pub(super) fn server(
    made: &Made,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(provider());
    let key = provider
        .key_provider
        .load_private_key(made.key.clone_key())
        .unwrap();
    let chain = [&made.certificate].into_iter().chain(&made.between);
    let certified = CertifiedKey::new(chain.cloned().collect(), key);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(certified))));
    Arc::new(config)
}

/// What a handshake proves.
pub(super) async fn meet(
    client: &Client,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<LinkTls, HandshakeError> {
    greet(client, server, name).await.map(|(link, _)| link)
}

/// What a handshake brings, and that the channel carries octets behind it.
pub(super) async fn greet(
    client: &Client,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<(LinkTls, HandshakeKind), HandshakeError> {
    let (ours, theirs) = duplex(4096);
    let host = tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(server).accept(theirs).await?;
        stream.write_all(b"220 hello\r\n").await?;
        let mut said = [0; 6];
        stream.read_exact(&mut said).await?;
        std::io::Result::Ok(said)
    });
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = client.handshake(ours, name.clone()).await?;
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 hello\r\n");
    stream.write_all(b"QUIT\r\n").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(&host.await.unwrap().unwrap(), b"QUIT\r\n");
    let connection = stream.get_ref().1;
    let link = client.facts(connection, &name).unwrap();
    Ok((link, connection.handshake_kind().unwrap()))
}

async fn refusal(client: &Client, made: &Made) -> CertificateFault {
    match meet(client, server(made, BOTH), NAME).await {
        Err(HandshakeError::Certificate(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_a_given_authority_proves_its_host() {
    let authority = Authority::new();
    let made = authority.issue(nothing);
    let client = authority.trusted();
    for name in [
        NAME,
        "MX.example.ORG",
        "a.example.net",
        "192.0.2.7",
        "2001:db8::7",
    ] {
        let link = meet(&client, server(&made, BOTH), name).await.unwrap();
        assert_eq!(link.proof, Proof::GivenCa, "{name}");
        assert_eq!(link.version, TlsVersion::V13);
        assert!(link.suite.starts_with("TLS_AES_"), "{}", link.suite);
        assert_eq!(link.fingerprint, made.fingerprint());
    }
}

#[tokio::test]
async fn version_1_2_is_spoken_where_nothing_better_is() {
    let authority = Authority::new();
    let made = authority.issue(nothing);
    let client = authority.trusted();
    let link = meet(&client, server(&made, &[&TLS12]), NAME).await.unwrap();
    assert_eq!(link.version, TlsVersion::V12);
    assert!(link.suite.starts_with("TLS_ECDHE_"), "{}", link.suite);
}

/// The evidence is complete where no certificate travels.
#[tokio::test]
async fn a_resumed_session_has_its_facts_too() {
    let authority = Authority::new();
    let made = authority.issue(nothing);
    for versions in [BOTH, &[&TLS12]] {
        let client = authority.trusted();
        let server = server(&made, versions);
        let (first, kind) = greet(&client, server.clone(), NAME).await.unwrap();
        assert_ne!(kind, HandshakeKind::Resumed);
        let (second, kind) = greet(&client, server, NAME).await.unwrap();
        assert_eq!(kind, HandshakeKind::Resumed);
        assert_eq!(first, second);
        assert_eq!(first.fingerprint, made.fingerprint());
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let made = authority.issue(nothing);
    let client = authority.trusted();
    for name in [
        "mx.example.com",
        "a.b.example.net",
        "example.net",
        "192.0.2.8",
    ] {
        let refused = meet(&client, server(&made, BOTH), name).await;
        let Err(HandshakeError::Certificate(fault)) = refused else {
            panic!("{name}: {refused:?}")
        };
        let expected = CertificateFault::WrongName {
            wanted: name.to_owned(),
            names: "mx.example.org, *.example.net, 192.0.2.7, 2001:db8::7".to_owned(),
        };
        assert_eq!(fault, expected);
    }
}

/// S21: the names are whatever the host liked to write into its certificate.
#[tokio::test]
async fn names_from_a_certificate_cannot_act_in_a_log() {
    let authority = Authority::new();
    let made = authority.issue(|params| {
        let many = (0..40).map(|n| format!("host-{n}.example"));
        let odd = ["\x1b[31m\r\nx.example".to_owned()];
        params.subject_alt_names = odd
            .into_iter()
            .chain(many)
            .map(|name| rcgen::SanType::DnsName(name.try_into().unwrap()))
            .collect();
    });
    let fault = refusal(&authority.trusted(), &made).await;
    let CertificateFault::WrongName { names, .. } = &fault else {
        panic!("{fault:?}")
    };
    assert!(
        names.starts_with("\\x1B[31m\\x0D\\x0Ax.example, host-0.example"),
        "{names}"
    );
    assert!(names.ends_with(" [...]") && names.len() < 220, "{names}");

    let made = authority.issue(|params| params.subject_alt_names.clear());
    let text = refusal(&authority.trusted(), &made).await.to_string();
    assert!(
        text.ends_with("not for mx.example.org but for no host at all"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_outside_its_time_is_refused() {
    let authority = Authority::new();
    let client = authority.trusted();
    let fault = refusal(&client, &authority.issue(expired)).await;
    let shown = fault.to_string();
    let CertificateFault::Expired { whose, at } = fault else {
        panic!("{shown}")
    };
    assert_eq!(whose, Whose::Host);
    assert!(at.ends_with('Z') && shown == format!("the certificate expired at {at}"));

    let made = authority.issue(|params| {
        params.not_before = day(1).into();
        params.not_after = day(9).into();
    });
    let fault = refusal(&client, &made).await;
    assert!(
        matches!(
            fault,
            CertificateFault::NotYetValid {
                whose: Whose::Host,
                ..
            }
        ),
        "{fault}"
    );
}

#[tokio::test]
async fn an_authority_outside_its_time_is_told_from_its_host() {
    let root = Authority::new();
    let issued = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "between");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let between = params.signed_by(&key, &root.issuer).unwrap();
        let authority = Authority {
            issuer: Issuer::new(params, key),
            directory: tempfile::tempdir().unwrap(),
        };
        Made {
            between: Some(between.into()),
            ..authority.issue(nothing)
        }
    };
    let client = root.trusted();
    let good = issued(nothing);
    meet(&client, server(&good, BOTH), NAME).await.unwrap();
    let fault = refusal(&client, &issued(expired)).await;
    assert!(
        matches!(
            fault,
            CertificateFault::Expired {
                whose: Whose::Authority,
                ..
            }
        ),
        "{fault}"
    );
    // The intermediate is the server's to send.
    let alone = Made {
        between: None,
        ..good
    };
    let fault = refusal(&root.trusted(), &alone).await;
    assert!(
        matches!(fault, CertificateFault::UnknownIssuer { .. }),
        "{fault}"
    );
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (one, other) = (Authority::new(), Authority::new());
    let made = other.issue(nothing);
    let fault = refusal(&one.trusted(), &made).await;
    let fingerprint = made.fingerprint();
    assert_eq!(fault, CertificateFault::UnknownIssuer { fingerprint });

    // One made anew under its old name.
    let (old, new) = (Authority::named("House CA"), Authority::named("House CA"));
    let made = new.issue(nothing);
    let fingerprint = made.fingerprint();
    let fault = refusal(&old.trusted(), &made).await;
    assert_eq!(fault, CertificateFault::OtherKey { fingerprint });

    // With both authorities in one file each of them is trusted.
    let both = one.directory.path().join("both.pem");
    let pem = fs::read_to_string(one.path()).unwrap() + &fs::read_to_string(other.path()).unwrap();
    fs::write(&both, pem).unwrap();
    let client = Client::open(Trust::Ca(both)).unwrap();
    for authority in [&one, &other] {
        let made = authority.issue(nothing);
        meet(&client, server(&made, BOTH), NAME).await.unwrap();
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_with_its_fingerprint() {
    let made = self_signed(nothing);
    let fault = refusal(&Authority::new().trusted(), &made).await;
    let fingerprint = made.fingerprint();
    assert_eq!(fault, CertificateFault::SelfSigned { fingerprint });
    assert!(fault.to_string().contains(&hex(&fingerprint)));
}

/// What `openssl req -x509` makes.
#[tokio::test]
async fn an_authority_in_place_of_a_host_is_refused_and_can_be_pinned() {
    let made = self_signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.der.pem");
    let pem = data_encoding::BASE64_MIME.encode(&made.certificate);
    fs::write(
        &path,
        format!("-----BEGIN CERTIFICATE-----\n{pem}-----END CERTIFICATE-----\n"),
    )
    .unwrap();
    let client = Client::open(Trust::Ca(path)).unwrap();
    let fault = refusal(&client, &made).await;
    let fingerprint = made.fingerprint();
    assert_eq!(fault, CertificateFault::Authority { fingerprint });
    let link = meet(&pinned(fingerprint), server(&made, BOTH), NAME).await;
    assert_eq!(link.unwrap().proof, Proof::Pin);
}

#[tokio::test]
async fn a_pinned_certificate_proves_its_host_whatever_else_it_says() {
    for made in [
        self_signed(nothing),
        self_signed(expired),
        Authority::new().issue(expired),
    ] {
        let client = pinned(made.fingerprint());
        for name in [NAME, "another.example", "198.51.100.1"] {
            for versions in [BOTH, &[&TLS12]] {
                let link = meet(&client, server(&made, versions), name).await.unwrap();
                assert_eq!(link.proof, Proof::Pin);
                assert_eq!(link.fingerprint, made.fingerprint());
            }
        }
    }
}

/// The operator can pin what the text shows.
#[tokio::test]
async fn a_certificate_that_is_not_pinned_is_refused_with_its_fingerprint() {
    let authority = Authority::new();
    let made = authority.issue(nothing);
    let fault = refusal(&pinned([8; 32]), &made).await;
    let fingerprint = made.fingerprint();
    assert_eq!(fault, CertificateFault::NotPinned { fingerprint });
    assert!(fault.to_string().ends_with(&hex(&fingerprint)), "{fault}");
}

/// A certificate is public: only its key proves anything.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused_by_everybody() {
    let authority = Authority::new();
    let stolen = Made {
        key: self_signed(nothing).key,
        ..authority.issue(nothing)
    };
    let anyone = Client::open(Trust::Anyone).unwrap();
    for client in [authority.trusted(), pinned(stolen.fingerprint()), anyone] {
        for versions in [BOTH, &[&TLS12]] {
            let refused = meet(&client, server(&stolen, versions), NAME).await;
            let Err(HandshakeError::Certificate(fault)) = refused else {
                panic!("{:?}: {refused:?}", client.trust())
            };
            assert_eq!(fault, CertificateFault::KeyNotHeld);
        }
    }
}

#[tokio::test]
async fn anyone_is_taken_and_proves_nothing() {
    let client = Client::open(Trust::Anyone).unwrap();
    let made = self_signed(expired);
    let link = meet(&client, server(&made, BOTH), "another.example")
        .await
        .unwrap();
    assert_eq!(link.proof, Proof::None);
    assert_eq!(link.fingerprint, made.fingerprint());
}

/// What `openssl x509 -req` makes without an extension file.
#[tokio::test]
async fn a_certificate_of_version_1_is_refused_by_that_name() {
    let made = self_signed(nothing);
    let mut der = made.certificate.to_vec();
    let version = [0xa0, 0x03, 0x02, 0x01, 0x02];
    let at = der.windows(5).position(|octets| octets == version).unwrap();
    der[at + 4] = 0;
    let made = Made {
        certificate: der.into(),
        ..made
    };
    for client in [Authority::new().trusted(), pinned(made.fingerprint())] {
        assert_eq!(refusal(&client, &made).await, CertificateFault::Version(1));
    }
}

/// What a host that is no TLS server does, given the client's hello.
async fn rebuffed(says: &'static [u8]) -> HandshakeError {
    let (ours, mut theirs) = duplex(4096);
    tokio::spawn(async move {
        let mut hello = [0; 64];
        theirs.read_exact(&mut hello).await.unwrap();
        theirs.write_all(says).await.unwrap();
    });
    let client = Client::open(Trust::Anyone).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    client.handshake(ours, name).await.unwrap_err()
}

#[tokio::test]
async fn a_host_that_speaks_in_the_clear_is_quoted() {
    for (says, heard) in [
        (
            &b"220 mx.example.org ESMTP\r\n250 x\r\n"[..],
            "220 mx.example.org ESMTP",
        ),
        (b"HTTP/1.1 400 Bad Request\n", "HTTP/1.1 400 Bad Request"),
        (b"220", "220"),
        (b"\x1b]0;x\x07\r\n", "\\x1B]0;x\\x07"),
    ] {
        match rebuffed(says).await {
            HandshakeError::NoTls(said) => assert_eq!(said, heard),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_that_goes_away_is_told_from_one_that_refuses() {
    for says in [&b""[..], b"\x16", b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76"] {
        let error = rebuffed(says).await;
        assert!(matches!(error, HandshakeError::Gone), "{error:?}");
    }
    // fatal, protocol_version
    let error = rebuffed(b"\x15\x03\x03\x00\x02\x02\x46").await;
    let alert = rustls::AlertDescription::ProtocolVersion;
    assert!(
        matches!(error, HandshakeError::Alert(found) if found == alert),
        "{error:?}"
    );
    // A hello of TLS 1.1.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0x00, 0x2f, 0]);
    let error = rebuffed(hello.leak()).await;
    assert!(
        matches!(error, HandshakeError::Incompatible(_)),
        "{error:?}"
    );
}

#[test]
fn trust_without_anybody_to_trust_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let garbage = directory.path().join("garbage.pem");
    fs::write(
        &garbage,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let open = |trust| Client::open(trust).err().unwrap();
    assert!(matches!(open(Trust::Ca(empty)), TlsError::NoCertificate(_)));
    assert!(matches!(
        open(Trust::Ca(garbage)),
        TlsError::Authority { number: 1, .. }
    ));
    let missing = directory.path().join("missing.pem");
    assert!(matches!(open(Trust::Ca(missing)), TlsError::Read { .. }));
    assert!(matches!(open(Trust::Pins(Vec::new())), TlsError::NoPins));
    let none = system_roots(CertificateResult::default()).unwrap_err();
    assert!(matches!(&none, TlsError::NoRoots { .. }));
    assert!(none.to_string().contains("no root certificates"), "{none}");
}

/// The system's store may hold what is no certificate.
#[tokio::test]
async fn roots_of_the_system_are_trusted_and_odd_ones_passed_over() {
    let authority = Authority::new();
    let mut found = CertificateResult::default();
    found.certs = read_pem(&authority.path()).unwrap().certificates;
    found.certs.push(CertificateDer::from(vec![0x30, 0]));
    assert_eq!(system_roots(found).unwrap().len(), 1);
    match Client::load(Trust::SystemRoots).await {
        Ok(client) => {
            // Whoever the system trusts, it is not this authority.
            let fault = refusal(&client, &authority.issue(nothing)).await;
            assert!(
                matches!(fault, CertificateFault::UnknownIssuer { .. }),
                "{fault}"
            );
        }
        Err(TlsError::NoRoots { .. }) => eprintln!("skipped: this system has no roots"),
        Err(other) => panic!("{other}"),
    }
}

/// S44: a broken file leaves the old authorities in service.
#[tokio::test]
async fn authorities_are_exchanged_and_broken_ones_are_not() {
    let (one, other) = (Authority::new(), Authority::new());
    let (first, second) = (one.issue(nothing), other.issue(nothing));
    let client = one.trusted();
    meet(&client, server(&first, BOTH), NAME).await.unwrap();

    fs::write(one.path(), "nothing here").unwrap();
    assert!(client.reload().await.is_err());
    meet(&client, server(&first, BOTH), NAME).await.unwrap();

    fs::copy(other.path(), one.path()).unwrap();
    client.reload().await.unwrap();
    meet(&client, server(&second, BOTH), NAME).await.unwrap();
    assert!(meet(&client, server(&first, BOTH), NAME).await.is_err());
    let loaded = Client::load(Trust::Ca(other.path())).await.unwrap();
    meet(&loaded, server(&second, BOTH), NAME).await.unwrap();
}
