//! App passwords from the command line to the refusal at RCPT.

use data_encoding::BASE64;

use crate::{
    server::{ALICE, BOB, PASSWORD, Server, Settings, wait_for},
    wire::Client,
};

fn start() -> Server {
    Server::with(Settings::new().with("auth", "scram_iterations = 4096"))
}

fn add(server: &Server, arguments: &[&str]) -> String {
    let mut all = vec!["--json", "app-password", "add", ALICE];
    all.extend(arguments);
    let answer: serde_json::Value = serde_json::from_str(&server.manage(&all)).unwrap();
    answer["password"].as_str().unwrap().to_owned()
}

fn signed_in(server: &Server, password: &str) -> Result<Client, String> {
    let mut client = Client::implicit(server.submissions, server.trust.clone()).unwrap();
    client.reply().unwrap();
    client.send(b"EHLO client.example\r\n").unwrap();
    client.reply().unwrap();
    let plain = BASE64.encode(format!("\0{ALICE}\0{password}").as_bytes());
    let reply = client.ask(&format!("AUTH PLAIN {plain}")).unwrap();
    if reply.starts_with("235") {
        Ok(client)
    } else {
        Err(reply)
    }
}

fn ask(client: &mut Client, line: &str, reply: &str) {
    let said = client.ask(line).unwrap();
    assert!(said.starts_with(reply), "{line}: {said}");
}

#[test]
fn a_scanners_password_sends_as_the_scanner_within_the_house() {
    let server = start();
    server.manage(&["user", "address", "add", ALICE, "scanner@example.org"]);
    let password = add(
        &server,
        &[
            "--label",
            "scanner",
            "--send-as",
            "scanner@example.org",
            "--to",
            "example.org",
            "--network",
            "127.0.0.0/8",
            "--expires",
            "2999-12-31",
        ],
    );
    let mut client = signed_in(&server, &password).unwrap();
    ask(&mut client, &format!("MAIL FROM:<{ALICE}>"), "550 5.7.1");
    ask(&mut client, "MAIL FROM:<scanner@example.org>", "250 2.1.0");
    ask(
        &mut client,
        "RCPT TO:<x@any.example>",
        "550 5.7.1 any.example is not among the domains that you may send to",
    );
    ask(&mut client, &format!("RCPT TO:<{BOB}>"), "250 2.1.5");
    ask(&mut client, "DATA", "354");
    let others = format!("From: {ALICE}\r\n\r\nScanned.\r\n.");
    ask(&mut client, &others, "550 5.7.1");
    ask(&mut client, "MAIL FROM:<scanner@example.org>", "250 2.1.0");
    ask(&mut client, &format!("RCPT TO:<{BOB}>"), "250 2.1.5");
    ask(&mut client, "DATA", "354");
    // Without a From field: the scanner's.
    ask(&mut client, "Subject: Scan\r\n\r\nScanned.\r\n.", "250 2.");
    let mail = wait_for("the scan", || server.mail(BOB).pop());
    let mail = String::from_utf8(mail).unwrap();
    let from = mail.lines().find(|line| line.starts_with("From:"));
    assert!(
        from.is_some_and(|it| it.contains("scanner@example.org")),
        "{mail}"
    );

    // Revoked, the session that used it can send nothing more.
    server.manage(&["app-password", "revoke", ALICE, "scanner"]);
    ask(&mut client, "MAIL FROM:<scanner@example.org>", "550 5.7.1");
    assert!(signed_in(&server, &password).is_err());
    assert!(signed_in(&server, PASSWORD).is_ok());
}

#[test]
fn app_passwords_are_listed_with_their_use_and_shown_once() {
    let server = start();
    let password = add(&server, &["--label", "phone", "--require-tls"]);
    assert!(signed_in(&server, &password).is_ok());
    // Uses are written down every few seconds.
    let listed = wait_for("the use to be written down", || {
        let text = server.manage(&["--json", "app-password", "list", ALICE]);
        let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
        (listed["uses"] != 0).then_some(listed)
    });
    assert_eq!(listed["uses"], 1, "{listed}");
    assert_eq!(listed["label"], "phone");
    assert_eq!(listed["last_network"], "127.0.0.1/32");
    assert_eq!(listed["require_tls"], true);
    let text = server.manage(&["app-password", "list", ALICE]);
    assert!(
        text.contains("REQUIRETLS") && !text.contains(&password),
        "{text}"
    );
}

#[test]
fn an_account_can_demand_them() {
    let server = start();
    let password = add(&server, &["--label", "phone"]);
    server.manage(&["app-password", "only", ALICE, "yes"]);
    let refusal = signed_in(&server, PASSWORD).err().unwrap();
    assert!(refusal.starts_with("535 5.7.8"), "{refusal}");
    assert!(signed_in(&server, &password).is_ok());
    let shown = server.manage(&["user", "show", ALICE]);
    assert!(shown.contains("with app passwords only"), "{shown}");
    server.manage(&["app-password", "only", ALICE, "no"]);
    assert!(signed_in(&server, PASSWORD).is_ok());
}

#[test]
fn what_an_app_password_cannot_be_is_explained() {
    let server = start();
    add(&server, &["--label", "phone"]);
    for (arguments, why) in [
        (&["--label", "phone"][..], "exists already"),
        (&["--label", ""], "a label has 1 to 64"),
        (
            &["--label", "x", "--send-as", "boss@example.org"],
            "may not send as boss@example.org",
        ),
        (
            &["--label", "x", "--network", "everywhere"],
            "is no network",
        ),
        (&["--label", "x", "--to", "no domain"], "is no domain"),
        (&["--label", "x", "--expires", "2001-01-01"], "is past"),
        (&["--label", "x", "--expires", "soon"], "neither a time"),
    ] {
        let mut all = vec!["app-password", "add", ALICE];
        all.extend(arguments);
        let error = server.gatepost(&all, "").unwrap_err();
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
    let error = server
        .gatepost(&["app-password", "list", "nobody"], "")
        .unwrap_err();
    assert!(error.contains("account nobody does not exist"), "{error}");
}
