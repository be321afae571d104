//! Sign-ins by token and by certificate, as real clients make them on both ports.

use std::{fs, path::Path, process::Command, time::SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use serde_json::json;

use crate::{
    clients::{self, Way},
    server::{ALICE, BOB, Server, Settings},
};

fn curl(way: &Way, message: &Path) -> Command {
    let scheme = if way.mode == "implicit" {
        "smtps"
    } else {
        "smtp"
    };
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--ssl-reqd", "--cacert"])
        .arg(way.ca)
        .args(["--url", &format!("{scheme}://localhost:{}", way.port)])
        .args(["--mail-from", ALICE, "--mail-rcpt", BOB, "--upload-file"])
        .arg(message);
    command
}

fn curl_is_here() -> bool {
    clients::present(
        "curl",
        clients::answers(Command::new("curl").arg("--version")),
    )
}

fn message(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("message");
    fs::write(
        &file,
        format!("From: {ALICE}\r\nSubject: x\r\n\r\nVouched for.\r\n"),
    )
    .unwrap();
    file
}

/// Sends through both ports; gives how many messages came.
fn sent(server: &Server, send: impl Fn(&Way) -> Command) -> usize {
    let ca = server.path("certs/ca.pem");
    for (mode, address) in [
        ("implicit", server.submissions),
        ("starttls", server.submission),
    ] {
        let way = Way {
            mode,
            port: address.port(),
            ca: &ca,
            subject: String::new(),
        };
        let output = send(&way).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        // 67 is curl's number for a sign-in that was refused.
        let refused = output.status.code() == Some(67);
        assert!(output.status.success() || refused, "{mode}: {shown}");
    }
    server.delivered(BOB).len()
}

/// R7628-3a.
#[test]
fn curl_signs_in_with_a_token() {
    if !curl_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let mut public =
        serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).unwrap();
    public["kid"] = json!("k1");
    let keys = folder.path().join("keys.json");
    fs::write(&keys, json!({ "keys": [public] }).to_string()).unwrap();
    let table = format!(
        "issuer = \"https://id.example\"\naudience = [\"mail\"]\nkeys = \"{}\"",
        keys.display()
    );
    let server = Server::with(Settings::new().with("oauth", &table));
    let token = |email: &str, audience: &str| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let claims = json!({
            "iss": "https://id.example",
            "aud": audience,
            "exp": now.unwrap().as_secs() + 300,
            "email": email,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".into());
        encode(&header, &claims, &key).unwrap()
    };
    let file = message(folder.path());
    let send = |mechanism: &str, token: &str| {
        let login = format!("AUTH={mechanism}");
        sent(&server, |way| {
            let mut command = curl(way, &file);
            command.args(["--login-options", &login, "--user", ALICE]);
            command.args(["--oauth2-bearer", token]);
            command
        })
    };
    assert_eq!(send("OAUTHBEARER", &token(ALICE, "mail")), 2);
    assert_eq!(send("XOAUTH2", &token(ALICE, "mail")), 4);
    // Meant for another service, and for another person.
    assert_eq!(send("OAUTHBEARER", &token(ALICE, "wiki")), 4);
    assert_eq!(send("XOAUTH2", &token(BOB, "mail")), 4);
    assert_eq!(send("XOAUTH2", &token("nobody@example.org", "mail")), 4);
    server.manage(&["user", "disable", ALICE]);
    assert_eq!(send("OAUTHBEARER", &token(ALICE, "mail")), 4);
    let log = server.log();
    assert!(log.contains("meant for somebody else"), "{log}");
    assert!(
        !log.contains(&token(ALICE, "mail")[..40]),
        "a token is in the log"
    );
}

/// A certificate and its key in one file, signed by nobody, or by an authority.
fn identity(file: &Path, address: &str, by: Option<&CertifiedIssuer<'_, KeyPair>>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![SanType::Rfc822Name(address.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = match by {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let text = certificate.unwrap().pem() + &key.serialize_pem();
    fs::write(file, text).unwrap();
}

/// R8314-4.2c, R8314-4.2b.
#[test]
fn curl_signs_in_with_a_certificate() {
    if !curl_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(here.join("authority.pem"), issuer.pem()).unwrap();
    identity(&here.join("own.pem"), "whoever@example.org", None);
    identity(&here.join("alice.pem"), ALICE, Some(&issuer));
    identity(&here.join("forged.pem"), ALICE, None);
    let table = format!(
        "ask = true\nca = \"{}\"",
        here.join("authority.pem").display()
    );
    let server = Server::with(Settings::new().with("client_certificates", &table));
    let file = message(here);
    let send = |name: &str| {
        sent(&server, |way| {
            let mut command = curl(way, &file);
            let user = format!("{ALICE}:");
            command.args([
                "--login-options",
                "AUTH=EXTERNAL",
                "--user",
                &user,
                "--cert",
            ]);
            command.arg(here.join(name));
            command
        })
    };
    assert_eq!(send("alice.pem"), 2, "{}", server.log());
    assert_eq!(send("forged.pem"), 2);
    assert_eq!(send("own.pem"), 2);
    let own = here.join("own.pem");
    let add = [
        "user",
        "certificate",
        "add",
        ALICE,
        "--label",
        "printer",
        "--file",
    ];
    server.manage(&[&add[..], &[own.to_str().unwrap()]].concat());
    assert_eq!(send("own.pem"), 4);
    let listed = server.manage(&["user", "certificate", "list", ALICE]);
    let fingerprint = listed
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap();
    server.manage(&["user", "certificate", "remove", ALICE, fingerprint]);
    assert_eq!(send("own.pem"), 4);
    // Whoever comes without one signs in as ever.
    let mut client = server.greeted();
    client.send(b"EHLO client.example\r\n").unwrap();
    let ehlo = client.reply().unwrap().join("\n");
    assert!(
        ehlo.contains("AUTH PLAIN LOGIN") && !ehlo.contains("EXTERNAL"),
        "{ehlo}"
    );
    // Neither a file nor a fingerprint.
    assert!(
        server
            .gatepost(&["user", "certificate", "add", BOB, "--label", "x"], "")
            .is_err()
    );
}
