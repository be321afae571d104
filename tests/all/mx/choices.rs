//! Which hosts a message goes to, in which order, and what becomes of it where there are none.

use super::{Hosts, drained, one_host, reports, settings};
use crate::{
    hop::{Act, Behaviour, Certificate, Phase},
    lab::Lab,
    relay::send,
    server::{ALICE, Server},
};

fn good() -> Behaviour {
    Behaviour::starttls().certificate(Certificate::MailHost)
}

/// R5321-5.1g, R5321-5.1h, R7672-2.2.1a: lower preferences first, whoever has TLSA records, the next host where one cannot be spoken to or is not proved,
/// the domain's own address where it names no host.
#[test]
fn the_next_host_is_tried_where_one_does_not_serve() {
    let mut hosts = Hosts::new();
    let (first, second) = (hosts.host(good()), hosts.host(good()));
    let busy = hosts.host(good().at(Phase::Greeting, Act::last("421 4.3.2 Busy")));
    let stripped = hosts.host(Behaviour::plain());
    let nobody = hosts.address().ip();
    let at = |hop: &crate::hop::Hop| hop.address().ip();
    hosts.secure += &format!(
        "order MX 20 second\norder MX 10 first\nfirst A {first}\nsecond A {second}\n\
         dead MX 10 dead1\ndead MX 20 second\ndead1 A {nobody}\n\
         busy MX 10 busy1\nbusy MX 20 second\nbusy1 A {busy}\n\
         strip MX 10 strip1\nstrip MX 20 second\nstrip1 A {stripped}\n\
         own A {second}\n",
        first = at(&first),
        second = at(&second),
        busy = at(&busy),
        stripped = at(&stripped),
    );
    let tlsa =
        hosts.tlsa("second", Certificate::MailHost) + &hosts.tlsa("strip1", Certificate::MailHost);
    hosts.secure += &tlsa;
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    for domain in ["order", "dead", "busy", "strip", "own"] {
        send(&server, &[&format!("bob@{domain}.secure.test")], domain);
    }
    drained(&server);
    let got = |hop: &crate::hop::Hop| {
        let mut to: Vec<_> = hop
            .messages()
            .iter()
            .flat_map(|message| {
                message
                    .to()
                    .into_iter()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        to.sort();
        to
    };
    assert_eq!(got(&first), ["bob@order.secure.test"]);
    assert_eq!(
        got(&second),
        [
            "bob@busy.secure.test",
            "bob@dead.secure.test",
            "bob@own.secure.test",
            "bob@strip.secure.test"
        ]
    );
    stripped.transcript().assert_nothing_given_away();
    assert!(reports(&server, ALICE).is_empty());
}

/// R5321-5.1b, R5321-5.1f, R7505-3a: what can never be delivered comes back at once.
#[test]
fn a_domain_without_a_host_fails_at_once() {
    let mut hosts = Hosts::new();
    let unused = hosts.host(good());
    hosts.secure += &format!(
        "null MX 0 .\nbare TXT \"nothing here\"\nodd MX 10 _not-a-host-\n{}",
        one_host("refusing", &unused)
    );
    let refusing = hosts.host(good().at(Phase::Rcpt, Act::reply("550 5.1.1 Nobody here")));
    hosts.secure += &one_host("never", &refusing);
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    let cases = [
        ("null", "5.1.10"),
        ("nobody", "5.1.2"),
        ("bare", "5.4.4"),
        ("never", "5.1.1"),
    ];
    for (domain, _) in cases {
        send(&server, &[&format!("bob@{domain}.secure.test")], domain);
    }
    drained(&server);
    let reports = reports(&server, ALICE);
    for (domain, status) in cases {
        let told = format!("\nFinal-Recipient: rfc822; bob@{domain}.secure.test\n");
        let report = reports.iter().find(|report| report.contains(&told));
        let report = report.unwrap_or_else(|| panic!("{domain}: {reports:#?}"));
        assert!(
            report.contains(&format!("\nStatus: {status}\n")),
            "{domain}: {report}"
        );
    }
    assert!(unused.transcript().connections.is_empty());
}

/// R5321-5.1j: a host that is this server, and those behind it, get nothing; nobody comes before it,
/// so the message comes back at once.
#[test]
fn a_host_that_is_this_server_ends_the_search() {
    let mut hosts = Hosts::new();
    let (before, behind) = (hosts.host(good()), hosts.host(good()));
    hosts.secure += &format!(
        "self A 127.0.0.1\nbefore A {}\nbehind A {}\n\
         loop MX 10 self\nloop MX 20 behind\nfine MX 10 before\nfine MX 20 self\n",
        before.address().ip(),
        behind.address().ip(),
    );
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let own = format!("submission = [\"127.0.0.1:{}\"]", hosts.port);
    let server = Server::with(settings(&lab, hosts.port, None).with("listeners", &own));
    for domain in ["loop", "fine"] {
        send(&server, &[&format!("bob@{domain}.secure.test")], domain);
    }
    drained(&server);
    assert_eq!(before.messages().len(), 1);
    assert!(behind.transcript().connections.is_empty());
    let reports = reports(&server, ALICE);
    assert_eq!(reports.len(), 1, "{reports:#?}");
    for words in ["rfc822; bob@loop.secure.test\n", "\nStatus: 5.4.6\n"] {
        assert!(reports[0].contains(words), "{words}: {}", reports[0]);
    }
}
