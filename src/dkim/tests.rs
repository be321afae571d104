use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::Mutex,
    time::{Instant, SystemTime},
};

use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{parse::TxtRecordParser, verify::DomainKey},
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use secrecy::ExposeSecret;

use super::*;
use crate::store::dkim::{Algorithm, NewKey};

/// The DNS of the verifier: records of keys, and nothing else.
struct Published(Mutex<HashMap<Box<str>, Txt>>);

impl ResolverCache<Box<str>, Txt> for Published {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn remove<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.lock().unwrap().remove(name)
    }

    fn insert(&self, name: Box<str>, value: Txt, _: Instant) {
        self.0.lock().unwrap().insert(name, value);
    }
}

struct World {
    _directory: tempfile::TempDir,
    store: Store,
    dkim: Arc<Dkim>,
    published: Published,
}

impl World {
    /// Keys of both kinds for `ours.example`, published.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let domain = Domain::parse("ours.example").unwrap();
        store.add_domain(&domain, SystemTime::now()).await.unwrap();
        let published = Published(Mutex::default());
        let keys = [("r1", Algorithm::Rsa), ("e1", Algorithm::Ed25519)].map(|(selector, kind)| {
            let pair = KeyPair::generate(kind).unwrap();
            let text = record(kind, &pair.public_key);
            let read = DomainKey::parse(text.as_bytes()).unwrap();
            let name = format!("{selector}._domainkey.ours.example.");
            published.insert(name.into(), Txt::DomainKey(Arc::new(read)), Instant::now());
            NewKey {
                selector: selector.into(),
                algorithm: kind,
                private_key: pair.private_key,
                public_key: pair.public_key,
            }
        });
        let now = SystemTime::now();
        store.add_dkim_keys(&domain, &keys, now).await.unwrap();
        let dkim = Dkim::open(store.clone()).await.unwrap();
        World {
            _directory: directory,
            store,
            dkim,
            published,
        }
    }

    fn sign(&self, header: &str, body: &str) -> String {
        let signers = self.dkim.signers(header.as_bytes());
        let signed = signers.sign(header.as_bytes(), &mut body.as_bytes());
        String::from_utf8(signed.unwrap()).unwrap()
    }

    /// What an independent verifier says of each signature.
    async fn verify(&self, message: &str) -> Vec<bool> {
        let parsed = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
        // Nothing is asked of it: every record is in the cache.
        let verifier = MessageAuthenticator::new_cloudflare().unwrap();
        let asked = Parameters::new(&parsed).with_txt_cache(&self.published);
        let results = verifier.verify_dkim(asked).await;
        results
            .iter()
            .map(|it| *it.result() == DkimResult::Pass)
            .collect()
    }
}

const HEADER: &str = "Received: from x by y; now\r\nFrom: A <a@ours.example>\r\nTo: b@there.example\r\n\
                      Subject: Greetings  and\r\n  more\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n\
                      Message-ID: <1@ours.example>\r\nX-Other: o\r\n\r\n";

/// R6376-5.3a, R6376-5.4a, R8301-3a, R8463-5a.
#[tokio::test]
async fn both_signatures_hold_for_an_independent_verifier() {
    let world = World::new().await;
    for body in ["", "\r\n\r\n", "One \t line \r\n\r\n\r\n", "..\r\nno end"] {
        let signed = world.sign(HEADER, body);
        assert!(signed.ends_with(HEADER), "{signed}");
        assert_eq!(
            world.verify(&format!("{signed}{body}")).await,
            [true, true],
            "{body:?}"
        );
        let changed = format!("{signed}{body}x");
        assert_eq!(world.verify(&changed).await, [false, false], "{body:?}");
    }
    let signed = world.sign(HEADER, "");
    assert!(signed.contains("a=rsa-sha256; s=r1; d=ours.example; c=relaxed/relaxed"));
    assert!(signed.contains("a=ed25519-sha256; s=e1; d=ours.example; c=relaxed/relaxed"));
    assert!(!signed.contains(" l="), "{signed}");
}

/// R6376-5.4c, and RFC 6376 §8.15.
#[tokio::test]
async fn nobody_can_add_a_field_that_matters() {
    let world = World::new().await;
    let signed = world.sign(HEADER, "body\r\n");
    for (field, holds) in [
        ("From: b@evil.example\r\n", false),
        ("Subject: Other\r\n", false),
        ("To: c@there.example\r\n", false),
        ("Cc: c@there.example\r\n", false),
        ("Reply-To: b@evil.example\r\n", false),
        ("Content-Type: text/html\r\n", false),
        ("TLS-Required: No\r\n", false),
        ("Received: from y by z; later\r\n", true),
        ("List-Id: <list.example>\r\n", true),
        ("X-Other: p\r\n", true),
    ] {
        for message in [
            format!("{field}{signed}body\r\n"),
            format!(
                "{}{field}\r\nbody\r\n",
                signed.strip_suffix("\r\n").unwrap()
            ),
        ] {
            assert_eq!(world.verify(&message).await, [holds, holds], "{message}");
        }
    }
}

