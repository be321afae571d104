//! Users of somebody else's list: OpenLDAP, Dovecot, and a service over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use crate::{
    hop::authority,
    peers::{self, Dovecot, Slapd},
    scram::by_msmtp,
    server::{ALICE, BOB, PASSWORD, Server, Settings, send, sign_in, sign_in_scram, wait_for},
    wire::Client,
};

fn settings(kind: &str, lines: &[&str]) -> Settings {
    let mut settings = Settings::new()
        .with("directory", &format!("kind = \"{kind}\""))
        .with("directory", "remember = \"0s\"")
        .with("auth", "scram_iterations = 4096");
    for line in lines {
        settings = settings.with("directory", line);
    }
    settings
}

/// The reply to a sign-in, and the session.
fn signed_in(server: &Server, name: &str, password: &str) -> (String, Client) {
    let mut client = server.greeted();
    let reply = sign_in(&mut client, name, password);
    (reply, client)
}

fn refused(server: &Server, name: &str, password: &str) {
    let (reply, _) = signed_in(server, name, password);
    assert!(reply.starts_with("535 5.7.8"), "{name}: {reply}");
}

fn shown(server: &Server, name: &str) -> serde_json::Value {
    serde_json::from_str(&server.manage(&["--json", "user", "show", name])).unwrap()
}

