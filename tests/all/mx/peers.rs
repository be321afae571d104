//! Postfix as the mail host of domains with DANE, with MTA-STS, and of such as promise what it does not
//! keep.

use gatepost::tls::{read_pem, tlsa};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Hosts, drained, reports, settings};
use crate::{
    hop::{Certificate, authority},
    lab::{Lab, PolicyHost},
    peers::{MailHost, Postfix},
    relay::{letter, send, submit},
    server::{ALICE, Server},
};

/// R7672-3.1.1a, R7672-3.1.2a, R8461-4.2a, R7672-9.1a.
#[test]
fn postfix_gets_what_it_proves_to_be_for_and_nothing_else() {
    let mut hosts = Hosts::new();
    let host = |hosts: &mut Hosts, name, certificate| MailHost {
        address: hosts.address(),
        name,
        tls: true,
        certificate,
        shows_authority: name == "ta",
    };
    let good = Certificate::MailHost;
    let ee = host(&mut hosts, "ee", good);
    let ta = host(&mut hosts, "ta", good);
    let sts = host(&mut hosts, "sts", good);
    let wrong = host(&mut hosts, "wrong", good);
    let open = MailHost {
        tls: false,
        ..host(&mut hosts, "open", good)
    };
    let port = hosts.port;
    let records = |name: &str, it: &MailHost, tlsa: String| {
        let address = it.address.ip();
        let tlsa = match tlsa.as_str() {
            "" => String::new(),
            tlsa => format!("_{port}._tcp.{name}-mx TLSA {tlsa}\n"),
        };
        format!("{name} MX 10 {name}-mx\n{name}-mx A {address}\n{tlsa}")
    };
    let root = read_pem(&authority()).unwrap().certificates.remove(0);
    let root = data_encoding::HEXLOWER.encode(&Sha256::digest(&root));
    let other = tlsa(&Certificate::SelfSigned.der()).unwrap();
    hosts.secure += &records("ee", &ee, tlsa(&good.der()).unwrap().to_string());
    hosts.secure += &records("ta", &ta, format!("2 0 1 {root}"));
    hosts.secure += &records("wrong", &wrong, other.to_string());
    hosts.insecure += &records("open", &open, String::new());
    hosts.sts += &format!(
        "a MX 10 mx.a\nmx.a A {}\n_mta-sts.a TXT \"v=STSv1; id=1;\"\nmta-sts.a A 127.0.0.1\n",
        sts.address.ip()
    );
    let policy = "version: STSv1\r\nmode: enforce\r\nmx: mx.a.sts.test\r\nmax_age: 86400\r\n";
    let policies = PolicyHost::start(good, policy);
    let (Some(lab), Some(mut postfix)) = (
        Lab::start(&hosts.zones()),
        Postfix::with(&[ee, ta, sts, wrong, open]),
    ) else {
        return;
    };
    let settings = settings(&lab, port, Some(&policies))
        .with("security", "give_up_after = \"3s\"")
        .with("queue", "give_up_after = \"3s\"");
    let server = Server::with(settings);
    let body = "Hello.\r\n.\r\n..\r\nGr\u{fc}\u{df}e\r\n";
    for (domain, subject) in [
        ("ee.secure.test", "ee"),
        ("ta.secure.test", "ta"),
        ("a.sts.test", "sts"),
    ] {
        let mut client = server.signed_in();
        let to = format!("<bob@{domain}>");
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &[&to],
            &letter(subject, body),
        );
    }
    send(&server, &["bob@wrong.secure.test"], "wrong");
    send(&server, &["bob@open.insecure.test"], "open");
    let mail = postfix.wait_for_mail(3);
    drained(&server);
    for (subject, proof, mx) in [
        ("ee", "dane-ee", "dnssec"),
        ("ta", "dane-ta", "dnssec"),
        ("sts", "webpki", "mta-sts"),
    ] {
        let line = format!("\nSubject: {subject}\n");
        let arrived = mail.iter().find(|it| it.contains(&line)).unwrap();
        assert!(arrived.ends_with(&body.replace("\r\n", "\n")), "{arrived}");
        let id = format!("<{subject}@laptop.example>");
        let trace = server.manage(&["--json", "trace", &id]);
        let trace: Value = serde_json::from_str(&trace).unwrap();
        let tried = &trace["tries"][0];
        assert_eq!(tried["outcome"], "relayed", "{tried}");
        assert_eq!(tried["tls"]["version"], "TLSv1.3");
        assert_eq!(tried["tls"]["proof"], proof, "{tried}");
        assert_eq!(tried["mx_proof"], mx, "{tried}");
    }
    assert_eq!(postfix.wait_for_mail(3).len(), 3);
    let log = postfix.log();
    for (name, status) in [("wrong", "5.7.5"), ("open", "5.7.10")] {
        let lines: Vec<_> = log
            .lines()
            .filter(|it| it.contains(&format!("postfix/{name}/")))
            .collect();
        let ended = |line: &&&str| line.contains(" disconnect from ");
        assert!(lines.iter().any(|it| ended(&it)), "{name}: {log}");
        assert!(lines.iter().all(|it| !it.contains(" mail=")), "{lines:#?}");
        let domain = if name == "open" { "insecure" } else { "secure" };
        let told = format!("\nFinal-Recipient: rfc822; bob@{name}.{domain}.test\n");
        let reports = reports(&server, ALICE);
        let report = reports.iter().find(|it| it.contains(&told));
        let report = report.unwrap_or_else(|| panic!("{name}: {reports:#?}"));
        assert!(
            report.contains(&format!("\nStatus: {status}\n")),
            "{report}"
        );
    }
}
