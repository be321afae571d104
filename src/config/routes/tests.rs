//! Routes as they are written: what they mean, and what is said of mistakes.

use std::{fs, time::Duration};

use secrecy::ExposeSecret;

use super::*;
use crate::{
    config::{ConfigError, Level, Loaded, differences, schema::Config},
    policy::routes::{Encryption, Hop, Origin, OriginPattern, Trust},
    smtp::{Domain, Mailbox},
};

const LEAST: &str = r#"hostname = "mail.example.org"
[[certificates]]
cert = "/c.pem"
key = "/k.pem"
[[routes]]
name = "local"
domains = ["example.org"]
path = "/m/{address}"
"#;

/// The line behind `LEAST`, at which a route begins.
const BEGIN: usize = 9;

/// `LEAST` and one route; passwords are not looked for.
fn with_route(keys: &str) -> Result<Loaded, ConfigError> {
    let text = format!("{LEAST}[[routes]]\nname = \"r\"\ndomains = [\"*\"]\n{keys}\n");
    Loaded::parse_with("f", &text, &Passwords::Leave)
}

fn table_of(loaded: &Loaded) -> &RouteTable {
    &loaded.options.queue.routes
}

fn hop_of(keys: &str) -> Hop {
    let loaded = with_route(keys).unwrap_or_else(|error| panic!("{keys}\n{error}"));
    let transport = &table_of(&loaded).routes()[1].transport;
    transport.hop().expect("the route has hosts").clone()
}

#[test]
fn every_key_is_for_some_transport() {
    for key in Route::KEYS {
        let takers = TRANSPORTS.iter().filter(|it| fits(it, key));
        assert!(takers.count() > 0, "{key}");
    }
    for key in COMMON.iter().chain(HOP) {
        assert!(Route::KEYS.contains(key), "{key}");
    }
}

#[test]
fn a_smarthost_needs_a_host_and_no_more() {
    let hop = hop_of("transport = \"relay\"\nhosts = [\"smtp.provider.example:465\"]");
    assert_eq!(hop.hosts.len(), 1);
    assert_eq!(hop.hosts[0].place.to_string(), "smtp.provider.example:465");
    assert_eq!(hop.hosts[0].encryption, Encryption::Implicit);
    assert_eq!(hop.trust, Trust::System);
    assert!(hop.credentials.is_empty());
    assert_eq!((hop.connections, hop.messages_per_connection), (16, 100));
    assert_eq!(hop.idle, Duration::from_secs(15));
}

#[test]
fn mail_for_tests_can_be_thrown_away() {
    let loaded = with_route("transport = \"discard\"").unwrap();
    let transport = &table_of(&loaded).routes()[1].transport;
    assert!(matches!(transport, Transport::Discard));
}

