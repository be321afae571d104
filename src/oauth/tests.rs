//! Tokens against an issuer of this process: its keys, their rotation, its answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, extract::State, http::HeaderMap, routing};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::*;

/// A key of the issuer's.
struct Pen {
    id: &'static str,
    key: EncodingKey,
    public: Value,
}

impl Pen {
    fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut public =
            serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).unwrap();
        public["kid"] = json!(id);
        Pen { id, key, public }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example",
        "aud": ["mail", "calendar"],
        "exp": seconds() + 300,
        "email": "alice@example.org",
        "scope": "openid mail.send",
    })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn options(keys: Option<KeySource>, introspection: Option<Introspection>) -> Options {
    Options {
        issuer: "https://id.example".into(),
        audiences: vec!["mail".into()],
        keys,
        introspection,
        claim: "email".into(),
        domain: "example.org".into(),
        scope: "mail.send".into(),
        authorities: None,
        limit: Duration::from_secs(5),
    }
}

fn in_file(folder: &tempfile::TempDir, keys: &[&Value]) -> KeySource {
    let path = folder.path().join("keys.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    KeySource::File(path)
}

#[tokio::test]
async fn a_signed_token_is_looked_at_from_all_sides() {
    let (folder, pen, other) = (tempfile::tempdir().unwrap(), Pen::new("a"), Pen::new("a"));
    // A key that nobody knows what to do with keeps no other from being used.
    let strange = json!({ "kty": "XYZ", "kid": "x" });
    let from = in_file(&folder, &[&strange, &pen.public]);
    let verifier = Verifier::open(options(Some(from), None)).unwrap();
    for (claims, expected) in [
        (claims(), Ok("alice@example.org")),
        (with("aud", json!("mail")), Ok("alice@example.org")),
        (with("email", json!("alice")), Ok("alice@example.org")),
        (with("email_verified", json!(true)), Ok("alice@example.org")),
        (with("exp", json!(seconds() - 30)), Ok("alice@example.org")),
        (
            with("exp", json!(seconds() - 120)),
            Err("the token has expired"),
        ),
        (with("exp", Value::Null), Err("no claim \"exp\"")),
        (with("nbf", json!(seconds() + 120)), Err("not valid yet")),
        (
            with("aud", json!("calendar")),
            Err("meant for somebody else"),
        ),
        (with("aud", Value::Null), Err("no claim \"aud\"")),
        (
            with("iss", json!("https://id.example/")),
            Err("another issuer"),
        ),
        (with("iss", Value::Null), Err("no claim \"iss\"")),
        (
            with("scope", json!("mail.sendmore")),
            Err("the scope lacks \"mail.send\""),
        ),
        (with("email", Value::Null), Err("no claim \"email\"")),
        (with("email", json!("")), Err("no claim \"email\"")),
        (
            with("email_verified", json!(false)),
            Err("the address is not verified"),
        ),
    ] {
        let name = verifier.name(&pen.sign(&claims)).await;
        let name = name.map_err(|refusal| refusal.to_string());
        assert_eq!(
            name.as_deref(),
            expected.map_err(str::to_owned).as_deref(),
            "{claims}"
        );
    }
    let forged = verifier.name(&other.sign(&claims())).await;
    assert_eq!(forged, Err(invalid("the signature is not its issuer's")));
}

/// A token signed with the public key as if it were a secret, and one that is not signed.
#[tokio::test]
async fn weak_algorithms_are_not_taken() {
    let (folder, pen) = (tempfile::tempdir().unwrap(), Pen::new("a"));
    let verifier = Verifier::open(options(Some(in_file(&folder, &[&pen.public])), None)).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("a".into());
    let secret = EncodingKey::from_secret(pen.public.to_string().as_bytes());
    let by_secret = encode(&header, &claims(), &secret).unwrap();
    let refused = verifier.name(&by_secret).await.unwrap_err();
    assert!(refused.to_string().contains("HS256"), "{refused}");
    let part = |value: Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let unsigned = format!("{}.{}.", part(json!({ "alg": "none" })), part(claims()));
    for token in [unsigned.as_str(), "", "a", "a.b.c", "..."] {
        assert!(
            matches!(verifier.name(token).await, Err(Refusal::Invalid(_))),
            "{token}"
        );
    }
}

#[derive(Clone, Default)]
struct Issuer {
    keys: Arc<std::sync::Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
}

async fn serve(issuer: Issuer) -> String {
    let keys = |State(issuer): State<Issuer>| async move {
        issuer.asked.fetch_add(1, Ordering::Relaxed);
        let keys = issuer.keys.lock().unwrap().clone();
        Json(json!({ "keys": keys }))
    };
    let introspect = |State(issuer): State<Issuer>, headers: HeaderMap, body: String| async move {
        issuer.asked.fetch_add(1, Ordering::Relaxed);
        // gatepost:p%26ss
        assert_eq!(headers["authorization"], "Basic Z2F0ZXBvc3Q6cCUyNnNz");
        Json(
            match body
                .strip_suffix("&token_type_hint=access_token")
                .unwrap_or_default()
            {
                "token=good%2B%2F%3D" => json!({
                    "active": true, "aud": "mail", "email": "bob@example.org", "scope": "mail.send",
                }),
                "token=theirs" => json!({
                    "active": true, "aud": "wiki", "email": "bob@example.org", "scope": "mail.send",
                }),
                "token=old" => {
                    json!({ "active": true, "aud": "mail", "exp": 1, "email": "b@example.org" })
                }
                "token=strange" => json!({ "hello": "world" }),
                _ => json!({ "active": false }),
            },
        )
    };
    let app = Router::new()
        .route("/keys", routing::get(keys))
        .route("/introspect", routing::post(introspect))
        .with_state(issuer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn an_issuer_may_change_its_keys() {
    let (old, new) = (Pen::new("old"), Pen::new("new"));
    let issuer = Issuer::default();
    let url = serve(issuer.clone()).await;
    *issuer.keys.lock().unwrap() = vec![old.public.clone()];
    let from = KeySource::Url(format!("{url}/keys").parse().unwrap());
    let verifier = Verifier::open(options(Some(from), None)).unwrap();
    assert!(verifier.name(&old.sign(&claims())).await.is_ok());
    assert!(verifier.name(&old.sign(&claims())).await.is_ok());
    assert_eq!(
        issuer.asked.load(Ordering::Relaxed),
        1,
        "keys are remembered"
    );
    *issuer.keys.lock().unwrap() = vec![new.public.clone()];
    // Whoever invents names of keys cannot make us ask for each of them.
    assert!(verifier.name(&new.sign(&claims())).await.is_err());
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    tokio::time::resume();
    assert!(verifier.name(&new.sign(&claims())).await.is_ok());
    assert!(verifier.name(&old.sign(&claims())).await.is_err());
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_issuer_that_is_away_takes_no_key_away_for_a_day() {
    let (folder, pen) = (tempfile::tempdir().unwrap(), Pen::new("a"));
    let from = in_file(&folder, &[&pen.public]);
    let KeySource::File(path) = from.clone() else {
        unreachable!()
    };
    let verifier = Verifier::open(options(Some(from), None)).unwrap();
    let token = pen.sign(&with("exp", json!(seconds() + 90_000)));
    assert!(verifier.name(&token).await.is_ok());
    std::fs::remove_file(path).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(verifier.name(&token).await.is_ok());
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert!(matches!(
        verifier.name(&token).await,
        Err(Refusal::Unavailable(_))
    ));
}

#[tokio::test]
async fn an_issuer_is_asked_about_tokens_that_say_nothing() {
    let issuer = Issuer::default();
    let url = serve(issuer.clone()).await;
    let service = Introspection {
        url: format!("{url}/introspect").parse().unwrap(),
        client_id: "gatepost".into(),
        client_secret: "p&ss".into(),
        remember: Duration::from_secs(60),
    };
    let verifier = Verifier::open(options(None, Some(service.clone()))).unwrap();
    for _ in 0..2 {
        assert_eq!(
            verifier.name("good+/=").await.as_deref(),
            Ok("bob@example.org")
        );
    }
    assert_eq!(
        issuer.asked.load(Ordering::Relaxed),
        1,
        "answers are remembered"
    );
    assert_eq!(
        verifier.name("theirs").await,
        Err(invalid("meant for somebody else"))
    );
    assert_eq!(verifier.name("old").await, Err(Refusal::Expired));
    let before = issuer.asked.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert!(matches!(
            verifier.name("bad").await,
            Err(Refusal::Invalid(_))
        ));
    }
    let asked = issuer.asked.load(Ordering::Relaxed) - before;
    assert_eq!(asked, 1, "refusals are remembered");
    assert!(matches!(
        verifier.name("strange").await,
        Err(Refusal::Unavailable(_))
    ));
    let away = Introspection {
        url: "http://127.0.0.1:1/introspect".parse().unwrap(),
        ..service
    };
    let verifier = Verifier::open(options(None, Some(away))).unwrap();
    assert!(matches!(
        verifier.name("x").await,
        Err(Refusal::Unavailable(_))
    ));
}
