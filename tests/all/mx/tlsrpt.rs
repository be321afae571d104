//! Domains that ask for reports on TLS get them, by mail and by HTTPS, whatever is wrong with their own.

use std::io::Read;

use flate2::read::GzDecoder;
use mail_auth::report::tlsrpt::TlsReport;
use serde_json::Value;

use super::{Hosts, one_host, settings};
use crate::{
    hop::{Behaviour, Certificate},
    lab::{Lab, PolicyHost},
    relay::send,
    server::{Server, wait_for},
};

fn details(report: &Value) -> Vec<(String, u64)> {
    let policies = report["policies"].as_array().unwrap();
    let mut found = Vec::new();
    for policy in policies {
        let kind = policy["policy"]["policy-type"].as_str().unwrap();
        let good = policy["summary"]["total-successful-session-count"].as_u64();
        found.push((format!("{kind} success"), good.unwrap()));
        for detail in policy["failure-details"].as_array().unwrap() {
            let result = detail["result-type"].as_str().unwrap();
            let count = detail["failed-session-count"].as_u64().unwrap();
            found.push((format!("{kind} {result}"), count));
        }
    }
    found
}

fn unpacked(gzip: &[u8]) -> Value {
    let mut json = String::new();
    GzDecoder::new(gzip).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// R8460-3b, R8460-3c, R8460-4a, R8460-5.3a, R8460-5.4a.
#[test]
fn reports_tell_what_was_found_and_arrive_in_spite_of_it() {
    let mut hosts = Hosts::new();
    let good = hosts.host(Behaviour::starttls().certificate(Certificate::MailHost));
    let wrong = hosts.host(Behaviour::starttls().certificate(Certificate::WrongName));
    let stripped = hosts.host(Behaviour::plain());
    // The first host of the domain shows another certificate than is published, the second one is
    // as it should be.
    let at = |hop: &crate::hop::Hop| hop.address().ip();
    hosts.secure += &format!(
        "dane MX 10 dane-mx1\ndane MX 20 dane-mx2\ndane-mx1 A {}\ndane-mx2 A {}\n",
        at(&wrong),
        at(&good)
    );
    let records = ["dane-mx1", "dane-mx2", "bad-mx"]
        .map(|host| hosts.tlsa(host, Certificate::MailHost))
        .concat();
    // The reports on a domain whose only host is stripped go to that very host.
    hosts.secure += &(one_host("bad", &stripped) + &records);
    let policies = PolicyHost::start(Certificate::MailHost, "thank you");
    hosts.secure += &format!(
        "web A 127.0.0.1\n_smtp._tls.dane TXT \"v=TLSRPTv1; rua=https://web.secure.test:{}/tls?x=1\"\n\
         _smtp._tls.bad TXT \"v=TLSRPTv1;rua=mailto:tls@bad.secure.test\"\n",
        policies.port()
    );
    let Some(lab) = Lab::start(&hosts.zones()) else {
        return;
    };
    let ca = crate::hop::authority();
    let settings = settings(&lab, hosts.port, None)
        .with("tls_reports", &format!("ca = \"{}\"", ca.display()))
        .with("tls_reports", "organization = \"Example\"");
    let server = Server::with(settings);
    server.manage(&["domain", "dkim", "add", "example.org", "--selector", "s"]);
    send(&server, &["bob@dane.secure.test"], "one");
    good.wait_for_messages(1);
    send(&server, &["bob@bad.secure.test"], "two");
    server.logged(&["delivery attempt", "bob@bad.secure.test", "deferred"]);

    let told = server.manage(&["tlsrpt", "send", "dane.secure.test"]);
    assert!(told.contains("HTTP status 200"), "{told}");
    let asked = policies.asked();
    assert!(
        asked[0].starts_with("POST /tls?x=1 HTTP/1.1 web.secure.test:"),
        "{asked:?}"
    );
    let report = unpacked(&policies.posted()[0]);
    assert_eq!(report["organization-name"], "Example");
    assert_eq!(
        details(&report),
        [
            ("tlsa success".to_owned(), 1),
            ("tlsa validation-failure".to_owned(), 1)
        ]
    );
    let detail = &report["policies"][0]["failure-details"][0];
    assert_eq!(detail["receiving-mx-hostname"], "dane-mx1.secure.test");
    assert_eq!(detail["receiving-ip"], at(&wrong).to_string());
    let policy = &report["policies"][0]["policy"];
    assert_eq!(policy["policy-domain"], "dane.secure.test");
    assert!(
        policy["policy-string"][0]
            .as_str()
            .unwrap()
            .starts_with("3 0 1 ")
    );

    let told = server.manage(&["tlsrpt", "send", "bad.secure.test"]);
    assert!(told.contains("mailto:tls@bad.secure.test: mail "), "{told}");
    let mail = stripped.wait_for_messages(1).remove(0);
    assert_eq!(
        (mail.to(), mail.sender.address.as_str()),
        (vec!["tls@bad.secure.test"], "")
    );
    let text = String::from_utf8(mail.content.clone()).unwrap();
    assert!(text.starts_with("DKIM-Signature: "), "{text}");
    assert!(
        text.contains("\r\nFrom: tls-reports@mail.example.org\r\n"),
        "{text}"
    );
    let read = TlsReport::parse_rfc5322(&mail.content, 1 << 20).unwrap();
    let value = serde_json::to_value(&read).unwrap();
    let found = details(&value);
    assert!(found.contains(&("tlsa success".to_owned(), 0)), "{found:?}");
    let failed = found
        .iter()
        .find(|it| it.0 == "tlsa starttls-not-supported");
    assert!(failed.is_some_and(|it| it.1 >= 1), "{found:?}");
    // Nothing but the report went there, and it is not counted itself.
    assert_eq!(stripped.messages().len(), 1);

    let shown = server.manage(&["tlsrpt", "show", "dane.secure.test"]);
    for words in [
        "1 tlsa success",
        "validation-failure, host dane-mx1.secure.test [127.0.0.",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let nobody = server.gatepost(&["tlsrpt", "send", "other.secure.test"], "");
    assert!(nobody.unwrap_err().contains("publishes no place"));
    wait_for("the rows as JSON", || {
        let rows = server.manage(&["--json", "tlsrpt", "show", "bad.secure.test"]);
        let row: Value = serde_json::from_str(rows.lines().next()?).ok()?;
        (row["result"] == "starttls-not-supported").then_some(())
    });
}
