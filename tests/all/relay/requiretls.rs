//! Messages that ask for TLS all the way (RFC 8689), on routes to relays and mailbox stores.

use serde_json::Value;

use super::{drained, letter, mailboxes, open_relay, relay, route, send, settings, submit};
use crate::{
    hop::{Behaviour, Hop, Tls, Transaction, authority},
    server::{ALICE, Server, free_address},
};

fn offering() -> Behaviour {
    Behaviour::starttls().offers("REQUIRETLS")
}

/// A message from Alice that asks for REQUIRETLS.
fn require(server: &Server, to: &str, subject: &str) {
    let content = letter(subject, "the secret itself\r\n");
    let from = format!("<{ALICE}> RET=FULL REQUIRETLS");
    submit(&mut server.signed_in(), &from, &[to], &content);
}

/// A relay with these hosts by STARTTLS.
fn relays(domain: &str, ports: &[u16]) -> String {
    let hosts: Vec<_> = ports
        .iter()
        .map(|it| format!("\"localhost:{it}\""))
        .collect();
    format!(
        "name = \"{domain}\"\ndomains = [\"{domain}\"]\ntransport = \"relay\"\n\
         tls = \"starttls\"\nca = \"{}\"\nhosts = [{}]\n",
        authority().display(),
        hosts.join(", ")
    )
}

fn says_requiretls(transaction: &Transaction) -> bool {
    let mut parameters = transaction.sender.parameters.iter();
    parameters.any(|parameter| parameter == "REQUIRETLS")
}

/// What is known of the message with this subject.
fn traced(server: &Server, subject: &str) -> Value {
    let id = format!("{subject}@laptop.example");
    serde_json::from_str(&server.manage(&["trace", &id, "--json"])).unwrap()
}

/// The outcome of each try, with its code.
fn tries(trace: &Value) -> Vec<[&str; 2]> {
    let tries = trace["tries"].as_array().unwrap().iter();
    tries
        .map(|it| ["outcome", "code"].map(|name| it[name].as_str().unwrap()))
        .collect()
}

/// R8689-4.2.1f, R8689-4.1a: on a connection that carries other mail too.
#[test]
fn the_wish_is_passed_on_with_the_message_that_has_it() {
    let hop = Hop::start(offering());
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", "")));
    require(&server, "<bob@far.example>", "first");
    hop.wait_for_messages(1);
    send(&server, &["bob@far.example"], "second");
    let messages = hop.wait_for_messages(2);
    let said: Vec<_> = messages.iter().map(says_requiretls).collect();
    assert_eq!(said, [true, false]);
    drained(&server);
    let trace = traced(&server, "first");
    assert_eq!(trace["tries"][0]["requiretls"], true, "{trace:#}");
    assert_eq!(
        traced(&server, "second")["tries"][0]["requiretls"],
        Value::Null
    );
    let told = server.manage(&["trace", "first@laptop.example"]);
    assert!(told.contains(", REQUIRETLS passed on"), "{told}");
}

/// R8689-4.2.1c, R8689-4.2.1d: the next host gets it; the first one goes on with other mail.
#[test]
fn a_host_that_does_not_offer_it_is_passed_over() {
    let (lacks, offers) = (Hop::start(Behaviour::starttls()), Hop::start(offering()));
    let ports = [&lacks, &offers].map(|hop| hop.address().port());
    let server = Server::with(settings().route(&relays("far.example", &ports)));
    require(&server, "<bob@far.example>", "required");
    assert!(says_requiretls(&offers.wait_for_messages(1)[0]));
    lacks.transcript().assert_nothing_given_away();
    send(&server, &["bob@far.example"], "usual");
    drained(&server);
    assert_eq!(lacks.messages().len(), 1);
    assert_eq!(offers.messages().len(), 1);
    assert_eq!(lacks.transcript().connections.len(), 1, "it was kept");
    let trace = traced(&server, "required");
    assert_eq!(
        tries(&trace),
        [["in vain", "4.7.30"], ["relayed", "2.0.0"]],
        "{trace:#}"
    );
}

