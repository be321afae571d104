//! What an operator can ask about the way out.

use serde_json::Value;

use super::{Hosts, drained, one_host, settings};
use crate::{
    hop::{Behaviour, Certificate},
    lab::Lab,
    relay::send,
    server::Server,
};

fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The forecast says what a host must prove, the trace what it has proved, the doctor what is missing.
#[test]
fn forecast_trace_and_doctor_tell_of_the_way_out() {
    let mut hosts = Hosts::new();
    let hop = hosts.host(Behaviour::starttls().certificate(Certificate::MailHost));
    let tlsa = hosts.tlsa("good-mx", Certificate::MailHost);
    hosts.secure += &(one_host("good", &hop) + &tlsa + "null MX 0 .\n");
    hosts.insecure += &one_host("unsigned", &hop);
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let server = Server::with(settings(&lab, hosts.port, None));
    let ask = |arguments: &[&str]| server.gatepost(arguments, "");

    let text = ask(&["forecast", "bob@good.secure.test"]).unwrap();
    for words in [
        "signed (DNSSEC)",
        "good-mx.secure.test",
        "(DANE)",
        "can be handed over",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let found = objects(&ask(&["--json", "forecast", "bob@unsigned.insecure.test"]).unwrap());
    assert_eq!(found[0]["outlook"], "fair");
    assert_eq!(found[0]["hosts"][0]["identity"], "none");
    assert_eq!(found[0]["hosts"][0]["tls"], "always");
    let refused = ask(&["forecast", "--requiretls", "bob@unsigned.insecure.test"]).unwrap_err();
    assert!(refused.contains("not signed"), "{refused}");
    let refused = ask(&["forecast", "bob@null.secure.test"]).unwrap_err();
    assert!(refused.contains("takes no mail"), "{refused}");

    send(&server, &["bob@good.secure.test"], "traced");
    drained(&server);
    let text = ask(&["trace", "<traced@laptop.example>"]).unwrap();
    for words in [
        "identity proved by DANE",
        "mail host of the domain by DNSSEC",
        "127.0.0.",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    // This host's own name is not in the laboratory's DNS.
    let told = ask(&["--json", "doctor", "--mail-host-of", "good.secure.test"]).unwrap_err();
    let matters = objects(&told);
    let state = |name: &str| {
        let matter = matters.iter().find(|it| it["matter"] == name);
        matter.unwrap_or_else(|| panic!("{name}: {told}"))["state"].clone()
    };
    assert_eq!(state("resolver"), "good");
    assert_eq!(state("clock"), "good");
    assert_eq!(state("way out"), "good");
    assert_eq!(state("own name"), "bad");
    assert_ne!(state("disk"), "bad");
    // Nor are the records of example.org.
    assert_eq!(state("records"), "bad");
    let told = ask(&["doctor", "--mail-host-of", "null.secure.test"]).unwrap_err();
    assert!(told.contains("port 25"), "{told}");
}

/// Opening 9: a resolver that does not validate is told of where verified mail would wait for it.
#[test]
fn a_resolver_that_does_not_validate_shows_in_health_and_log() {
    let Some(lab) = Lab::start_without_validation(&Hosts::new().zones()) else {
        return;
    };
    let settings = settings(&lab, 25, None).with("security", "level = \"verified\"");
    let server = Server::with(settings);
    server.logged(&["ERROR", "does not validate DNSSEC"]);
    let (_, health) = server.get("/healthz");
    assert!(
        health.contains("degraded") && health.contains("does not validate"),
        "{health}"
    );
    let told = server.gatepost(&["doctor"], "").unwrap_err();
    assert!(told.contains("bad      resolver"), "{told}");
    let told = server.manage(&["check", "--no-ports"]);
    assert!(
        told.contains("warning") && told.contains("mail that must be verified waits"),
        "{told}"
    );
}
