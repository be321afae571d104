//! Routes from the outside: told, checked, and tried.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    hop::{Act, Behaviour, Certificate, Hop, NAME, PASSWORD, Phase, authority},
    server::{ALICE, Server, Settings, gatepost, send},
};

/// The test's file with more routes, called so; answers with its path.
fn with_routes(server: &Server, name: &str, routes: &str) -> PathBuf {
    let good = fs::read_to_string(server.path("gatepost.toml")).unwrap();
    let config = server.path(name);
    fs::write(&config, format!("{good}\n{routes}")).unwrap();
    config
}

/// A route of each kind, for `route`.
const ROUTES: &str = r#"
[[routes]]
name = "shop"
domains = ["*"]
senders = ["shop.example"]
transport = "relay"
hosts = ["b.example:587", "a.example:465"]
user = "shop-there"
password_file = "credential:shop"
[[routes]]
name = "dovecot"
domains = ["*.boxes.example"]
transport = "lmtp"
hosts = ["unix:/run/dovecot/lmtp"]
"#;

/// Which way, and why, without a server and without the password.
#[test]
fn a_route_is_told_before_mail_takes_it() {
    let server = Server::stopped(Settings::new());
    let config = with_routes(&server, "routes.toml", ROUTES);
    let said = gatepost(
        &config,
        &["route", "test", "bob@x.example", "--from", "a@shop.example"],
        "",
    )
    .unwrap();
    for words in [
        "route         shop\n",
        "it takes mail from shop.example for *\n",
        "host          b.example:587 (STARTTLS, order 10",
        "host          a.example:465 (TLS from the first octet, order 20",
        "signs in as   shop-there\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = gatepost(
        &config,
        &["route", "test", "x@a.boxes.example", "--json"],
        "",
    )
    .unwrap();
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(object["route"], "dovecot");
    assert_eq!(object["hosts"][0]["host"], "unix:/run/dovecot/lmtp");
    let said = gatepost(&config, &["route", "test", "bob@x.example"], "").unwrap_err();
    assert_eq!(said, "gatepost: no route takes mail for bob@x.example\n");
    let said = gatepost(&config, &["route", "list", "--json"], "").unwrap();
    assert_eq!(said.lines().count(), 4);
    // The service, which has no such credential, does not start; its other commands work.
    let said = gatepost(&config, &["serve"], "").unwrap_err();
    assert!(
        said.contains("routes.2.password_file") && said.contains("LoadCredential=shop:"),
        "{said}"
    );
    assert!(gatepost(&config, &["user", "list"], "").is_ok());
}

#[test]
fn check_looks_at_the_files_and_accounts_of_routes() {
    let server = Server::stopped(Settings::new());
    let password = server.path("password");
    fs::write(&password, "tomtom\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let relay = format!(
        "[[routes]]\nname = \"relay\"\ndomains = [\"*\"]\naccounts = [\"alice@example.org\", \
         \"nobody@example.org\"]\ntransport = \"relay\"\nhosts = [\"a.example:465\"]\n\
         ca = \"{}\"\nuser = \"u\"\npassword_file = \"{}\"\n",
        server.path("certs/ca.pem").display(),
        password.display()
    );
    let credential = "[[routes.credentials]]\nsenders = [\"shop.example\"]\nuser = \"u\"\n\
                      password_file = \"credential:none\"\n";
    let config = with_routes(&server, "good.toml", &format!("{relay}{credential}"));
    let said = gatepost(&config, &["check"], "").unwrap();
    for (key, words) in [
        ("routes.2.password_file", "open to every user"),
        (
            "routes.2.accounts",
            "there is no account nobody@example.org",
        ),
        ("routes.2.credentials.0.password_file", "not looked at"),
    ] {
        let told = said
            .lines()
            .any(|line| line.contains(": warning: ") && line.contains(key) && line.contains(words));
        assert!(told, "{key}: {said}");
    }
    assert!(!said.contains("no account alice"), "{said}");
    let json = gatepost(&config, &["check", "--json"], "").unwrap();
    assert!(!json.contains("tomtom") && !said.contains("tomtom"));

    // What a start would refuse.
    let gone = relay.replace("/password\"", "/gone\"");
    let no_ca = relay.replace("certs/ca.pem", "certs/key.pem");
    for (routes, key) in [(gone, "routes.2.password_file"), (no_ca, "routes.2.ca")] {
        let config = with_routes(&server, "bad.toml", &routes);
        let said = gatepost(&config, &["check"], "").unwrap_err();
        let told = said
            .lines()
            .any(|line| line.contains(": error: ") && line.contains(key));
        assert!(told, "{key}: {said}");
        let said = gatepost(&config, &["serve"], "").unwrap_err();
        assert!(said.contains(key), "{said}");
    }
}