#[test]
fn what_protects_a_link_follows_from_its_port_and_address() {
    use Encryption::{Implicit, Plaintext, StartTls};
    for (transport, tls, host, encryption) in [
        ("relay", "", "smtp.provider.example:465", Implicit),
        ("relay", "", "smtp.provider.example:587", StartTls),
        ("relay", "", "smtp.provider.example:25", StartTls),
        ("relay", "", "127.0.0.1:25", StartTls),
        ("relay", "", "[::1]:465", Implicit),
        ("relay", "", "unix:/run/mta", Plaintext),
        ("relay", "implicit", "smtp.provider.example:2465", Implicit),
        ("relay", "starttls", "smtp.provider.example:465", StartTls),
        ("relay", "none", "127.0.0.1:25", Plaintext),
        ("relay", "none", "localhost:25", Plaintext),
        ("relay", "none", "10.1.2.3:25", Plaintext),
        ("relay", "none", "[fd00::1]:25", Plaintext),
        ("relay", "none", "unix:/run/mta", Plaintext),
        ("lmtp", "", "unix:/run/dovecot/lmtp", Plaintext),
        ("lmtp", "", "127.0.0.1:24", Plaintext),
        ("lmtp", "", "localhost:24", Plaintext),
        ("lmtp", "", "192.168.0.1:24", Plaintext),
        ("lmtp", "", "192.0.2.1:24", StartTls),
        ("lmtp", "", "lmtp.example.org:24", StartTls),
        ("lmtp", "", "lmtp.example.org:465", StartTls),
        ("lmtp", "implicit", "lmtp.example.org:24", Implicit),
        ("lmtp", "starttls", "127.0.0.1:24", StartTls),
    ] {
        let mut keys = format!("transport = \"{transport}\"\nhosts = [\"{host}\"]\n");
        if !tls.is_empty() {
            keys += &format!("tls = \"{tls}\"");
        }
        let found = hop_of(&keys).hosts[0].encryption;
        assert_eq!(found, encryption, "{transport} {tls} {host}");
    }
    // A socket beside a host keeps out of it.
    let hop = hop_of(
        "transport = \"relay\"\nhosts = [\"unix:/run/mta\", \"a.example:25\"]\ntls = \"implicit\"",
    );
    let found: Vec<_> = hop.hosts.iter().map(|host| host.encryption).collect();
    assert_eq!(found, [Plaintext, Implicit]);
}

#[test]
fn hosts_are_tried_in_their_order_unless_told_otherwise() {
    let placed = |keys: &str| {
        let hop = hop_of(&format!("transport = \"relay\"\nhosts = {keys}"));
        let hosts = hop.hosts.iter();
        hosts
            .map(|host| (host.place.to_string(), host.order, host.weight))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        placed("[\"a.example:25\", \"b.example:25\"]"),
        [
            ("a.example:25".to_owned(), 10, 1),
            ("b.example:25".to_owned(), 20, 1)
        ]
    );
    assert_eq!(
        placed(
            "[{ host = \"a.example:25\", order = 5, weight = 3 }, \
             { host = \"b.example:25\", weight = 0 }, \"c.example:25\"]"
        ),
        [
            ("a.example:25".to_owned(), 5, 3),
            ("b.example:25".to_owned(), 20, 0),
            ("c.example:25".to_owned(), 30, 1)
        ]
    );
}

#[test]
fn trust_is_in_the_system_an_authority_or_fingerprints() {
    let host = "transport = \"relay\"\nhosts = [\"a.example:465\"]\n";
    let pin = "ab".repeat(32);
    let other = ["CD"; 32].join(":");
    assert_eq!(hop_of(host).trust, Trust::System);
    assert_eq!(
        hop_of(&format!("{host}ca = \"/ca.pem\"")).trust,
        Trust::Authorities("/ca.pem".into())
    );
    assert_eq!(
        hop_of(&format!("{host}pins = [\"{pin}\", \"{other}\"]")).trust,
        Trust::Pins(vec![[0xab; 32], [0xcd; 32]])
    );
}

#[test]
fn senders_and_accounts_choose_a_route() {
    let loaded = with_route(
        "path = \"/n/{address}\"\n\
         senders = [\"shop.example\", \"*@ü.example\", \"Boss@firm.example\"]\n\
         accounts = [\"Ann@Example.org\", \"Printer\"]",
    )
    .unwrap();
    let domain = |text| OriginPattern::Domain(Domain::parse(text).unwrap());
    let mailbox = Mailbox::parse("Boss@firm.example").unwrap();
    assert_eq!(
        table_of(&loaded).routes()[1].origins,
        [
            domain("shop.example"),
            domain("ü.example"),
            OriginPattern::Address(mailbox),
            // As they are stored.
            OriginPattern::Account("ann@example.org".into()),
            OriginPattern::Account("printer".into()),
        ]
    );
}

const RELAY: &str = "transport = \"relay\"\nhosts = [\"a.example:465\"]\n";

