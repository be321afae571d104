//! Policies from a real HTTPS server, found by a DNS that says what it is told to.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::dns::{Kind, fake::Fake, fake::Insecure};

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.asks.example\nmax_age: 864000\n";
const WAIT: Duration = Duration::from_secs(300);

/// A policy host, the DNS in which it is found, and the store behind the keeper.
struct World {
    directory: tempfile::TempDir,
    dns: Arc<Fake>,
    store: Store,
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

fn http(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn plain(policy: &str) -> Vec<u8> {
    http("200 OK", "Content-Type: text/plain\r\n", policy)
}

impl World {
    async fn new() -> World {
        World::with(|params| params.clone(), true).await
    }

    /// With another certificate, or an authority that nobody trusts.
    async fn with(
        change: impl FnOnce(&CertificateParams) -> CertificateParams,
        trusted: bool,
    ) -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let authority = || {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&key).unwrap().pem();
            (Issuer::new(params, key), pem)
        };
        let ((issuer, pem), (_, other)) = (authority(), authority());
        let file = directory.path().join("ca.pem");
        fs::write(file, if trusted { pem } else { other }).unwrap();
        let names = ["mta-sts.asks.example".to_owned()];
        let params = change(&CertificateParams::new(names).unwrap());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(crate::tls::provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(plain(POLICY)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, counted) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, says, counted) = (acceptor.clone(), says.clone(), counted.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(socket).await.ok()?;
                    let mut request = [0; 4096];
                    let count = stream.read(&mut request).await.ok()?;
                    let request = String::from_utf8_lossy(&request[..count]).into_owned();
                    assert!(request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
                    counted.fetch_add(1, Relaxed);
                    let answer = says.lock().unwrap().clone();
                    stream.write_all(&answer).await.ok()?;
                    stream.flush().await.ok()?;
                    // Whoever waits for more waits in vain.
                    stream.read(&mut [0]).await.ok()
                });
            }
        });
        let dns = Fake::new();
        dns.txt("_mta-sts.asks.example", &["v=STSv1; id=1;"]);
        dns.address("mta-sts.asks.example", [127, 0, 0, 1].into(), Insecure);
        World {
            directory,
            dns,
            store,
            port,
            answer,
            asked,
        }
    }

    /// A keeper as after a start; it remembers no answers of the DNS.
    async fn keeper(&self, now: SystemTime) -> Arc<Sts> {
        let options = Options {
            port: self.port,
            authorities: Some(self.directory.path().join("ca.pem")),
            timeout: Duration::from_millis(500),
            wait_after_failure: WAIT,
            ..Options::default()
        };
        let (dns, store) = (self.dns.dns(), self.store.clone());
        Sts::open(options, dns, store, now).await.unwrap()
    }

    fn answers(&self, octets: Vec<u8>) {
        *self.answer.lock().unwrap() = octets;
    }

    fn publishes(&self, id: &str) {
        let text = format!("v=STSv1; id={id};");
        self.dns.txt("_mta-sts.asks.example", &[&text]);
    }

    fn fetches(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

fn asks() -> Domain {
    Domain::parse("asks.example").unwrap()
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

/// R8461-3.2a, R8461-3.2b, R8461-3.3b: only a plain answer of the policy host counts.
#[tokio::test]
async fn whatever_is_not_a_plain_policy_is_none() {
    let world = World::new().await;
    let text = "Content-Type: text/plain\r\n";
    let location = "Location: https://mta-sts.asks.example/other\r\n";
    let long = format!("{POLICY}{}", "x: y\n".repeat(20_000));
    let cut = {
        let mut whole = plain(POLICY);
        whole.truncate(whole.len() - 5);
        whole
    };
    let kinds = [
        (
            http("301 Moved", location, POLICY),
            FetchKind::Fetch,
            "HTTP status 301",
        ),
        (
            http("404 Not Found", text, POLICY),
            FetchKind::Fetch,
            "HTTP status 404",
        ),
        (
            http("204 No Content", text, ""),
            FetchKind::Fetch,
            "HTTP status 204",
        ),
        (
            http("200 OK", "Content-Type: text/html\r\n", POLICY),
            FetchKind::Fetch,
            "media type \"text/html\"",
        ),
        (http("200 OK", "", POLICY), FetchKind::Fetch, "media type"),
        (plain(&long), FetchKind::Invalid, ""),
        (
            plain("version: STSv1\nmode: enforce\nmx: a.example\n"),
            FetchKind::Invalid,
            "",
        ),
        (plain(""), FetchKind::Invalid, ""),
        (cut, FetchKind::Fetch, "within 0 s"),
        (
            b"SSH-2.0-x\r\n".to_vec(),
            FetchKind::Fetch,
            "mta-sts.asks.example",
        ),
    ];
    for (n, (answer, kind, words)) in kinds.into_iter().enumerate() {
        world.answers(answer);
        let sts = world.keeper(noon()).await;
        let state = sts.of(&asks(), noon()).await;
        assert_eq!(state.policy(), None, "{n}");
        let trouble = state.trouble().unwrap_or_else(|| panic!("{n}"));
        assert_eq!(trouble.kind, kind, "{n}: {trouble}");
        assert!(trouble.text.contains(words), "{n}: {trouble}");
    }
    let octets = [plain(POLICY), vec![0xff]].concat();
    let length = format!("Content-Length: {}", POLICY.len());
    let more = format!("Content-Length: {}", POLICY.len() + 1);
    let octets = String::from_utf8_lossy(&octets).replace(&length, &more);
    world.answers(octets.into_bytes());
    let with_charset = "Content-Type: Text/Plain; charset=utf-8\r\n";
    world.answers(http("200 OK", with_charset, POLICY));
    let sts = world.keeper(noon()).await;
    let state = sts.of(&asks(), noon()).await;
    assert_eq!(state.policy().map(|it| it.mode), Some(StsMode::Enforce));
    assert_eq!(state.text(), Some(POLICY));
}

/// R8461-3.3a, R8461-7.1a: the policy host proves to be it, or there is no policy.
#[tokio::test]
async fn a_policy_host_must_prove_its_name() {
    let wrong_name =
        |_: &CertificateParams| CertificateParams::new(["asks.example".to_owned()]).unwrap();
    let expired = |params: &CertificateParams| {
        let mut params = params.clone();
        params.not_after = (SystemTime::now() - DAY).into();
        params
    };
    for world in [
        World::with(wrong_name, true).await,
        World::with(expired, true).await,
        World::with(Clone::clone, false).await,
    ] {
        let sts = world.keeper(noon()).await;
        let state = sts.of(&asks(), noon()).await;
        assert_eq!(state.policy(), None);
        let trouble = state.trouble().unwrap();
        assert_eq!(trouble.kind, FetchKind::WebPki, "{trouble}");
        assert_eq!(world.fetches(), 0);
    }
}

/// R8461-3.1a, R8461-3.3e: what was fetched counts until it expires, whatever has become of
/// the record, the host or this process meanwhile; it is fetched anew for a new id only.
#[tokio::test]
async fn a_policy_counts_until_it_expires_whatever_happens() {
    let world = World::new().await;
    let sts = world.keeper(noon()).await;
    let enforced = |state: &StsState| state.policy().is_some_and(|it| it.mode == StsMode::Enforce);
    assert!(enforced(&sts.of(&asks(), noon()).await));
    assert!(enforced(&sts.of(&asks(), noon() + DAY).await));
    assert_eq!(world.fetches(), 1, "the same id");

    world.dns.forget("_mta-sts.asks.example", Kind::Txt);
    world.answers(http("404 Not Found", "", ""));
    let later = noon() + 9 * DAY;
    let again = world.keeper(later).await;
    assert!(
        enforced(&again.of(&asks(), later).await),
        "record gone, and a restart"
    );
    world.dns.bogus("_mta-sts.asks.example", Kind::Txt);
    let again = world.keeper(later).await;
    assert!(enforced(&again.of(&asks(), later).await), "record forged");
    world.publishes("2");
    let again = world.keeper(later).await;
    let state = again.of(&asks(), later).await;
    assert!(
        enforced(&state) && state.trouble().is_some(),
        "new one not to be had"
    );
    let end = noon() + 10 * DAY;
    let expired = world.keeper(end).await.of(&asks(), end).await;
    assert_eq!(expired.policy(), None);

    world.answers(plain(&POLICY.replace("enforce", "testing")));
    let state = world.keeper(end).await.of(&asks(), end).await;
    assert_eq!(state.policy().map(|it| it.mode), Some(StsMode::Testing));
    // A clock that was set back by years lets nothing live longer than it may.
    world.dns.forget("_mta-sts.asks.example", Kind::Txt);
    let before = noon() - 400 * DAY;
    assert_eq!(
        world
            .keeper(before)
            .await
            .of(&asks(), before)
            .await
            .policy(),
        None
    );
}

/// R8461-3.3c, R8461-3.3d: a fetch that failed is not repeated at once.
#[tokio::test]
async fn a_fetch_that_failed_waits() {
    let world = World::new().await;
    world.answers(http("500 Oops", "", ""));
    let sts = world.keeper(noon()).await;
    for seconds in [0, 1, 299] {
        let now = noon() + Duration::from_secs(seconds);
        assert_eq!(sts.of(&asks(), now).await.policy(), None);
        assert_eq!(world.fetches(), 1);
    }
    world.answers(plain(POLICY));
    let state = sts.of(&asks(), noon() + WAIT).await;
    assert!(state.policy().is_some() && state.trouble().is_none());
}

/// R8461-3.3f: a day old, a policy is fetched anew, also where its id is the same; never
/// earlier, and not again at once where that failed.
#[tokio::test]
async fn policies_are_fetched_anew_each_day() {
    let world = World::new().await;
    let sts = world.keeper(noon()).await;
    sts.of(&asks(), noon()).await;
    let second = Duration::from_secs(1);
    sts.refresh_due(noon() + DAY - second).await;
    assert_eq!(world.fetches(), 1);
    world.answers(plain(&POLICY.replace("mx.asks", "mx2.asks")));
    sts.refresh_due(noon() + DAY).await;
    assert_eq!(world.fetches(), 2);
    let state = sts.of(&asks(), noon() + DAY).await;
    assert!(state.text().unwrap().contains("mx2.asks"));
    // It lives from its last fetch on.
    let state = sts.of(&asks(), noon() + 10 * DAY + second).await;
    assert!(state.policy().is_some());

    world.answers(http("500 Oops", "", ""));
    let due = noon() + 2 * DAY;
    sts.refresh_due(due).await;
    sts.refresh_due(due + second).await;
    assert_eq!(world.fetches(), 3);
    sts.refresh_due(due + WAIT).await;
    assert_eq!(world.fetches(), 4);
    assert!(sts.of(&asks(), due).await.policy().is_some());
    // Expired, it is forgotten.
    sts.refresh_due(noon() + 12 * DAY).await;
    let left = world.store.sts_policies(noon(), 10).await.unwrap();
    assert!(left.is_empty());
}

/// R8461-5c: where every host falls short, a newer policy is looked for under the same id.
#[tokio::test]
async fn a_policy_that_nobody_lives_up_to_is_looked_at_again() {
    let world = World::new().await;
    let sts = world.keeper(noon()).await;
    sts.of(&asks(), noon()).await;
    sts.look_again(&asks(), noon() + WAIT / 2).await;
    assert_eq!(world.fetches(), 1);
    sts.look_again(&asks(), noon() + WAIT).await;
    assert_eq!(world.fetches(), 2);
}

/// R8461-3.4b: a policy is that of its domain and of none below it; domains without a record cost a
/// question and no memory.
#[tokio::test]
async fn domains_without_a_policy_are_not_remembered() {
    let world = World::new().await;
    let sts = world.keeper(noon()).await;
    let below = Domain::parse("below.asks.example").unwrap();
    assert_eq!(sts.of(&below, noon()).await, StsState::none());
    let asked = world.dns.asked();
    assert!(
        asked
            .iter()
            .all(|(name, _)| name != "_mta-sts.asks.example"),
        "{asked:?}"
    );
    for n in 0..20 {
        let domain = Domain::parse(&format!("d{n}.example")).unwrap();
        assert_eq!(sts.of(&domain, noon()).await, StsState::none());
    }
    assert!(sts.known().is_empty());
    assert_eq!(world.fetches(), 0);
}
