//! Envelopes as next hops see them: one transaction where one will do, and only parameters that are
//! offered.

use super::{drained, letter, open_relay, relay, settings, submit};
use crate::{
    hop::{Act, Behaviour, Hop, Phase, Transaction},
    server::{ALICE, Server},
};

fn addresses(domain: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("r{n}@{domain}")).collect()
}

fn submit_to(server: &Server, from: &str, to: &[String], subject: &str) {
    let to: Vec<_> = to.iter().map(|to| format!("<{to}>")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let content = letter(subject, "Hello.\r\n");
    submit(&mut server.signed_in(), from, &to, &content);
}

/// R5321-5.1 of old and new: all recipients of a message at one next hop share one transaction,
/// whatever their domains; a limit makes it more, and nobody is named twice.
#[test]
fn recipients_share_a_transaction_as_far_as_the_hop_has_room() {
    let unlimited = Hop::start(Behaviour::starttls());
    let refuses = Hop::start(Behaviour::starttls().recipients_at_most(4));
    let says = Hop::start(
        Behaviour::starttls()
            .offers("LIMITS RCPTMAX=4")
            .recipients_at_most(4),
    );
    let one = Hop::start(
        Behaviour::plain()
            .offers("LIMITS RCPTMAX=1")
            .without("PIPELINING"),
    );
    let mails = Hop::start(
        Behaviour::plain()
            .offers("LIMITS MAILMAX=1 RCPTMAX=4")
            .messages_at_most(1),
    );
    let lmtp = Hop::start(Behaviour::lmtp().recipients_at_most(4));
    let server = Server::with(
        settings()
            .route(
                &relay("unlimited.example", &unlimited, "starttls", "").replace(
                    "domains = [\"unlimited.example\"]",
                    "domains = [\"unlimited.example\", \"other.example\"]",
                ),
            )
            .route(&relay("refuses.example", &refuses, "starttls", ""))
            .route(&relay("says.example", &says, "starttls", ""))
            .route(&open_relay("one.example", &one))
            .route(&open_relay("mails.example", &mails))
            .route(&super::mailboxes("lmtp.example", &lmtp)),
    );
    let mut both = addresses("unlimited.example", 10);
    both.extend(addresses("other.example", 3));
    let from = format!("<{ALICE}>");
    submit_to(&server, &from, &both, "together");
    for (domain, count) in [
        ("refuses.example", 10),
        ("says.example", 10),
        ("one.example", 3),
        ("mails.example", 10),
        ("lmtp.example", 10),
    ] {
        submit_to(&server, &from, &addresses(domain, count), domain);
    }
    drained(&server);
    let numbers = |hop: &Hop| -> Vec<usize> {
        let messages = hop.messages();
        messages.iter().map(|message| message.to().len()).collect()
    };
    assert_eq!(numbers(&unlimited), [13]);
    assert_eq!(unlimited.messages()[0].to(), both);
    for (hop, domain) in [
        (&refuses, "refuses.example"),
        (&says, "says.example"),
        (&mails, "mails.example"),
        (&lmtp, "lmtp.example"),
    ] {
        assert_eq!(numbers(hop), [4, 4, 2], "{domain}");
        let messages = hop.messages();
        let mut all: Vec<_> = messages.iter().flat_map(Transaction::to).collect();
        let mut expected = addresses(domain, 10);
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }
    assert_eq!(numbers(&one), [1, 1, 1]);
    // What was told is kept to: nobody is refused for it.
    for hop in [&says, &one, &mails] {
        let transcript = hop.transcript();
        let mut all = transcript
            .connections
            .iter()
            .flat_map(|it| &it.transactions);
        assert!(all.all(|it| it.refused.is_empty()));
    }
    assert_eq!(mails.transcript().connections.len(), 3);
    assert_eq!(says.transcript().connections.len(), 1);
    // Nobody waited for another attempt.
    let log = server.log();
    assert!(!log.contains("\"deferred\""), "{log}");
}

/// RFC 3461 §5.2.1, §5.2.2: what the sender asked for goes where it is understood.
#[test]
fn dsn_parameters_travel_where_dsn_is_offered() {
    let knows = Hop::start(Behaviour::starttls());
    let lacks = Hop::start(Behaviour::starttls().without("DSN"));
    let lmtp = Hop::start(Behaviour::lmtp());
    let server = Server::with(
        settings()
            .route(&relay("knows.example", &knows, "starttls", ""))
            .route(&relay("lacks.example", &lacks, "starttls", ""))
            .route(&super::mailboxes("lmtp.example", &lmtp)),
    );
    let from = format!("<{ALICE}> RET=HDRS ENVID=Q3+2Bx");
    let to = |domain: &str| {
        [
            format!("<a@{domain}> NOTIFY=FAILURE,DELAY ORCPT=rfc822;Old+2Ba@{domain}"),
            format!("<b@{domain}> NOTIFY=NEVER"),
            format!("<c@{domain}>"),
        ]
    };
    for domain in ["knows.example", "lacks.example", "lmtp.example"] {
        let to = to(domain);
        let to: Vec<_> = to.iter().map(String::as_str).collect();
        let content = letter("asked", "Hello.\r\n");
        submit(&mut server.signed_in(), &from, &to, &content);
    }
    drained(&server);
    for (hop, domain) in [(&knows, "knows.example"), (&lmtp, "lmtp.example")] {
        let message = hop.messages().remove(0);
        for parameter in ["RET=HDRS", "ENVID=Q3+2Bx"] {
            let parameters = &message.sender.parameters;
            assert!(parameters.contains(&parameter.to_owned()), "{parameters:?}");
        }
        let [a, b, c] = &message.recipients[..] else {
            panic!("{message:#?}");
        };
        let original = format!("ORCPT=rfc822;Old+2Ba@{domain}");
        assert!(a.parameters.contains(&original), "{a:?}");
        let notify = a.parameters.iter().find(|it| it.starts_with("NOTIFY="));
        let notify = notify.expect("NOTIFY");
        assert!(
            notify.contains("FAILURE") && notify.contains("DELAY"),
            "{a:?}"
        );
        assert!(b.parameters.contains(&"NOTIFY=NEVER".to_owned()), "{b:?}");
        assert!(
            !c.parameters.iter().any(|it| it.starts_with("NOTIFY=")),
            "{c:?}"
        );
    }
    let message = lacks.messages().remove(0);
    assert!(
        message
            .sender
            .parameters
            .iter()
            .all(|it| it.starts_with("SIZE=")),
        "{message:#?}"
    );
    assert!(
        message.recipients.iter().all(|it| it.parameters.is_empty()),
        "{message:#?}"
    );
}

/// One recipient's refusal is nobody else's, whether it is said at RCPT or behind DATA.
#[test]
fn only_those_refused_fail() {
    let hop = Hop::start(
        Behaviour::starttls()
            .for_recipient(Phase::Rcpt, "r2@", Act::reply("550 5.1.1 Unknown"))
            .for_recipient(Phase::Rcpt, "r3@", Act::reply("551 5.1.6 Moved")),
    );
    let nobody = Hop::start(Behaviour::starttls().at(Phase::Rcpt, Act::reply("550 5.7.1 No")));
    let server = Server::with(
        settings()
            .route(&relay("far.example", &hop, "starttls", ""))
            .route(&relay("nobody.example", &nobody, "starttls", "")),
    );
    let from = format!("<{ALICE}>");
    submit_to(&server, &from, &addresses("far.example", 4), "some");
    submit_to(&server, &from, &addresses("nobody.example", 2), "none");
    drained(&server);
    let messages = hop.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].to(), ["r1@far.example", "r4@far.example"]);
    assert!(nobody.messages().is_empty());
    for connection in nobody.transcript().connections {
        for transaction in connection.transactions {
            assert!(transaction.content.is_empty());
        }
    }
    let reports = server.mail(ALICE);
    let named: Vec<usize> = reports
        .iter()
        .map(|report| {
            String::from_utf8_lossy(report)
                .matches("\nFinal-Recipient: ")
                .count()
        })
        .collect();
    assert_eq!(named, [2, 2]);
}