#[test]
fn passwords_are_read_with_the_file_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one"), "tomtom-one\n").unwrap();
    fs::write(folder.path().join("two"), "tomtom-two").unwrap();
    let one = folder.path().join("one");
    let text = format!(
        "{LEAST}[[routes]]\nname = \"r\"\ndomains = [\"*\"]\n{RELAY}\
         user = \"all\"\npassword_file = \"{}\"\n\
         [[routes.credentials]]\nsenders = [\"shop.example\", \"b@c.example\"]\n\
         user = \"shop\"\npassword_file = \"credential:two\"\n",
        one.display()
    );
    let read = Passwords::Read(Some(folder.path().to_owned()));
    let loaded = Loaded::parse_with("f", &text, &read).unwrap();
    let transport = &table_of(&loaded).routes()[1].transport;
    let hop = transport.hop().unwrap();
    let taken = |sender: &str| {
        let sender = Mailbox::parse(sender).unwrap();
        let origin = Origin {
            sender: Some(&sender),
            account: None,
        };
        let credential = hop.credential(&origin).unwrap();
        let password = credential.password.expose_secret().to_owned();
        (credential.name.clone(), password)
    };
    assert_eq!(
        taken("a@shop.example"),
        ("shop".into(), "tomtom-two".into())
    );
    assert_eq!(taken("b@c.example"), ("shop".into(), "tomtom-two".into()));
    assert_eq!(taken("a@c.example"), ("all".into(), "tomtom-one".into()));

    let shown = [
        format!("{loaded:?}"),
        toml::to_string(&loaded.config).unwrap(),
        format!("{:?}", differences(&Config::default(), &loaded.config)),
    ];
    for shown in shown {
        assert!(!shown.contains("tomtom"), "{shown}");
    }

    // Who signs in nowhere needs no password.
    let left = Loaded::parse_with("f", &text, &Passwords::Leave).unwrap();
    assert_eq!(table_of(&left).routes().len(), 2);
    // A service without credentials, or a file that has gone.
    let error = Loaded::parse_with("f", &text, &Passwords::Read(None)).unwrap_err();
    assert_eq!(error.0[0].key, "routes.1.credentials.0.password_file");
    assert!(error.0[0].text.contains("LoadCredential=two:"), "{error}");
    fs::remove_file(&one).unwrap();
    let error = Loaded::parse_with("f", &text, &read).unwrap_err();
    assert_eq!(error.0[0].key, "routes.1.password_file");
    assert_eq!(error.0[0].line, BEGIN + 6);
    assert!(error.0[0].text.contains("cannot be read"), "{error}");
}

