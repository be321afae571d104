//! What reports prove to programs, as Python's email package reads them.

use serde_json::Value;

use super::{Hosts, drained, one_host, settings};
use crate::{
    hop::{Behaviour, Certificate},
    lab::Lab,
    relay::{letter, reports::reports, submit},
    server::{ALICE, Server},
};

/// The group of a report's status about this recipient, in the report with this action.
fn group(reports: &[Value], action: &str, recipient: &str) -> Value {
    let groups = reports
        .iter()
        .flat_map(|report| &report["status"].as_array().unwrap()[1..]);
    let wanted = format!("rfc822; {recipient}");
    let mut found =
        groups.filter(|it| it["Action"] == action && it["Final-Recipient"] == wanted.as_str());
    let group = found.next();
    group
        .unwrap_or_else(|| panic!("{action} {recipient}: {reports:#?}"))
        .clone()
}

/// R3464-2a: success, delay and failure, each with its evidence in fields that programs can read.
#[test]
fn python_finds_the_evidence_of_every_kind_of_report() {
    let mut hosts = Hosts::new();
    // Without DSN, success is ours to tell.
    let good = || {
        Behaviour::starttls()
            .certificate(Certificate::MailHost)
            .without("DSN")
    };
    let (dane, any) = (hosts.host(good()), hosts.host(good()));
    let stripped = hosts.host(Behaviour::plain());
    let tlsa = hosts.tlsa("dane-mx", Certificate::MailHost);
    hosts.secure += &(one_host("dane", &dane) + &tlsa);
    hosts.insecure += &(one_host("any", &any) + &one_host("open", &stripped));
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let settings = settings(&lab, hosts.port, None)
        .with("security", "notice = \"1s\"")
        .with("security", "give_up_after = \"6s\"");
    let server = Server::with(settings);
    for domain in [
        "dane.secure.test",
        "any.insecure.test",
        "open.insecure.test",
    ] {
        let to = format!("<bob@{domain}> NOTIFY=SUCCESS,DELAY,FAILURE");
        let content = letter(domain, "Hello.\r\n");
        let mut client = server.signed_in();
        submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
    }
    drained(&server);
    let Some(reports) = reports(&server) else {
        return;
    };
    let starts = |group: &Value, field: &str, words: &str| {
        let value = group[field].as_str().unwrap_or_default();
        assert!(value.starts_with(words), "{field}: {group:#}");
    };
    let told = group(&reports, "relayed", "bob@dane.secure.test");
    assert_eq!(told["Remote-MTA"], "dns; dane-mx.secure.test");
    assert_eq!(told["X-Gatepost-MX"], "dane-mx.secure.test; proof=dnssec");
    assert_eq!(told["X-Gatepost-Certificate"], "proof=dane-ee");
    starts(&told, "X-Gatepost-TLS", "TLSv1.3; TLS");
    let told = group(&reports, "relayed", "bob@any.insecure.test");
    assert_eq!(told["X-Gatepost-MX"], "any-mx.insecure.test; proof=none");
    assert_eq!(told["X-Gatepost-Certificate"], "proof=webpki");
    for (action, status) in [("delayed", "4.7.10"), ("failed", "5.7.10")] {
        let told = group(&reports, action, "bob@open.insecure.test");
        assert_eq!(told["Status"], status);
        assert_eq!(told["X-Gatepost-Required-Protection"], "encrypted");
        assert_eq!(told["X-Gatepost-TLS"], Value::Null);
    }
    let delay = group(&reports, "delayed", "bob@open.insecure.test");
    assert!(delay["Will-Retry-Until"].is_string(), "{delay:#}");
}
