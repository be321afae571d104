//! Next hops whose link proves nothing.

use std::fs;

use super::{drained, impatient, letter, route, send, sign_in, submit};
use crate::{
    hop::{Act, Behaviour, Certificate, Hop, NAME, PASSWORD, Phase, Tls, authority},
    server::{ALICE, Server},
};

/// Links that prove nothing: neither a credential nor a word of a message goes there, and the sender
/// hears of it.
/// R7817-3a among others.
#[test]
fn links_that_prove_nothing_get_nothing() {
    let starttls = Behaviour::starttls;
    let injected = b"220 2.0.0 Go ahead\r\n250-hop.example\r\n250 AUTH PLAIN\r\n".to_vec();
    let ca = format!("ca = \"{}\"\n", authority().display());
    let other_pin = format!("pins = [\"{}\"]\n", "00".repeat(32));
    let cases = [
        ("not offered", "starttls", Behaviour::plain(), &ca),
        ("helo only", "starttls", Behaviour::plain().helo_only(), &ca),
        (
            "put off",
            "starttls",
            starttls().at(Phase::StartTls, Act::reply("454 4.7.0 Not now")),
            &ca,
        ),
        (
            "refused",
            "starttls",
            starttls().at(Phase::StartTls, Act::reply("554 5.7.0 Never")),
            &ca,
        ),
        (
            "garbage",
            "starttls",
            starttls().at(Phase::Handshake, Act::nonsense()),
            &ca,
        ),
        (
            "zeros",
            "starttls",
            starttls().at(Phase::Handshake, Act::Say(vec![0; 64])),
            &ca,
        ),
        (
            "injected",
            "starttls",
            starttls().at(Phase::StartTls, Act::Say(injected)),
            &ca,
        ),
        (
            "wrong name",
            "starttls",
            starttls().certificate(Certificate::WrongName),
            &ca,
        ),
        (
            "expired",
            "starttls",
            starttls().certificate(Certificate::Expired),
            &ca,
        ),
        (
            "self-signed",
            "starttls",
            starttls().certificate(Certificate::SelfSigned),
            &ca,
        ),
        (
            "other authority",
            "starttls",
            starttls().certificate(Certificate::OtherAuthority),
            &ca,
        ),
        ("other pin", "starttls", starttls(), &other_pin),
        (
            "no roots of the system",
            "starttls",
            starttls(),
            &String::new(),
        ),
        ("in the clear", "implicit", Behaviour::plain(), &ca),
        ("starttls instead", "implicit", starttls(), &ca),
        (
            "wrong name at once",
            "implicit",
            Behaviour::implicit().certificate(Certificate::WrongName),
            &ca,
        ),
        (
            "other pin at once",
            "implicit",
            Behaviour::implicit(),
            &other_pin,
        ),
        ("lmtp without", "starttls", Behaviour::lmtp(), &ca),
        (
            "lmtp expired",
            "starttls",
            Behaviour::lmtp()
                .tls(Tls::Starttls)
                .certificate(Certificate::Expired),
            &ca,
        ),
    ];
    let cases = cases.map(|(what, tls, behaviour, trust)| {
        let more = format!("tls = \"{tls}\"\n{trust}{}", sign_in(NAME, PASSWORD));
        (what, Hop::start(behaviour), more)
    });
    let domain = |what: &str| format!("{}.example", what.replace(' ', "-"));
    let settings = cases
        .iter()
        .fold(impatient(), |settings, (what, hop, more)| {
            let place = format!("localhost:{}", hop.address().port());
            let (transport, more) = match what.starts_with("lmtp") {
                true => ("lmtp", &format!("recipients = \"any\"\n{more}")),
                false => ("relay", more),
            };
            settings.route(&route(&domain(what), transport, &place, more))
        });
    let server = Server::with(settings.with("queue", "give_up_after = \"2s\""));
    let mut client = server.signed_in();
    for (what, ..) in &cases {
        let to = format!("<bob@{}>", domain(what));
        let content = letter("secret-subject", "secret-text\r\n");
        submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
    }
    drained(&server);
    let reports = server.mail(ALICE);
    let reports: Vec<_> = reports
        .iter()
        .map(|it| String::from_utf8_lossy(it))
        .collect();
    assert_eq!(reports.len(), cases.len());
    for (what, hop, _) in &cases {
        let transcript = hop.transcript();
        assert!(!transcript.connections.is_empty(), "{what}");
        transcript.assert_nothing_given_away();
        let told = format!("\nFinal-Recipient: rfc822; bob@{}\n", domain(what));
        let report = reports.iter().find(|report| report.contains(&told));
        let report = report.unwrap_or_else(|| panic!("{what}: {reports:#?}"));
        assert!(report.contains("\nStatus: 4.4.7\n"), "{what}: {report}");
        let line = server.logged(&[
            "next hop cannot be used",
            &format!("\"route\":\"{}\"", domain(what)),
        ]);
        let tls = ["Tls(", "Hop(Tls)"]
            .iter()
            .any(|cause| line.contains(cause));
        assert!(tls || line.contains("Hop("), "{what}: {line}");
    }
    let log = server.log();
    for secret in [PASSWORD, "secret-subject", "secret-text"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// Authorities that cannot be read are trusted by nobody; the mail waits until they can.
#[test]
fn authorities_that_cannot_be_read_keep_the_mail() {
    let hop = Hop::start(Behaviour::starttls());
    let mut server = Server::stopped(impatient());
    let ca = server.path("hop-ca.pem");
    fs::copy(authority(), &ca).unwrap();
    let place = format!("localhost:{}", hop.address().port());
    let more = format!("tls = \"starttls\"\nca = \"{}\"\n", ca.display());
    server.settings = impatient().route(&route("far.example", "relay", &place, &more));
    server.configure();
    server.run();
    fs::write(&ca, "no certificate").unwrap();
    send(&server, &["bob@far.example"], "waits");
    server.logged(&["delivery attempt", "bob@far.example", "\"deferred\""]);
    hop.transcript().assert_nothing_given_away();
    fs::copy(authority(), &ca).unwrap();
    drained(&server);
    assert_eq!(hop.messages().len(), 1);
}
