//! Mail hosts that do not live up to what their domain publishes, or to what the sender's side asks:
//! not a word of a message goes there, not even its reverse-path, and the sender hears of it.

use super::{Hosts, drained, one_host, reports, settings};
use crate::{
    hop::{Act, Behaviour, Certificate, Hop, Phase},
    lab::{Lab, PolicyHost},
    relay::send,
    server::{ALICE, Server},
};

/// What is published of a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Published {
    /// TLSA records of its host's good certificate.
    Dane,
    /// Nothing.
    Nothing,
}

struct Case {
    what: &'static str,
    published: Published,
    behaviour: Behaviour,
    /// The status of the report, where nothing is handed over.
    refused: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let good = || Behaviour::starttls().certificate(Certificate::MailHost);
    let injected =
        b"220 2.0.0 Go ahead\r\n250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n".to_vec();
    let dane = |what, behaviour, refused| Case {
        what,
        published: Published::Dane,
        behaviour,
        refused,
    };
    let nothing = |what, behaviour, refused| Case {
        published: Published::Nothing,
        ..dane(what, behaviour, refused)
    };
    let with = |certificate| Behaviour::starttls().certificate(certificate);
    vec![
        // DANE: the certificate counts, and nothing else.
        dane("dane-good", good(), None),
        dane("dane-strip", Behaviour::plain(), Some("5.7.10")),
        dane("dane-helo", Behaviour::plain().helo_only(), Some("5.7.10")),
        dane("dane-wrong", with(Certificate::WrongName), Some("5.7.5")),
        dane("dane-other", with(Certificate::Good), Some("5.7.5")),
        dane("dane-self", with(Certificate::SelfSigned), Some("5.7.5")),
        dane(
            "dane-refuse",
            good().at(Phase::StartTls, Act::reply("454 4.7.0 Not now")),
            Some("5.7.0"),
        ),
        dane(
            "dane-drop",
            good().at(Phase::Handshake, Act::Close),
            Some("5.4.2"),
        ),
        dane(
            "dane-garbage",
            good().at(Phase::Handshake, Act::nonsense()),
            Some("5.7.10"),
        ),
        dane(
            "dane-inject",
            good().at(Phase::StartTls, Act::Say(injected.clone())),
            Some("5.7.5"),
        ),
        // Nothing published: TLS, whoever it is with.
        nothing("any-good", good(), None),
        nothing("any-wrong", with(Certificate::WrongName), None),
        nothing("any-expired", with(Certificate::MailHostExpired), None),
        nothing("any-self", with(Certificate::SelfSigned), None),
        nothing("any-strip", Behaviour::plain(), Some("5.7.10")),
        nothing(
            "any-inject",
            good().at(Phase::StartTls, Act::Say(injected)),
            Some("5.7.5"),
        ),
    ]
}

/// R7672-2.2a, R7672-2.2c, R7672-3.1.1a, R7672-9.1a.
#[test]
fn nothing_crosses_a_link_that_is_not_proved_and_the_sender_is_told() {
    let mut hosts = Hosts::new();
    let mut running: Vec<(Case, Hop)> = Vec::new();
    for case in cases() {
        let hop = hosts.host(case.behaviour.clone());
        let records = one_host(case.what, &hop);
        match case.published {
            Published::Dane => {
                let tlsa = hosts.tlsa(&format!("{}-mx", case.what), Certificate::MailHost);
                hosts.secure += &(records + &tlsa);
            }
            Published::Nothing => hosts.insecure += &records,
        }
        running.push((case, hop));
    }
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let settings = settings(&lab, hosts.port, None)
        .with("security", "give_up_after = \"3s\"")
        .with("queue", "give_up_after = \"3s\"");
    let server = Server::with(settings);
    let domain = |case: &Case| match case.published {
        Published::Dane => format!("{}.secure.test", case.what),
        Published::Nothing => format!("{}.insecure.test", case.what),
    };
    for (case, _) in &running {
        send(&server, &[&format!("bob@{}", domain(case))], case.what);
    }
    drained(&server);
    let reports = reports(&server, ALICE);
    for (case, hop) in &running {
        let told = format!("\nFinal-Recipient: rfc822; bob@{}\n", domain(case));
        let report = reports.iter().find(|report| report.contains(&told));
        match case.refused {
            None => {
                assert_eq!(
                    hop.messages().len(),
                    1,
                    "{}: {:?}",
                    case.what,
                    hop.transcript()
                );
                assert!(report.is_none(), "{}: {report:?}", case.what);
            }
            Some(status) => {
                let transcript = hop.transcript();
                assert!(!transcript.connections.is_empty(), "{}", case.what);
                transcript.assert_nothing_given_away();
                let report = report.unwrap_or_else(|| panic!("{}: {reports:#?}", case.what));
                assert!(
                    report.contains("\nAction: failed\n"),
                    "{}: {report}",
                    case.what
                );
                let status = format!("\nStatus: {status}\n");
                assert!(report.contains(&status), "{}: {report}", case.what);
            }
        }
    }
    let good = server.logged(&["delivery attempt", "dane-good", "relayed"]);
    assert!(good.contains("\"proof\":\"dane-ee\""), "{good}");
    let any = server.logged(&["delivery attempt", "any-wrong", "relayed"]);
    assert!(any.contains("\"proof\":\"none\""), "{any}");
}