/// Sends to bob as this address.
fn sends(client: &mut Client, address: &str) {
    let content = format!("From: {address}\r\nSubject: x\r\n\r\nHello.\r\n");
    let reply = send(client, address, &[BOB], content.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}

/// What holds for every directory that knows somebody by this name and password, with this address.
fn knows(server: &Server, name: &str, password: &str, address: &str) {
    refused(server, name, "not this one");
    let unknown = server.gatepost(&["user", "show", name], "");
    assert!(unknown.is_err(), "no account by a wrong password");
    let (reply, mut client) = signed_in(server, name, password);
    assert!(reply.starts_with("235"), "{reply}\n{}", server.log());
    sends(&mut client, address);
    let account = shown(server, name);
    assert_eq!(account["address"], address);
    assert_eq!(account["directory"], true);
    // It is an account like any other: rights, app passwords, and it can be closed.
    server.manage(&["user", "address", "add", name, "info@example.org"]);
    sends(&mut client, "info@example.org");
    let made = server.manage(&["--json", "app-password", "add", name, "--label", "phone"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let (reply, _) = signed_in(server, name, made["password"].as_str().unwrap());
    assert!(reply.starts_with("235"), "{reply}");
    server.manage(&["user", "disable", name]);
    refused(server, name, password);
    server.manage(&["user", "enable", name]);
    let (reply, _) = signed_in(server, name, password);
    assert!(reply.starts_with("235"), "{reply}");
    // Our own users stay ours.
    let (reply, _) = signed_in(server, ALICE, PASSWORD);
    assert!(reply.starts_with("235"), "{reply}");
    refused(server, ALICE, password);
    refused(server, "*@example.org", password);
    let log = server.log();
    assert!(!log.contains(password), "{log}");
}

#[test]
fn users_of_openldap_sign_in() {
    let Some(slapd) = Slapd::start() else { return };
    // By the name that follows from the login name, over a Unix socket.
    let url = format!("url = \"{}\"", slapd.socket());
    let dn = "bind_dn = \"uid={local},ou=people,dc=example,dc=org\"";
    let server = Server::with(settings("ldap", &[&url, dn]));
    knows(
        &server,
        "carol@example.org",
        peers::LDAP_SECRET,
        "carol@example.org",
    );
    // One person has one account, whatever name the directory forgives, also when it is closed.
    refused(&server, "carol", peers::LDAP_SECRET);
    server.manage(&["user", "disable", "carol@example.org"]);
    refused(&server, "carol", peers::LDAP_SECRET);
    refused(&server, "carol@elsewhere.example", peers::LDAP_SECRET);
    // The address is the directory's.
    knows(
        &server,
        "dave@example.org",
        peers::LDAP_SECRET,
        "David.Long@example.org",
    );
    refused(&server, "nobody@example.org", peers::LDAP_SECRET);
    refused(&server, "carol@example.org", "");

    // By a search, over a port with STARTTLS whose certificate is looked at.
    let url = format!("url = \"ldap://localhost:{}\"", slapd.address.port());
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), peers::LDAP_SECRET).unwrap();
    let file = format!("search_password_file = \"{}\"", secret.path().display());
    let reader = format!("search_dn = \"{}\"", peers::LDAP_READER);
    let ca = format!("ca = \"{}\"", authority().display());
    let base = "base = \"dc=example,dc=org\"";
    let filter = "filter = \"(&(objectClass=person)(mail={user}))\"";
    let lines = [&url, "starttls = true", base, filter, &reader, &file];
    let with_ca = [&lines[..], &[&ca]].concat();
    let server = Server::with(settings("ldap", &with_ca));
    knows(
        &server,
        "carol@example.org",
        peers::LDAP_SECRET,
        "carol@example.org",
    );
    // Found by any spelling; and one filter that fits two is no answer.
    let (reply, _) = signed_in(&server, "David.Long@EXAMPLE.org", peers::LDAP_SECRET);
    assert!(reply.starts_with("235"), "{reply}");
    let (reply, _) = signed_in(&server, "twice@example.org", peers::LDAP_SECRET);
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    server.logged(&["more than one entry fits"]);

    let server = Server::with(settings("ldap", &lines));
    let (reply, _) = signed_in(&server, "carol@example.org", peers::LDAP_SECRET);
    assert!(
        reply.starts_with("454 4.7.0"),
        "without its authority: {reply}"
    );
}

#[test]
fn users_of_dovecot_sign_in() {
    let Some(dovecot) = Dovecot::start() else {
        return;
    };
    let socket = format!("socket = \"{}\"", dovecot.auth().display());
    let server = Server::with(settings("dovecot", &[&socket]));
    server.manage(&["domain", "add", "any.example"]);
    knows(&server, peers::BOB, peers::DOVECOT_SECRET, peers::BOB);
    refused(&server, "nobody@any.example", peers::DOVECOT_SECRET);
    drop(dovecot);
    let (reply, _) = signed_in(&server, peers::CY, peers::DOVECOT_SECRET);
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    let (reply, _) = signed_in(&server, ALICE, PASSWORD);
    assert!(reply.starts_with("235"), "{reply}");
}

/// Proofs go through to Dovecot and back; who has an app password here proves that one here.
#[test]
fn users_of_dovecot_prove_their_passwords() {
    let Some(dovecot) = Dovecot::start() else {
        return;
    };
    let socket = format!("socket = \"{}\"", dovecot.auth().display());
    let settings = settings("dovecot", &[&socket]).with("auth", "scram = true");
    let server = Server::with(settings);
    server.manage(&["domain", "add", "any.example"]);
    let mut client = server.greeted();
    client.send(b"EHLO client.example\r\n").unwrap();
    let ehlo = client.reply().unwrap().join(" ");
    assert!(
        ehlo.contains("SCRAM-SHA-256 ") && !ehlo.contains("PLUS"),
        "{ehlo}"
    );
    let proved = |name: &str, password: &str| {
        let mut client = server.greeted();
        let reply = sign_in_scram(&mut client, name, password);
        (reply, client)
    };
    // Wrong ones look the same, whether somebody has that name or nobody.
    for (name, password) in [
        (peers::BOB, "not this one"),
        ("nobody@any.example", peers::DOVECOT_SECRET),
        (ALICE, "not this one"),
    ] {
        let (reply, _) = proved(name, password);
        assert!(reply.starts_with("535 5.7.8"), "{name}: {reply}");
    }
    let (reply, mut client) = proved(peers::BOB, peers::DOVECOT_SECRET);
    assert!(reply.starts_with("235"), "{reply}\n{}", server.log());
    sends(&mut client, peers::BOB);
    assert_eq!(shown(&server, peers::BOB)["directory"], true);
    let made = server.manage(&[
        "--json",
        "app-password",
        "add",
        peers::BOB,
        "--label",
        "phone",
    ]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let (reply, _) = proved(peers::BOB, made["password"].as_str().unwrap());
    assert!(reply.starts_with("235"), "{reply}");
    // Our own are proved here.
    let set = ["user", "passwd", ALICE, "--password-stdin"];
    server.gatepost(&set, "a-password-of-our-own\n").unwrap();
    let (reply, _) = proved(ALICE, "a-password-of-our-own");
    assert!(reply.starts_with("235"), "{reply}");
    let by_msmtp = by_msmtp(&server, peers::CY, peers::DOVECOT_SECRET);
    for message in by_msmtp.into_iter().flatten() {
        assert!(message.ends_with("Proved.\n"), "{message}");
    }
    // Nobody is kept waiting by those who go away in between.
    let first = |name: &str| {
        let message = data_encoding::BASE64.encode(format!("n,,n={name},r=abcdefgh").as_bytes());
        format!("AUTH SCRAM-SHA-256 {message}")
    };
    for _ in 0..20 {
        let mut client = server.greeted();
        let reply = client.ask(&first(peers::CY)).unwrap();
        assert!(reply.starts_with("334 "), "{reply}");
    }
    let (reply, _) = proved(peers::CY, peers::DOVECOT_SECRET);
    assert!(reply.starts_with("235"), "{reply}");
    drop(dovecot);
    let mut client = server.greeted();
    let reply = client.ask(&first(peers::STUCK)).unwrap();
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
}

/// Answers each question with what the function gives; keeps them.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
}

impl Service {
    fn start(answer: fn(&serde_json::Value) -> (&'static str, &'static str)) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while reader.read_line(&mut head).unwrap_or(0) > 2 {
                    let last = head.lines().last().unwrap().to_ascii_lowercase();
                    if last.is_empty() {
                        break;
                    }
                    if let Some(value) = last.strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_err() || length == 0 {
                    continue;
                }
                let question: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let (status, text) = answer(&question);
                kept.lock().unwrap().push((head, question));
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                    text.len()
                );
            }
        });
        Service { address, asked }
    }
}

