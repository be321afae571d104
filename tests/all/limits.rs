//! Sending limits, from the command line to the refusal, over restarts.

use crate::server::{ALICE, BOB, Server, Settings, send, sign_in};

const MAIL: &[u8] = b"From: <alice@example.org>\r\nSubject: x\r\n\r\nText.\r\n";

fn once(server: &Server, to: &[&str]) -> String {
    send(&mut server.signed_in(), ALICE, to, MAIL)
}

fn set(server: &Server, arguments: &[&str]) {
    let mut all = vec!["limit", "set"];
    all.extend(arguments);
    server.manage(&all);
}

/// S30.
#[test]
fn a_days_messages_are_counted_over_restarts_and_limits_act_at_once() {
    let mut server = Server::start();
    set(&server, &["--user", ALICE, "--messages-per-day", "2"]);
    assert!(once(&server, &[BOB]).starts_with("250"));
    let mut client = server.signed_in();
    assert!(send(&mut client, ALICE, &[BOB], MAIL).starts_with("250"));
    let said = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    let expected = "450 4.7.1 Limit of 2 messages a day is reached, try again in 24 h";
    assert!(said.starts_with(expected), "{said}");
    server.logged(&["half of a sending limit is reached", "account 1"]);
    server.stop();
    server.run();
    let mut client = server.signed_in();
    let said = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    assert!(said.starts_with("450 4.7.1"), "{said}");
    set(&server, &["--user", ALICE, "--messages-per-day", "3"]);
    assert!(send(&mut client, ALICE, &[BOB], MAIL).starts_with("250"));
    let said = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    assert!(said.starts_with("450 4.7.1 Limit of 3"), "{said}");
    set(&server, &["--user", ALICE, "--messages-per-day", "none"]);
    assert!(once(&server, &[BOB]).starts_with("250"));
}

/// S30.
#[test]
fn everybody_the_domain_and_the_site_have_limits_and_an_own_one_stands_first() {
    let server = Server::start();
    set(&server, &["--each-user", "--recipients-per-hour", "1"]);
    let mut client = server.signed_in();
    assert!(
        client
            .ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250")
    );
    assert!(
        client
            .ask(&format!("RCPT TO:<{BOB}>"))
            .unwrap()
            .starts_with("250")
    );
    let said = client.ask(&format!("RCPT TO:<{ALICE}>")).unwrap();
    assert_eq!(
        said.trim_end(),
        "550 5.7.1 You may send to 1 recipients an hour only"
    );
    set(&server, &["--user", ALICE, "--recipients-per-hour", "9"]);
    assert!(
        client
            .ask(&format!("RCPT TO:<{ALICE}>"))
            .unwrap()
            .starts_with("250")
    );
    drop(client);
    assert!(once(&server, &[BOB]).starts_with("250"));
    for whose in [&["--domain", "example.org"][..], &["--site"]] {
        let limit = |most| [whose, &["--messages-per-hour", most]].concat();
        set(&server, &limit("1"));
        let mut client = server.signed_in();
        let said = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
        assert!(
            said.starts_with("450 4.7.1 Limit of 1 messages an hour"),
            "{said}"
        );
        set(&server, &limit("none"));
        assert!(once(&server, &[BOB]).starts_with("250"));
    }
    let listed = server.manage(&["--json", "limit", "list"]);
    assert!(listed.contains(r#""whose":"each account""#), "{listed}");
    assert!(listed.contains(r#""recipients_hour":9"#), "{listed}");
}

/// S30.
#[test]
fn a_message_is_bounded_in_recipients_and_octets() {
    let server = Server::start();
    let limits = [
        "--site",
        "--recipients-per-message",
        "1",
        "--message-octets",
        "600",
    ];
    set(&server, &limits);
    let mut client = server.signed_in();
    let said = client
        .ask(&format!("MAIL FROM:<{ALICE}> SIZE=601"))
        .unwrap();
    assert!(
        said.starts_with("552 5.3.4 Message is over the 600 octet limit"),
        "{said}"
    );
    assert!(
        client
            .ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250")
    );
    assert!(
        client
            .ask(&format!("RCPT TO:<{BOB}>"))
            .unwrap()
            .starts_with("250")
    );
    let said = client.ask(&format!("RCPT TO:<{ALICE}>")).unwrap();
    assert!(said.starts_with("452 4.5.3 Too many recipients"), "{said}");
    assert!(client.ask("DATA").unwrap().starts_with("354"));
    let long = format!("From: <{ALICE}>\r\n\r\n{}\r\n.", "x".repeat(600));
    let said = client.ask(&long).unwrap();
    assert!(said.starts_with("552 5.3.4"), "{said}");
    assert!(once(&server, &[BOB]).starts_with("250"));
    assert!(server.delivered(ALICE).is_empty());
}

/// S30.
#[test]
fn mail_stays_within_the_house_or_an_allowed_list() {
    let server = Server::start();
    set(
        &server,
        &["--site", "--to", "ours", "--to", "partner.example"],
    );
    let mut client = server.signed_in();
    let mut rcpt = |to: &str| {
        client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
        let said = client.ask(&format!("RCPT TO:<{to}>")).unwrap();
        client.ask("RSET").unwrap();
        said[..9].to_owned()
    };
    assert_eq!(rcpt(BOB), "250 2.1.5");
    assert_eq!(rcpt("x@any.example"), "550 5.7.1");
    // Allowed, and past this room's question.
    assert_ne!(rcpt("x@partner.example"), "550 5.7.1");
    set(&server, &["--user", ALICE, "--to", "any.example"]);
    assert_eq!(rcpt(BOB), "550 5.7.1");
    assert_eq!(rcpt("x@any.example"), "550 5.7.1", "the site's holds too");
    set(&server, &["--user", ALICE, "--to", "anywhere"]);
    assert_eq!(rcpt(BOB), "250 2.1.5");
}

#[test]
fn an_app_password_has_a_limit_of_its_own() {
    let server = Server::with(Settings::new().with("auth", "scram_iterations = 4096"));
    let added = server.manage(&[
        "--json",
        "app-password",
        "add",
        ALICE,
        "--label",
        "cron",
        "--per-day",
        "1",
    ]);
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    let password = added["password"].as_str().unwrap();
    let mut client = server.upgraded();
    assert!(sign_in(&mut client, ALICE, password).starts_with("235"));
    assert!(send(&mut client, ALICE, &[BOB], MAIL).starts_with("250"));
    let said = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    assert!(
        said.starts_with("450 4.7.1 Limit of 1 messages a day"),
        "{said}"
    );
    assert!(
        once(&server, &[BOB]).starts_with("250"),
        "the account goes on"
    );
    server.manage(&[
        "limit",
        "set",
        "--user",
        ALICE,
        "--app-password",
        "cron",
        "--messages-per-day",
        "2",
    ]);
    assert!(send(&mut client, ALICE, &[BOB], MAIL).starts_with("250"));
    server.manage(&["app-password", "revoke", ALICE, "cron"]);
    assert!(!server.manage(&["limit", "list"]).contains("cron"));
}