/// R8461-4.1a, R8461-4.2a, R8461-5a, R8461-7.1a: an enforced policy.
#[test]
fn an_enforced_policy_is_obeyed_and_the_sender_is_told() {
    let mut hosts = Hosts::new();
    let good = || Behaviour::starttls().certificate(Certificate::MailHost);
    let cases = [
        ("a", "mx", good(), None),
        ("b", "mx", Behaviour::plain(), Some("5.7.10")),
        (
            "c",
            "mx",
            Behaviour::starttls().certificate(Certificate::MailHostExpired),
            Some("5.7.5"),
        ),
        ("d", "other", good(), Some("5.7.5")),
    ];
    let cases = cases.map(|(domain, host, behaviour, refused)| {
        let hop = hosts.host(behaviour);
        hosts.sts += &format!(
            "{domain} MX 10 {host}.{domain}\n{host}.{domain} A {}\n_mta-sts.{domain} TXT \"v=STSv1; \
             id=1;\"\nmta-sts.{domain} A 127.0.0.1\n",
            hop.address().ip()
        );
        (domain, hop, refused)
    });
    let patterns: String = ["a", "b", "c", "d"]
        .map(|it| format!("mx: mx.{it}.sts.test\r\n"))
        .concat();
    let policy = format!("version: STSv1\r\nmode: enforce\r\n{patterns}max_age: 86400\r\n");
    let policies = PolicyHost::start(Certificate::MailHost, &policy);
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let settings = settings(&lab, hosts.port, Some(&policies))
        .with("security", "give_up_after = \"3s\"")
        .with("queue", "give_up_after = \"3s\"");
    let server = Server::with(settings);
    for (domain, ..) in &cases {
        send(&server, &[&format!("bob@{domain}.sts.test")], domain);
    }
    drained(&server);
    let reports = reports(&server, ALICE);
    for (domain, hop, refused) in &cases {
        let told = format!("\nFinal-Recipient: rfc822; bob@{domain}.sts.test\n");
        let report = reports.iter().find(|report| report.contains(&told));
        match refused {
            None => {
                assert_eq!(hop.messages().len(), 1, "{domain}");
                assert!(report.is_none(), "{domain}: {report:?}");
            }
            Some(status) => {
                hop.transcript().assert_nothing_given_away();
                let report = report.unwrap_or_else(|| panic!("{domain}: {reports:#?}"));
                assert!(
                    report.contains(&format!("\nStatus: {status}\n")),
                    "{domain}: {report}"
                );
            }
        }
    }
    // A host that the policy does not name is not even connected to.
    assert!(cases[3].1.transcript().connections.is_empty());
    let line = server.logged(&["delivery attempt", "bob@a.sts.test", "relayed"]);
    assert!(line.contains("\"proof\":\"webpki\""), "{line}");
    let asked = policies.asked();
    assert!(
        asked.contains(&"GET /.well-known/mta-sts.txt HTTP/1.1 mta-sts.a.sts.test".to_owned()),
        "{asked:?}"
    );
}