/// RFC 9422 §4.3: a session may be for so many domains only, and then there is another.
#[test]
fn a_limit_of_domains_makes_more_sessions() {
    let hop = Hop::start(Behaviour::starttls().offers("LIMITS RCPTDOMAINMAX=1"));
    let line = relay("a.example", &hop, "starttls", "").replace(
        "domains = [\"a.example\"]",
        "domains = [\"a.example\", \"b.example\", \"c.example\"]",
    );
    let server = Server::with(settings().route(&line));
    let domains = ["a.example", "b.example", "c.example"];
    let to: Vec<_> = domains.iter().flat_map(|it| addresses(it, 2)).collect();
    submit_to(&server, &format!("<{ALICE}>"), &to, "domains");
    drained(&server);
    let transcript = hop.transcript();
    assert_eq!(transcript.connections.len(), 3);
    for (connection, domain) in transcript.connections.iter().zip(domains) {
        let [transaction] = &connection.transactions[..] else {
            panic!("{connection:#?}");
        };
        assert_eq!(transaction.to(), addresses(domain, 2));
    }
    assert!(!server.log().contains("\"deferred\""));
}

/// As many recipients as a message may have, a tenth of them unknown.
#[test]
fn a_thousand_recipients_are_one_transaction_and_one_report() {
    let unknown = Act::reply("550 5.1.1 Unknown");
    let hop = Hop::start(Behaviour::starttls().for_recipient(Phase::Rcpt, "0@", unknown));
    let server = Server::with(settings().with("limits", "recipients = 1000").route(&relay(
        "far.example",
        &hop,
        "starttls",
        "",
    )));
    let to = addresses("far.example", 1000);
    submit_to(&server, &format!("<{ALICE}>"), &to, "thousand");
    drained(&server);
    let messages = hop.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].to().len(), 900);
    assert_eq!(hop.transcript().connections.len(), 1);
    let report = server.only(ALICE);
    assert_eq!(report.matches("\nFinal-Recipient: ").count(), 100);
}