/// A file with the password that scripted hops know, or another.
fn password_file(server: &Server, password: &str) -> PathBuf {
    let path = server.path("password");
    fs::write(&path, format!("{password}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn relay(hosts: &str, more: &str) -> String {
    format!(
        "[[routes]]\nname = \"relay\"\ndomains = [\"*\"]\ntransport = \"relay\"\n\
         hosts = [{hosts}]\n{more}\n"
    )
}

fn signed_in(password: &Path) -> String {
    let path = password.display();
    format!("user = \"{NAME}\"\npassword_file = \"{path}\"\n")
}

/// Up to the sign-in and no further; everything the host shows is told, the password never.
#[test]
fn a_host_is_tried_without_sending_mail() {
    let server = Server::stopped(Settings::new());
    let password = password_file(&server, PASSWORD);
    let hop = Hop::start(Behaviour::starttls());
    let keys = format!(
        "ca = \"{}\"\n{}",
        authority().display(),
        signed_in(&password)
    );
    let routes = relay(&format!("\"{}\"", hop.address()), &keys);
    let config = with_routes(&server, "relay.toml", &routes);
    let asked = ["route", "test", "bob@x.example", "--connect"];
    let said = gatepost(&config, &asked, "").unwrap();
    for words in [
        format!("connected to  {}\n", hop.address()),
        "TLS           TLSv1.3 with TLS_".to_owned(),
        format!("SHA-256 {}", hex(Certificate::Good.fingerprint())),
        "proof         an authority of the route vouches".to_owned(),
        "names         localhost 127.0.0.1\n".to_owned(),
        "SIZE 50000000".to_owned(),
        "AUTH PLAIN LOGIN SCRAM-SHA-256".to_owned(),
        format!("ready         signed in as {NAME}\n"),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    let json = gatepost(&config, &[&asked[..], &["--json"]].concat(), "").unwrap();
    let object: Value = serde_json::from_str(&json).unwrap();
    let answer = &object["hosts"][0]["answer"];
    assert_eq!(answer["ready"], true, "{json}");
    assert_eq!(answer["signed_in"], true);
    assert_eq!(answer["tls"]["proof"], "ca");
    assert!(!said.contains(PASSWORD) && !json.contains(PASSWORD));

    let transcript = hop.wait_for_ends(2);
    for connection in &transcript.connections {
        let verbs = connection.verbs();
        assert_eq!(verbs[..3], ["EHLO", "STARTTLS", "EHLO"]);
        assert_eq!(verbs.last().unwrap(), "QUIT");
        assert!(!verbs.contains(&"MAIL".to_owned()), "{verbs:?}");
        assert!(!String::from_utf8_lossy(&connection.clear).contains("AUTH"));
    }
}

/// Each way in which a host does not take mail ends with 1 and the reason.
#[test]
fn a_host_that_refuses_is_told_with_its_reason() {
    let server = Server::stopped(Settings::new());
    let right = password_file(&server, PASSWORD);
    let wrong = server.path("wrong");
    fs::write(&wrong, "eight-loud-lanterns").unwrap();
    let ca = format!("ca = \"{}\"\n", authority().display());
    let pin = hex(Certificate::Good.fingerprint());
    for (behaviour, keys, words) in [
        (
            Behaviour::starttls(),
            format!("{ca}{}", signed_in(&wrong)),
            &["offers ", "refused ", "535"][..],
        ),
        (
            Behaviour::starttls().certificate(Certificate::SelfSigned),
            format!("{ca}{}", signed_in(&right)),
            &["refused ", "self-signed"],
        ),
        (
            Behaviour::starttls().certificate(Certificate::WrongName),
            ca.clone(),
            &["refused ", "elsewhere.example"],
        ),
        (
            Behaviour::starttls().certificate(Certificate::SelfSigned),
            format!("pins = [\"{pin}\"]"),
            &["refused ", "none of those pinned"],
        ),
        (Behaviour::plain(), ca.clone(), &["refused ", "STARTTLS"]),
        (
            Behaviour::starttls().at(Phase::Greeting, Act::last("554 5.7.1 Not you\u{1b}[2J")),
            ca.clone(),
            &["refused ", "Not you"],
        ),
    ] {
        let hop = Hop::start(behaviour);
        let routes = relay(&format!("\"{}\"", hop.address()), &keys);
        let config = with_routes(&server, "relay.toml", &routes);
        let asked = ["route", "test", "bob@x.example", "--connect"];
        let said = gatepost(&config, &asked, "").unwrap_err();
        assert!(said.starts_with("route         relay\n"), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(
            !said.contains('\u{1b}') && !said.contains("lanterns"),
            "{said}"
        );
        // To a host that has not proved itself not even a sign-in is begun.
        if !words.contains(&"535") {
            hop.transcript().assert_nothing_given_away();
        }
    }
}

/// One host of two is down: both are told, in the order in which mail would try them.
#[test]
fn every_host_is_tried_in_its_order() {
    let server = Server::stopped(Settings::new());
    let lmtp = Hop::unix(Behaviour::lmtp());
    let gone = server.path("gone");
    let route = format!(
        "[[routes]]\nname = \"boxes\"\ndomains = [\"*\"]\ntransport = \"lmtp\"\n\
         hosts = [{{ host = \"unix:{}\", order = 30 }}, \"unix:{}\"]\n",
        lmtp.path().display(),
        gone.display()
    );
    let config = with_routes(&server, "boxes.toml", &route);
    let asked = ["route", "test", "bob@x.example", "--connect", "--json"];
    let said = gatepost(&config, &asked, "").unwrap_err();
    let object: Value = serde_json::from_str(&said).unwrap();
    let hosts = object["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 2);
    assert_eq!(hosts[0]["host"], format!("unix:{}", gone.display()));
    assert_eq!(hosts[0]["answer"]["ready"], false);
    assert!(
        hosts[0]["answer"]["refused"]
            .as_str()
            .unwrap()
            .contains("cannot connect")
    );
    assert_eq!(hosts[1]["answer"]["ready"], true, "{said}");
    assert_eq!(hosts[1]["answer"]["signed_in"], false);
    let transcript = lmtp.wait_for_ends(1);
    assert_eq!(transcript.connections[0].verbs(), ["LHLO", "QUIT"]);
}

/// Mail of two senders takes two routes, each with its own trust, and each hop sees only its own.
#[test]
fn mail_takes_the_route_of_its_sender() {
    let mut server = Server::stopped(Settings::new());
    let password = password_file(&server, PASSWORD);
    let (shop, rest) = (
        Hop::start(Behaviour::implicit()),
        Hop::start(Behaviour::starttls()),
    );
    let pin = hex(Certificate::Good.fingerprint());
    let routes = [
        relay(
            &format!("\"{}\"", shop.address()),
            &format!(
                "tls = \"implicit\"\nsenders = [\"wonder.example\"]\npins = [\"{pin}\"]\n{}",
                signed_in(&password)
            ),
        )
        .replace("\"relay\"\nd", "\"shop\"\nd"),
        relay(
            &format!("\"{}\"", rest.address()),
            &format!("ca = \"{}\"", authority().display()),
        ),
    ];
    let text = fs::read_to_string(with_routes(&server, "both.toml", &routes.concat())).unwrap();
    fs::write(server.path("gatepost.toml"), text).unwrap();
    server.run();
    for sender in [ALICE, "hatter@wonder.example"] {
        let content = format!("From: <{sender}>\r\nSubject: {sender}\r\n\r\nhello\r\n");
        let to = ["bob@elsewhere.example"];
        let accepted = send(&mut server.signed_in(), sender, &to, content.as_bytes());
        assert!(accepted.starts_with("250 2.0.0 "), "{accepted}");
    }
    let senders = |hop: &Hop| {
        let messages = hop.wait_for_messages(1);
        messages
            .iter()
            .map(|it| it.sender.address.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(senders(&shop), ["hatter@wonder.example"]);
    assert_eq!(senders(&rest), [ALICE]);
    assert!(shop.transcript().connections[0].sign_ins[0].right);
    assert!(rest.transcript().connections[0].sign_ins.is_empty());
}

fn hex(octets: [u8; 32]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