#[test]
fn mistakes_in_a_route_are_explained_at_their_key() {
    let pin = "ab".repeat(32);
    let two = format!("{RELAY}ca = \"/ca.pem\"\npins = [\"{pin}\"]");
    let socket = "transport = \"lmtp\"\nhosts = [\"unix:/run/lmtp\"]\n";
    let signed = "user = \"u\"\npassword_file = \"/p\"\n";
    let open = "transport = \"relay\"\nhosts = [\"10.0.0.1:25\"]\ntls = \"none\"\n";
    let many: Vec<_> = (0..17).map(|n| format!("\"h{n}.example:25\"")).collect();
    let many = many.join(", ");
    for (keys, key, words) in [
        // The transport.
        ("transport = \"mx\"\nuser = \"x\"", "user", "means nothing"),
        ("transport = \"mx\"\nport = 0", "port", "no port"),
        ("transport = \"mx\"\nca = \"x.pem\"", "ca", "absolute"),
        (
            "transport = \"mx\"\nconnections = 0",
            "connections",
            "from 1",
        ),
        (
            "transport = \"mx\"\nsource = [\"192.0.2.1\", \"::1\", \"192.0.2.2\"]",
            "source.2",
            "second of its kind",
        ),
        (
            "transport = \"mx\"\nsource = [\"0.0.0.0\"]",
            "source.0",
            "no address",
        ),
        ("transport = \"smtp\"", "transport", "\"relay\""),
        ("", "", "path"),
        // Keys of another transport.
        (
            "path = \"/m/{address}\"\nhosts = [\"a.example:465\"]",
            "hosts",
            "it is for \"lmtp\" and \"relay\"",
        ),
        (
            &format!("{RELAY}path = \"/m/{{address}}\""),
            "path",
            "it is for \"maildir\"",
        ),
        (
            &format!("{RELAY}recipients = \"any\""),
            "recipients",
            "\"maildir\" and \"lmtp\"",
        ),
        (
            "transport = \"discard\"\nuser = \"u\"",
            "user",
            "\"lmtp\" and \"relay\"",
        ),
        (
            "path = \"/m/{address}\"\nconnections = 3",
            "connections",
            "means nothing",
        ),
        // Domains and origins.
        (
            "path = \"/m/{local}\"\nsenders = [\"*.a.example\"]",
            "senders",
            "patterns",
        ),
        (
            "path = \"/m/{local}\"\nsenders = [\"a@\"]",
            "senders",
            "no domain",
        ),
        (
            "path = \"/m/{local}\"\nsenders = [\"a_b\"]",
            "senders",
            "\"a_b\"",
        ),
        (
            "path = \"/m/{local}\"\naccounts = [\"a b\"]",
            "accounts",
            "login name",
        ),
        (
            "path = \"/m/{local}\"\nsenders = [\"a.example\", \"A.example\"]",
            "",
            "twice",
        ),
        // Hosts.
        (
            "transport = \"relay\"",
            "hosts",
            "smtp.provider.example:465",
        ),
        ("transport = \"lmtp\"", "hosts", "unix:"),
        (
            "transport = \"relay\"\nhosts = [\"a.example\"]",
            "hosts.0",
            "a.example:465",
        ),
        (
            "transport = \"relay\"\nhosts = [\"a.example:25\", \"a.example:25\"]",
            "hosts.1",
            "twice",
        ),
        (
            "transport = \"relay\"\nhosts = [25]",
            "hosts.0",
            "smtp.provider.example:465",
        ),
        (
            "transport = \"relay\"\nhosts = \"a.example:25\"",
            "hosts",
            "sequence",
        ),
        (
            "transport = \"relay\"\nhosts = [{ hots = \"a.example:25\" }]",
            "hosts.0.hots",
            "\"host\"",
        ),
        (
            "transport = \"relay\"\nhosts = [{ order = 1 }]",
            "hosts.0",
            "is empty",
        ),
        (
            "transport = \"relay\"\nhosts = [{ host = \"a.example:25\", order = -1 }]",
            "hosts.0.order",
            "-1",
        ),
        (
            &format!("transport = \"relay\"\nhosts = [{many}]"),
            "hosts",
            "more than 16",
        ),
        // TLS.
        (&format!("{RELAY}tls = \"ssl\""), "tls", "`starttls`"),
        (
            "transport = \"relay\"\nhosts = [\"a.example:25\"]\ntls = \"none\"",
            "tls",
            "a.example:25 may be anywhere",
        ),
        (
            "transport = \"lmtp\"\nhosts = [\"127.0.0.1:24\", \"192.0.2.1:24\"]\ntls = \"none\"",
            "tls",
            "192.0.2.1:24 may be anywhere",
        ),
        (
            &format!("{socket}tls = \"starttls\""),
            "tls",
            "never has TLS",
        ),
        (&two, "pins", "keep one"),
        (&format!("{RELAY}ca = \"ca.pem\""), "ca", "absolute"),
        (
            &format!("{RELAY}pins = [\"abcd\"]"),
            "pins.0",
            "openssl x509",
        ),
        (&format!("{socket}pins = [\"{pin}\"]"), "pins", "by TLS"),
        (&format!("{socket}ca = \"/ca.pem\""), "ca", "by TLS"),
        // Sign-ins.
        (
            &format!("{RELAY}user = \"u\""),
            "password_file",
            "is missing",
        ),
        (
            &format!("{RELAY}password_file = \"/p\""),
            "user",
            "is missing",
        ),
        (
            &format!("{RELAY}user = \"u\\n\"\npassword_file = \"/p\""),
            "user",
            "control",
        ),
        (
            &format!("{RELAY}user = \"u\"\npassword_file = \"p\""),
            "password_file",
            "credential:NAME",
        ),
        (
            &format!("{RELAY}password = \"tomtom\""),
            "password",
            "password_file =",
        ),
        (
            &format!("{RELAY}passwd = \"tomtom\""),
            "passwd",
            "password_file =",
        ),
        (
            &format!("{RELAY}[[routes.credentials]]\npassword = \"tomtom\""),
            "credentials.0.password",
            "password_file =",
        ),
        (
            &format!("{RELAY}[[routes.credentials]]\n{signed}"),
            "credentials.0",
            "neither senders nor accounts",
        ),
        (
            &format!("{RELAY}[[routes.credentials]]\nsenders = [\"a.example\"]\nuser = \"u\""),
            "credentials.0.password_file",
            "is missing",
        ),
        (
            &format!(
                "{RELAY}[[routes.credentials]]\nsenders = [\"a.example\"]\n{signed}\
                 [[routes.credentials]]\nsenders = [\"b.example\", \"A.example\"]\n{signed}"
            ),
            "",
            "two sign-ins for mail of A.example",
        ),
        (
            &format!("{open}{signed}"),
            "user",
            "10.0.0.1:25 without TLS",
        ),
        (
            &format!("{open}[[routes.credentials]]\nsenders = [\"a.example\"]\n{signed}"),
            "credentials",
            "10.0.0.1:25 without TLS",
        ),
        // Limits.
        (
            &format!("{RELAY}connections = 0"),
            "connections",
            "from 1 to 1000",
        ),
        (
            &format!("{RELAY}connections = 1001"),
            "connections",
            "from 1 to 1000",
        ),
        (
            &format!("{RELAY}messages_per_connection = 0"),
            "messages_per_connection",
            "from 1",
        ),
        (&format!("{RELAY}idle = \"6m\""), "idle", "the most is 5m"),
    ] {
        let error = with_route(keys).unwrap_err();
        let first = &error.0[0];
        let place = match key {
            "" => "routes.1".to_owned(),
            key => format!("routes.1.{key}"),
        };
        assert_eq!(first.key, place, "{keys}\n{error}");
        assert!(first.text.contains(words), "{keys}\n{error}");
        assert!(first.line >= BEGIN, "{keys}\n{error}");
        assert!(!error.to_string().contains("tomtom"), "{error}");
    }
}