/// R8689-4.2.1d, R8689-4.2.1e, R8689-5b: nothing of the message is said, its sender hears of it at
/// once, and what comes back gives nothing away.
#[test]
fn where_no_host_offers_it_the_sender_is_told_and_nothing_is_given_away() {
    let lacks = Hop::start(Behaviour::starttls());
    let also_lacks = Hop::start(Behaviour::starttls());
    let open = Hop::start(Behaviour::plain().offers("REQUIRETLS"));
    let ports = [&lacks, &also_lacks].map(|hop| hop.address().port());
    let server = Server::with(
        settings()
            .route(&relays("lacks.example", &ports))
            .route(&open_relay("open.example", &open)),
    );
    for (domain, status) in [("lacks.example", "5.7.30"), ("open.example", "5.7.10")] {
        require(&server, &format!("<bob@{domain}>"), domain);
        drained(&server);
        let trace = traced(&server, domain);
        let last = tries(&trace).pop().unwrap();
        assert_eq!(last, ["failed", status], "{trace:#}");
    }
    for hop in [&lacks, &also_lacks, &open] {
        assert!(hop.messages().is_empty());
        hop.transcript().assert_nothing_given_away();
    }
    let reports = server.mail(ALICE);
    assert_eq!(reports.len(), 2);
    for report in reports {
        let report = String::from_utf8(report).unwrap();
        assert!(report.contains("Status: 5.7."), "{report}");
        assert!(report.contains("(REQUIRETLS)"), "{report}");
        assert!(!report.contains("secret itself"), "{report}");
        assert!(!report.contains("somebody@elsewhere.example"), "{report}");
        assert!(!report.contains("Subject: lacks"), "{report}");
        assert!(!report.contains("Subject:   "), "{report}");
        assert!(report.contains("Message-ID: <"), "{report}");
    }
    let Some(reports) = super::reports::reports(&server) else {
        return;
    };
    for report in reports {
        assert_eq!(report["parts"][2], "text/rfc822-headers");
        assert_eq!(report["subject"], Value::Null);
    }
}

/// A host that could not be reached may offer it: the message waits.
#[test]
fn a_host_that_is_away_is_waited_for() {
    let lacks = Hop::start(Behaviour::starttls());
    let ports = [free_address().port(), lacks.address().port()];
    let server = Server::with(settings().route(&relays("far.example", &ports)));
    require(&server, "<bob@far.example>", "waits");
    server.logged(&[
        "delivery attempt",
        "bob@far.example",
        "\"deferred\"",
        "4.7.30",
    ]);
    lacks.transcript().assert_nothing_given_away();
    assert!(server.mail(ALICE).is_empty());
}

/// At a mailbox store the message has arrived: REQUIRETLS is said where it is offered behind TLS, and
/// within this machine no TLS is needed.
#[test]
fn mailbox_stores_get_it_without_a_promise() {
    let lmtp = || Behaviour::lmtp().offers("REQUIRETLS");
    let (open, unix) = (Hop::start(lmtp()), Hop::unix(lmtp()));
    let offers = Hop::start(lmtp().tls(Tls::Starttls));
    let lacks = Hop::start(Behaviour::lmtp().tls(Tls::Starttls));
    let secured = |domain: &str, hop: &Hop| {
        let place = format!("localhost:{}", hop.address().port());
        let ca = authority().display().to_string();
        let more = format!("recipients = \"any\"\ntls = \"starttls\"\nca = \"{ca}\"\n");
        route(domain, "lmtp", &place, &more)
    };
    let place = format!("unix:{}", unix.path().display());
    let socket = route("unix.example", "lmtp", &place, "recipients = \"any\"");
    let server = Server::with(
        settings()
            .route(&mailboxes("open.example", &open))
            .route(&socket)
            .route(&secured("offers.example", &offers))
            .route(&secured("lacks.example", &lacks)),
    );
    for (domain, hop, said) in [
        ("open.example", &open, false),
        ("unix.example", &unix, false),
        ("offers.example", &offers, true),
        ("lacks.example", &lacks, false),
    ] {
        require(&server, &format!("<bob@{domain}>"), domain);
        let message = hop.wait_for_messages(1).remove(0);
        assert_eq!(says_requiretls(&message), said, "{domain}");
    }
    // A Maildir is nearer still.
    require(&server, "<bob@example.org>", "maildir");
    drained(&server);
    assert!(server.mail(ALICE).is_empty(), "{}", server.log());
}

/// R8689-5c: what comes from `<>` is not lost for want of a promise.
#[test]
fn a_message_that_reports_goes_without_the_promise() {
    let (lacks, offers) = (Hop::start(Behaviour::starttls()), Hop::start(offering()));
    let server = Server::with(
        settings()
            .route(&relay("lacks.example", &lacks, "starttls", ""))
            .route(&relay("offers.example", &offers, "starttls", "")),
    );
    let mut client = server.signed_in();
    for (to, hop, said) in [
        ("<bob@lacks.example>", &lacks, false),
        ("<bob@offers.example>", &offers, true),
    ] {
        let content = letter("read", "It was read.\r\n");
        submit(&mut client, "<> REQUIRETLS", &[to], &content);
        assert_eq!(says_requiretls(&hop.wait_for_messages(1)[0]), said, "{to}");
    }
}
