//! What each level asks, and what each kind of TLSA record proves.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Hosts, drained, one_host, reports, settings};
use crate::{
    hop::{Act, Behaviour, Certificate, Handshake, Hop, Phase, authority},
    lab::Lab,
    relay::{letter, send, submit},
    server::{ALICE, Server},
};

/// How a message is to arrive: what was proved of the certificate, and of the mail host; or the
/// status of the report.
type Expected = Result<(&'static str, &'static str), &'static str>;

/// R7672-2.2b, R7672-3.1.2a, R7672-2.1.2a, R6698-4.1a; the levels.
#[test]
fn every_kind_of_record_and_level_asks_what_it_should() {
    let mut hosts = Hosts::new();
    let ca = gatepost::tls::read_pem(&authority())
        .unwrap()
        .certificates
        .remove(0);
    let digest = HEXLOWER.encode(&Sha256::digest(&ca));
    let ca = HEXLOWER.encode(&ca);
    let other = "ab".repeat(32);
    let right = HEXLOWER.encode(&Certificate::MailHost.fingerprint());
    let with = |certificate| Behaviour::starttls().certificate(certificate);
    let good = || with(Certificate::MailHost);
    // The hosts do not show their authority, so that it must be published whole.
    let (ta, hidden) = (format!("2 0 0 {ca}"), format!("2 0 1 {digest}"));
    let both = format!("3 0 1 {other}|3 0 1 {right}");
    let strong = format!("3 0 1 {right}|3 0 2 {other}{other}");
    // Domain, TLSA records, behaviour, expected. Domains that begin with "v-" must be verified.
    let cases: Vec<(&str, &str, Behaviour, Expected)> = vec![
        ("ta", &ta, good(), Ok(("dane-ta", "dnssec"))),
        (
            "ta-expired",
            &ta,
            with(Certificate::MailHostExpired),
            Err("5.7.5"),
        ),
        ("ta-name", &ta, with(Certificate::Good), Err("5.7.5")),
        (
            "ta-other",
            &ta,
            with(Certificate::OtherAuthority),
            Err("5.7.5"),
        ),
        ("ta-hidden", &hidden, good(), Err("5.7.5")),
        ("rollover", &both, good(), Ok(("dane-ee", "dnssec"))),
        // A record of the stronger digest makes the weaker one void.
        ("agility", &strong, good(), Err("5.7.5")),
        (
            "unusable",
            "1 0 1 00|3 0 1 abcd",
            with(Certificate::SelfSigned),
            Ok(("none", "dnssec")),
        ),
        (
            "unusable-strip",
            "1 0 1 00",
            Behaviour::plain(),
            Err("5.7.10"),
        ),
        ("v-ta", &ta, good(), Ok(("dane-ta", "dnssec"))),
        ("v-name", "", good(), Ok(("webpki", "dnssec"))),
        ("v-self", "", with(Certificate::SelfSigned), Err("5.7.5")),
        ("v-wrong", "", with(Certificate::WrongName), Err("5.7.5")),
        ("v-unusable", "1 0 1 00", good(), Ok(("webpki", "dnssec"))),
        ("v-strip", "", Behaviour::plain(), Err("5.7.10")),
    ];
    let mut running: Vec<(String, Hop, Expected)> = Vec::new();
    for (domain, tlsa, behaviour, expected) in cases {
        let hop = hosts.host(behaviour);
        hosts.secure += &one_host(domain, &hop);
        for record in tlsa.split('|').filter(|it| !it.is_empty()) {
            hosts.secure += &format!("_{}._tcp.{domain}-mx TLSA {record}\n", hosts.port);
        }
        running.push((format!("{domain}.secure.test"), hop, expected));
    }
    let unsigned = hosts.host(good());
    hosts.insecure += &one_host("v-unsigned", &unsigned);
    running.push(("v-unsigned.insecure.test".into(), unsigned, Err("5.7.5")));
    let bogus = hosts.host(good());
    hosts.bogus += &one_host("any", &bogus);
    running.push(("any.bogus.test".into(), bogus, Err("5.7.5")));
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let verified: Vec<_> = running
        .iter()
        .filter(|(domain, ..)| domain.starts_with("v-"))
        .map(|(domain, ..)| format!("\"{domain}\""))
        .collect();
    let settings = settings(&lab, hosts.port, None)
        .with("security", "give_up_after = \"3s\"")
        .with("security", "give_up_strict_after = \"3s\"")
        .with("security", &format!("verified = [{}]", verified.join(", ")));
    let server = Server::with(settings);
    for (n, (domain, ..)) in running.iter().enumerate() {
        send(&server, &[&format!("bob@{domain}")], &format!("m{n}"));
    }
    drained(&server);
    let reports = reports(&server, ALICE);
    for (domain, hop, expected) in &running {
        let told = format!("\nFinal-Recipient: rfc822; bob@{domain}\n");
        let report = reports.iter().find(|report| report.contains(&told));
        match expected {
            Ok((proof, mx)) => {
                assert_eq!(
                    hop.messages().len(),
                    1,
                    "{domain}: {:?} {report:?}",
                    hop.transcript()
                );
                let to = format!("bob@{domain}");
                let line = server.logged(&["delivery attempt", &to, "\"relayed\""]);
                assert!(line.contains(&format!("\"proof\":\"{proof}\"")), "{line}");
                assert!(line.contains(&format!("\"mx\":\"{mx}\"")), "{line}");
            }
            Err(status) => {
                hop.transcript().assert_nothing_given_away();
                let report = report.unwrap_or_else(|| panic!("{domain}: {reports:#?}"));
                assert!(
                    report.contains(&format!("\nStatus: {status}\n")),
                    "{domain}: {report}"
                );
            }
        }
    }
    let connected = |domain: &str| {
        let found = running.iter().find(|(other, ..)| other == domain).unwrap();
        !found.1.transcript().connections.is_empty()
    };
    // What can be known without asking the host is not asked of it.
    assert!(!connected("v-unsigned.insecure.test"));
    assert!(!connected("any.bogus.test"));
    assert!(connected("v-self.secure.test"));
}