#[test]
fn a_password_may_stay_within_this_machine_without_tls() {
    for host in ["unix:/run/mta", "127.0.0.1:25", "localhost:25"] {
        let keys = format!(
            "transport = \"relay\"\nhosts = [\"{host}\"]\ntls = \"none\"\n\
             user = \"u\"\npassword_file = \"/p\""
        );
        assert_eq!(hop_of(&keys).credentials.len(), 1, "{host}");
    }
}

#[test]
fn all_mistakes_of_a_route_are_told_at_once() {
    let error = with_route(
        "transport = \"relay\"\nhosts = [\"a.example\"]\npath = \"/m\"\npins = [\"x\"]\n\
         user = \"u\"\nconnections = 0",
    )
    .unwrap_err();
    let keys: Vec<_> = error.0.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "routes.1.password_file",
            "routes.1.hosts.0",
            "routes.1.path",
            "routes.1.pins.0",
            "routes.1.connections",
        ]
    );
}

#[test]
fn routes_that_contradict_each_other_are_told_at_the_later_one() {
    let error = with_route(
        "path = \"/n/{address}\"\nsenders = [\"a.example\"]\n\
         [[routes]]\nname = \"s\"\ndomains = [\"*\"]\npath = \"/o/{address}\"\n\
         senders = [\"a.example\"]",
    )
    .unwrap_err();
    assert_eq!(error.0[0].key, "routes.2");
    assert!(error.0[0].text.contains("routes r and s"), "{error}");
}