#[test]
fn users_of_a_service_sign_in() {
    let service = Service::start(|question| {
        match (
            question["user"].as_str().unwrap(),
            question["password"].as_str().unwrap(),
        ) {
            ("carol@example.org", "a secret of the service") => ("200 OK", "{}"),
            ("dave", "a secret of the service") => ("200 OK", r#"{"address": null}"#),
            ("erin", "a secret of the service") => {
                ("200 OK", r#"{"address": "erin@elsewhere.example"}"#)
            }
            ("broken@example.org", _) => ("500 Oops", "{}"),
            _ => ("403 No", ""),
        }
    });
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "t0ken\n").unwrap();
    let url = format!("url = \"http://{}/check\"", service.address);
    let file = format!("token_file = \"{}\"", token.path().display());
    let server = Server::with(settings(
        "https",
        &[&url, &file, "domain = \"example.org\""],
    ));
    let secret = "a secret of the service";
    knows(&server, "carol@example.org", secret, "carol@example.org");
    // A name without a domain gets the one that is set.
    let (reply, _) = signed_in(&server, "dave", secret);
    assert!(reply.starts_with("235"), "{reply}");
    assert_eq!(shown(&server, "dave")["address"], "dave@example.org");
    // An address that is not of our domains makes no account.
    let (reply, _) = signed_in(&server, "erin", secret);
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    let (reply, _) = signed_in(&server, "broken@example.org", "x");
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    server.logged(&["the directory gives no word", "500"]);
    let asked = service.asked.lock().unwrap().clone();
    let (head, question) = &asked[0];
    assert!(head.starts_with("POST /check HTTP/1.1\r\n"), "{head}");
    assert!(
        head.to_ascii_lowercase()
            .contains("authorization: bearer t0ken"),
        "{head}"
    );
    assert_eq!(question["address"], "127.0.0.1");
    let names: Vec<_> = asked.iter().map(|(_, it)| it["user"].clone()).collect();
    assert!(
        !names.contains(&ALICE.into()),
        "ours are not asked about: {names:?}"
    );
}

/// Where accounts are made by hand, nobody else gets in; what was said is remembered as long as set.
#[test]
fn only_those_who_were_added_sign_in_where_that_is_wanted() {
    let service = Service::start(|_| ("200 OK", "{}"));
    let url = format!("url = \"http://{}/\"", service.address);
    let settings = Settings::new()
        .with("directory", "kind = \"https\"")
        .with("directory", &url)
        .with("directory", "create = false");
    let server = Server::with(settings);
    refused(&server, "carol@example.org", "secret");
    server.manage(&["user", "add", "carol@example.org", "--directory"]);
    let asked = || service.asked.lock().unwrap().len();
    let (reply, _) = signed_in(&server, "carol@example.org", "another");
    assert!(reply.starts_with("235"), "{reply}");
    let before = asked();
    let (reply, _) = signed_in(&server, "carol@example.org", "another");
    assert!(reply.starts_with("235"), "{reply}");
    assert_eq!(asked(), before, "remembered");
    // A password of our own takes its place.
    let set = ["user", "passwd", "carol@example.org", "--password-stdin"];
    server.gatepost(&set, "a-password-of-our-own\n").unwrap();
    wait_for("the new password", || {
        let (reply, _) = signed_in(&server, "carol@example.org", "a-password-of-our-own");
        reply.starts_with("235").then_some(())
    });
    assert_eq!(asked(), before);
}