/// R7672-2.2.1b: a resolver that vouches for nothing: mail that must be verified waits, and the reason is told.
#[test]
fn without_a_validating_resolver_verified_mail_says_why_it_waits() {
    let mut hosts = Hosts::new();
    let hop = hosts.host(Behaviour::starttls().certificate(Certificate::MailHost));
    hosts.secure += &one_host("v", &hop);
    hosts.secure += &one_host("e", &hop);
    let Some(lab) = Lab::start_without_validation(&hosts.zones()) else {
        return;
    };
    let settings = settings(&lab, hosts.port, None)
        .with("security", "give_up_strict_after = \"2s\"")
        .with("security", "verified = [\"v.secure.test\"]");
    let server = Server::with(settings);
    send(&server, &["bob@v.secure.test"], "strict");
    send(&server, &["bob@e.secure.test"], "other");
    drained(&server);
    let to: Vec<_> = hop.messages().iter().map(|it| it.to().join(" ")).collect();
    assert_eq!(to, ["bob@e.secure.test"]);
    let reports = reports(&server, ALICE);
    assert_eq!(reports.len(), 1, "{reports:#?}");
    let unfolded = reports[0].replace("\n ", " ");
    assert!(unfolded.contains("does not validate DNSSEC"), "{unfolded}");
    // What went out says that DANE was not in use.
    let trace = server.manage(&["trace", "<other@laptop.example>"]);
    let words = "without DANE and DNSSEC: the resolver does not validate";
    assert!(trace.contains(words), "{trace}");
}

/// R8689-4.2.2a: where TLS is only to be used if it is there, TLS that does not work keeps no message;
/// at any other level it does.
#[test]
fn broken_tls_is_gone_without_only_where_none_is_needed() {
    let mut hosts = Hosts::new();
    let broken = || Behaviour::starttls().at(Phase::Handshake, Act::nonsense());
    let (lowered, usual) = (hosts.host(broken()), hosts.host(broken()));
    hosts.insecure += &(one_host("lowered", &lowered) + &one_host("usual", &usual));
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    server.manage(&["user", "tls", ALICE, "--requiretls", "may-lower"]);
    let mut client = server.signed_in();
    for (domain, field) in [("lowered", "TLS-Required: No\r\n"), ("usual", "")] {
        let content = [field.as_bytes(), &letter(domain, "Hello.\r\n")].concat();
        let to = format!("<bob@{domain}.insecure.test>");
        submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
    }
    lowered.wait_for_messages(1);
    let line = server.logged(&["delivery attempt", "bob@lowered.insecure.test", "relayed"]);
    assert!(!line.contains("TLSv1"), "{line}");
    server.logged(&["delivery attempt", "bob@usual.insecure.test", "deferred"]);
    usual.transcript().assert_nothing_given_away();
    let trace = server.manage(&["trace", "<lowered@laptop.example>"]);
    assert!(trace.contains("not encrypted"), "{trace}");
}

/// R7672-8.1a: the name that is asked for in the handshake is the one under which records were found,
/// at the end of the host's aliases.
#[test]
fn a_host_is_asked_for_by_the_name_that_its_records_have() {
    let mut hosts = Hosts::new();
    let good = || Behaviour::starttls().certificate(Certificate::MailHost);
    let (aliased, plain) = (hosts.host(good()), hosts.host(good()));
    let address = aliased.address().ip();
    hosts.secure += &format!("a MX 10 alias\nalias CNAME real\nreal A {address}\n");
    hosts.secure += &hosts.tlsa("real", Certificate::MailHost);
    hosts.insecure += &one_host("plain", &plain);
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    for (domain, hop, name) in [
        ("a.secure.test", &aliased, "real.secure.test"),
        ("plain.insecure.test", &plain, "plain-mx.insecure.test"),
    ] {
        send(&server, &[&format!("bob@{domain}")], domain);
        hop.wait_for_messages(1);
        match &hop.transcript().connections[0].handshake {
            Handshake::Done { name: asked, .. } => assert_eq!(asked.as_deref(), Some(name)),
            handshake => panic!("{handshake:?}"),
        }
    }
}