/// Without a postmaster of its own: local mail first, this host else.
#[test]
fn the_postmaster_is_where_the_mailboxes_are() {
    let postmaster = |routes: &str| {
        let head = LEAST.split("[[routes]]").next().unwrap();
        let text = format!("{head}{routes}");
        let loaded = Loaded::parse_with("f", &text, &Passwords::Leave);
        loaded.map(|loaded| loaded.options.session.postmaster.to_string())
    };
    let relay =
        |domains: &str| format!("[[routes]]\nname = \"relay\"\ndomains = [{domains}]\n{RELAY}");
    let local = "[[routes]]\nname = \"local\"\ndomains = [\"*.a.example\", \"a.example\"]\n\
                 path = \"/m/{address}\"\n";
    assert_eq!(
        postmaster(&format!("{}{local}", relay("\"partner.example\""))).unwrap(),
        "postmaster@a.example"
    );
    assert_eq!(
        postmaster(&relay("\"*\"")).unwrap(),
        "postmaster@mail.example.org"
    );
    let error = postmaster(&relay("\"partner.example\"")).unwrap_err();
    assert_eq!(error.0[0].key, "postmaster");
}

#[test]
fn ten_thousand_routes_are_read() {
    let mut text = LEAST.to_owned();
    for n in 0..10_000 {
        text += &format!(
            "[[routes]]\nname = \"r{n}\"\ndomains = [\"*\"]\nsenders = [\"d{n}.example\"]\n\
             transport = \"relay\"\nhosts = [\"h{n}.example:465\"]\n"
        );
    }
    let loaded = Loaded::parse_with("f", &text, &Passwords::Leave).unwrap();
    let sender = Mailbox::parse("a@d9999.example").unwrap();
    let origin = Origin {
        sender: Some(&sender),
        account: None,
    };
    let recipient = Mailbox::parse("b@elsewhere.example").unwrap();
    let found = table_of(&loaded).lookup(&recipient, &origin).unwrap();
    assert_eq!(found.name, "r9999");
}

#[test]
fn the_files_that_routes_name_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(folder.path().join("open"), "tomtom").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(folder.path().join("open"), mode).unwrap();
    let keys = format!(
        "{RELAY}ca = \"{}\"\nuser = \"u\"\npassword_file = \"{}\"\n\
         [[routes.credentials]]\nsenders = [\"a.example\"]\nuser = \"u\"\npassword_file = \"{}\"\n",
        at("none.pem"),
        at("open"),
        at("none"),
    );
    let findings = with_route(&keys).unwrap().inspect_files();
    let told: Vec<_> = findings
        .iter()
        .map(|finding| (finding.key.as_str(), finding.level))
        .collect();
    assert_eq!(
        told,
        [
            ("routes.1.password_file", Level::Warning),
            ("routes.1.credentials.0.password_file", Level::Error),
            ("routes.1.ca", Level::Error),
        ]
    );
    assert!(findings.iter().all(|it| !it.to_string().contains("tomtom")));
}

/// R2033-5a.
#[test]
fn lmtp_is_not_spoken_on_port_25() {
    let lmtp = |port| format!("transport = \"lmtp\"\nhosts = [\"127.0.0.1:{port}\"]\n");
    assert!(with_route(&lmtp(24)).is_ok());
    let error = with_route(&lmtp(25)).unwrap_err().to_string();
    assert!(
        error.contains("routes.1.hosts.0") && error.contains("port 25"),
        "{error}"
    );
}