/// R6376-5.4b.
#[tokio::test]
async fn names_are_listed_once_more_than_they_stand_there() {
    let world = World::new().await;
    let header = "Received: r\r\nReturn-Path: <a@ours.example>\r\nSubject: s\r\nComments: c\r\n\
                  sender: a@ours.example\r\nfrom: a@ours.example\r\n\r\n";
    let signed = world.sign(header, "");
    let flat = signed.replace("\r\n\t", "");
    let listed = flat.split("; h=").nth(1).or(flat.split(";h=").nth(1));
    let listed = listed.unwrap().split(';').next().unwrap().to_lowercase();
    let names: Vec<_> = listed.split(':').map(str::trim).collect();
    let count = |name| names.iter().filter(|it| **it == name).count();
    for (name, times) in [
        ("from", 2),
        ("subject", 2),
        ("sender", 1),
        ("to", 1),
        ("received", 0),
        ("return-path", 0),
        ("comments", 0),
        ("list-id", 0),
    ] {
        assert_eq!(count(name), times, "{name} in {listed}");
    }
    assert_eq!(world.verify(&signed).await, [true, true]);
}

#[tokio::test]
async fn the_domains_of_authors_sign_and_nobody_else() {
    let world = World::new().await;
    for (from, domains) in [
        ("a@ours.example", Some("ours.example")),
        ("a@OURS.example", Some("ours.example")),
        ("a@deep.sub.ours.example", Some("ours.example")),
        ("a@ours.example, b@sub.ours.example", Some("ours.example")),
        ("a@theirs.example", None),
        ("a@notours.example", None),
        ("a@example", None),
        ("a@[192.0.2.1]", None),
    ] {
        let header = format!("From: {from}\r\n\r\n");
        let signers = world.dkim.signers(header.as_bytes());
        assert_eq!(signers.domains().as_deref(), domains, "{from}");
    }
}

#[tokio::test]
async fn a_key_signs_as_soon_and_as_long_as_it_is_in_the_store() {
    let world = World::new().await;
    let ours = Domain::parse("ours.example").unwrap();
    let now = SystemTime::now();
    for (selector, left) in [("r1", 1), ("e1", 0)] {
        let retired = world.store.retire_dkim_key(&ours, selector, now).await;
        retired.unwrap();
        world.dkim.reload().await.unwrap();
        let signed = world.sign(HEADER, "");
        assert_eq!(signed.matches("DKIM-Signature").count(), left);
        assert!(!signed.contains(&format!("s={selector};")));
    }
    assert!(Dkim::silent().signers(HEADER.as_bytes()).is_empty());
}

#[tokio::test]
async fn our_own_signatures_come_off_again_and_nobody_elses() {
    let world = World::new().await;
    let theirs =
        "Received: r\r\nDKIM-Signature: v=1; d=theirs.example\r\nFrom: a@ours.example\r\n\r\n";
    let signed = world.sign(theirs, "");
    assert_eq!(signed.matches("DKIM-Signature").count(), 3);
    assert_eq!(unsigned(signed.as_bytes()), theirs.as_bytes());
    assert_eq!(unsigned(theirs.as_bytes()), theirs.as_bytes());
    assert_eq!(unsigned(b"no field"), b"no field");
}

/// R8301-3a: nothing weaker than 2048 bits, and nothing that DKIM does not know.
#[test]
fn keys_made_elsewhere_are_read_or_refused() {
    for kind in [Algorithm::Rsa, Algorithm::Ed25519] {
        let made = KeyPair::generate(kind).unwrap();
        let der = PrivatePkcs8KeyDer::from(made.private_key.expose_secret().to_vec());
        let read = KeyPair::read(&der.into()).unwrap();
        assert_eq!(read.algorithm, kind);
        assert_eq!(read.public_key, made.public_key);
    }
    let curve = rcgen::KeyPair::generate().unwrap();
    let curve = PrivatePkcs8KeyDer::from(curve.serialize_der());
    assert!(KeyPair::read(&curve.into()).is_err());
    let text = record(Algorithm::Ed25519, &[0; 32]);
    let zeros = "A".repeat(43);
    assert_eq!(text, format!("v=DKIM1; h=sha256; k=ed25519; p={zeros}="));
}
