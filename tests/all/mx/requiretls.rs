//! REQUIRETLS and its opposite (RFC 8689): strict, passed on, or told at once that it cannot be.

use super::{Hosts, drained, one_host, reports, settings};
use crate::{
    hop::{Behaviour, Certificate, Hop},
    lab::Lab,
    relay::{letter, submit, try_to_submit},
    server::{ALICE, Server, gatepost},
};

fn good() -> Behaviour {
    Behaviour::starttls().certificate(Certificate::MailHost)
}

fn offering() -> Behaviour {
    good().offers("REQUIRETLS")
}

/// R8689-4.2.1a, R8689-4.2.1b, R8689-4.2.1c, R8689-4.2.1d, R8689-4.2.1e, R8689-4.2.1f, R8689-5a, R8689-5b.
#[test]
fn it_is_passed_on_to_a_proved_host_that_offers_it_or_the_sender_is_told_at_once() {
    let mut hosts = Hosts::new();
    let cases: Vec<(&str, Behaviour, Option<&str>)> = vec![
        ("yes", offering(), None),
        ("lacks", good(), Some("5.7.30")),
        (
            "self",
            Behaviour::starttls()
                .certificate(Certificate::SelfSigned)
                .offers("REQUIRETLS"),
            Some("5.7.10"),
        ),
        (
            "strip",
            Behaviour::plain().offers("REQUIRETLS"),
            Some("5.7.10"),
        ),
    ];
    let mut running: Vec<(String, Hop, Option<&str>)> = Vec::new();
    for (domain, behaviour, refused) in cases {
        let hop = hosts.host(behaviour);
        hosts.secure += &one_host(domain, &hop);
        running.push((format!("{domain}.secure.test"), hop, refused));
    }
    let unsigned = hosts.host(offering());
    hosts.insecure += &one_host("unsigned", &unsigned);
    running.push(("unsigned.insecure.test".into(), unsigned, Some("5.7.10")));
    // The second host offers it.
    let (first, second) = (hosts.host(good()), hosts.host(offering()));
    hosts.secure += &format!(
        "next MX 10 next1\nnext MX 20 next2\nnext1 A {}\nnext2 A {}\n",
        first.address().ip(),
        second.address().ip()
    );
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    let mut client = server.signed_in();
    let from = format!("<{ALICE}> REQUIRETLS RET=FULL");
    let domains = running.iter().map(|(domain, ..)| domain.as_str());
    for (n, domain) in domains.chain(["next.secure.test"]).enumerate() {
        let name = format!("m{n}");
        let content = String::from_utf8(letter(&name, "between us\r\n")).unwrap();
        let subject = format!("Subject: {name}");
        let content = content.replace(&subject, "Subject: secret").into_bytes();
        submit(&mut client, &from, &[&format!("<bob@{domain}>")], &content);
    }
    drained(&server);
    let reports = reports(&server, ALICE);
    for (domain, hop, refused) in &running {
        let told = format!("\nFinal-Recipient: rfc822; bob@{domain}\n");
        let report = reports.iter().find(|report| report.contains(&told));
        match refused {
            None => {
                let messages = hop.messages();
                assert_eq!(messages.len(), 1, "{domain}");
                let parameters = &messages[0].sender.parameters;
                assert!(
                    parameters.contains(&"REQUIRETLS".to_owned()),
                    "{parameters:?}"
                );
                assert!(report.is_none(), "{report:?}");
            }
            Some(status) => {
                assert!(hop.messages().is_empty(), "{domain}");
                let heard = format!("{:?}", hop.transcript());
                assert!(!heard.contains("MAIL FROM"), "{domain}: {heard}");
                let report = report.unwrap_or_else(|| panic!("{domain}: {reports:#?}"));
                assert!(
                    report.contains(&format!("\nStatus: {status}\n")),
                    "{domain}: {report}"
                );
                // What was to be protected does not come back in a report that may not be.
                assert!(!report.contains("secret"), "{domain}: {report}");
                assert!(!report.contains("between us"), "{domain}: {report}");
                assert!(report.contains("REQUIRETLS"), "{domain}: {report}");
            }
        }
    }
    assert!(first.messages().is_empty());
    assert_eq!(second.messages().len(), 1);
}

/// An account whose mail is always so, for clients that cannot ask.
#[test]
fn an_account_may_require_it_for_all_its_mail() {
    let mut hosts = Hosts::new();
    let (yes, lacks) = (hosts.host(offering()), hosts.host(good()));
    let records = one_host("yes", &yes) + &one_host("lacks", &lacks);
    hosts.secure += &records;
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    let config = server.path("gatepost.toml");
    gatepost(
        &config,
        &["user", "tls", ALICE, "--requiretls", "require"],
        "",
    )
    .unwrap();
    let mut client = server.signed_in();
    for to in ["<bob@yes.secure.test>", "<bob@lacks.secure.test>"] {
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &[to],
            &letter("s", "x\r\n"),
        );
    }
    drained(&server);
    let parameters = &yes.messages()[0].sender.parameters;
    assert!(
        parameters.contains(&"REQUIRETLS".to_owned()),
        "{parameters:?}"
    );
    assert!(lacks.messages().is_empty());
    assert!(reports(&server, ALICE)[0].contains("\nStatus: 5.7.30\n"));
}

/// R8689-4.1b, R8689-4.2.2a: only where the account may, and refused while the client waits otherwise.
#[test]
fn less_than_what_is_published_is_for_accounts_that_may_ask_for_it() {
    let mut hosts = Hosts::new();
    let plain = hosts.host(Behaviour::plain());
    let tlsa = hosts.tlsa("plain-mx", Certificate::MailHost);
    hosts.secure += &(one_host("plain", &plain) + &tlsa);
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    let mut client = server.signed_in();
    let content = [b"TLS-Required: No\r\n".to_vec(), letter("lowered", "x\r\n")].concat();
    let (from, to) = (format!("<{ALICE}>"), "<bob@plain.secure.test>");
    let reply = try_to_submit(&mut client, &from, &[to], &content);
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    let config = server.path("gatepost.toml");
    gatepost(
        &config,
        &["user", "tls", ALICE, "--requiretls", "may-lower"],
        "",
    )
    .unwrap();
    submit(&mut client, &from, &[to], &content);
    drained(&server);
    let messages = plain.messages();
    assert_eq!(messages.len(), 1);
    // It is for the next hops to see, too.
    assert!(String::from_utf8_lossy(&messages[0].content).contains("TLS-Required: No\r\n"));
    let strict = format!("<{ALICE}> REQUIRETLS");
    submit(&mut client, &strict, &[to], &content);
    drained(&server);
    assert_eq!(plain.messages().len(), 1);
    assert!(reports(&server, ALICE)[0].contains("\nStatus: 5.7.10\n"));
}
