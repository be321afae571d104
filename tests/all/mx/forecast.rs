//! What is told at RCPT, while the client is connected.

use super::{Hosts, one_host, settings};
use crate::{
    hop::{Behaviour, Certificate},
    lab::{Lab, Zone},
    server::{ALICE, Server, gatepost},
};

/// R7505-4.1a, R5321-5.1; DNS trouble is nobody's fault, except for mail that must be verified.
#[test]
fn what_cannot_work_is_refused_while_the_client_waits() {
    let mut hosts = Hosts::new();
    let hop = hosts.host(Behaviour::starttls().certificate(Certificate::MailHost));
    hosts.secure += &(one_host("good", &hop) + "null MX 0 .\n");
    hosts.insecure += &one_host("unsigned", &hop);
    hosts.bogus += &one_host("any", &hop);
    let mut zones = hosts.zones();
    zones.push(Zone::silent("silent.test"));
    let Some(lab) = Lab::start(&zones) else {
        return;
    };
    let settings = settings(&lab, hosts.port, None).with("security", "forecast = \"1s\"");
    let server = Server::with(settings);
    let mut client = server.signed_in();
    let mut ask = |from: &str, to: &str| {
        client
            .send(format!("RSET\r\nMAIL FROM:<{ALICE}>{from}\r\nRCPT TO:<bob@{to}>\r\n").as_bytes())
            .unwrap();
        client.reply().unwrap();
        client.reply().unwrap();
        client.reply().unwrap().remove(0)
    };
    let usual = [
        ("good.secure.test", "250 2.1.5 "),
        ("unsigned.insecure.test", "250 2.1.5 "),
        (
            "nobody.secure.test",
            "550 5.1.2 nobody.secure.test does not exist",
        ),
        (
            "null.secure.test",
            "556 5.1.10 null.secure.test takes no mail",
        ),
        ("any.bogus.test", "250 2.1.5 "),
        ("silent.test", "250 2.1.5 "),
    ];
    let strict = [
        ("good.secure.test", "250 2.1.5 "),
        (
            "unsigned.insecure.test",
            "550 5.7.30 unsigned.insecure.test: REQUIRETLS cannot be met, its MX is not signed",
        ),
        ("nobody.secure.test", "550 5.1.2 "),
        ("null.secure.test", "556 5.1.10 "),
        (
            "any.bogus.test",
            "451 4.4.3 any.bogus.test cannot be looked up",
        ),
        ("silent.test", "451 4.4.3 "),
    ];
    for (from, cases) in [("", usual), (" REQUIRETLS", strict)] {
        for (to, expected) in cases {
            let reply = ask(from, to);
            assert!(reply.starts_with(expected), "{from} {to}: {reply}");
        }
    }
    // The same for an account whose mail is always verified.
    let config = server.path("gatepost.toml");
    gatepost(&config, &["user", "tls", ALICE, "--level", "verified"], "").unwrap();
    let reply = ask("", "unsigned.insecure.test");
    let expected = "550 5.7.30 unsigned.insecure.test: verified TLS cannot be met";
    assert!(reply.starts_with(expected), "{reply}");
}

/// Recipients that come together are looked up side by side, and answered in order.
#[test]
fn pipelined_recipients_are_looked_up_together() {
    let mut hosts = Hosts::new();
    let hop = hosts.host(Behaviour::starttls().certificate(Certificate::MailHost));
    hosts.secure += &one_host("good", &hop);
    let mut zones = hosts.zones();
    zones.push(Zone::silent("silent.test"));
    let Some(lab) = Lab::start(&zones) else {
        return;
    };
    let settings = settings(&lab, hosts.port, None).with("security", "forecast = \"1s\"");
    let server = Server::with(settings);
    let mut client = server.signed_in();
    let names: Vec<_> = (0..20).map(|n| format!("d{n}.silent.test")).collect();
    let mut commands = format!("MAIL FROM:<{ALICE}>\r\n");
    for name in &names {
        commands += &format!("RCPT TO:<bob@{name}>\r\n");
    }
    commands += "RCPT TO:<bob@nobody.secure.test>\r\nRCPT TO:<bob@good.secure.test>\r\n";
    client.send(commands.as_bytes()).unwrap();
    let replies: Vec<_> = (0..23).map(|_| client.reply().unwrap().remove(0)).collect();
    assert!(
        replies[1..21]
            .iter()
            .all(|reply| reply.starts_with("250 2.1.5")),
        "{replies:?}"
    );
    assert!(replies[21].starts_with("550 5.1.2 "), "{replies:?}");
    assert!(replies[22].starts_with("250 2.1.5 "), "{replies:?}");
}
