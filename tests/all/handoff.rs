//! From custody to the Maildir, and what a postmaster sees of it.

use std::fs;

use crate::{
    running::{hold, message},
    server::{ALICE, BOB, PASSWORD, Server, Settings, send, sign_in, wait_for},
};

/// R5321-6.1c: the answer to a message waits for no delivery. Hold lets mail in and nothing out, and letting go needs no restart.
#[test]
fn hold_keeps_mail_until_it_is_let_go() {
    let mut server = Server::with(Settings::new().with("queue", "hold = true"));
    let mut client = server.signed_in();
    for to in [BOB, "x@any.example"] {
        assert!(send(&mut client, ALICE, &[to], &message("held")).starts_with("250 "));
    }
    let listed = server.manage(&["queue", "list", "--json"]);
    let lines: Vec<serde_json::Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let addresses: Vec<_> = lines
        .iter()
        .map(|line| line["recipients"][0]["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, [BOB, "x@any.example"], "oldest first");
    for line in &lines {
        assert_eq!(line["sender"], ALICE);
        assert_eq!(line["recipients"].as_array().unwrap().len(), 1);
        assert_eq!(line["recipients"][0]["attempts"], 0);
        assert_eq!(line["recipients"][0]["state"], "due");
        assert!(line["size_octets"].as_u64().unwrap() > 100);
        let accepted = line["queue_id"].as_str().unwrap();
        server.logged(&["message accepted", accepted]);
    }
    let text = server.manage(&["queue", "list"]);
    for (line, to) in text.lines().skip(1).zip([BOB, "x@any.example"]) {
        assert!(line.contains(ALICE) && line.contains(to), "{text}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(server.metric("gatepost_queue_messages"), 2.0);
    assert!(server.mail(BOB).is_empty());

    hold(&mut server, false);
    server.reload();
    server.only(BOB);
    server.only("x@any.example");
    assert_eq!(server.manage(&["queue", "list", "--json"]), "");
}

/// A Maildir that cannot be written keeps its mail waiting, and only its mail.
#[test]
fn a_maildir_that_cannot_be_made_is_tried_again() {
    let server = Server::start();
    fs::create_dir_all(server.path("mail")).unwrap();
    let obstacle = server.path("mail/stuck@any.example");
    fs::write(&obstacle, "a file in the folder's place").unwrap();
    let mut client = server.signed_in();
    assert!(
        send(
            &mut client,
            ALICE,
            &["stuck@any.example", BOB],
            &message("late")
        )
        .starts_with("250 ")
    );
    server.logged(&["delivery attempt", "stuck@any.example", "deferred"]);
    wait_for("the other copy", || {
        (server.mail(BOB).len() == 1).then_some(())
    });
    fs::remove_file(&obstacle).unwrap();
    assert!(
        server
            .only("stuck@any.example")
            .contains("\nSubject: late\n")
    );
    assert_eq!(server.mail(BOB).len(), 1);
}

#[test]
fn health_and_metrics_are_told() {
    let server = Server::start();
    let (status, body) = server.get("/healthz");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", "ok\n")
    );
    let mut client = server.signed_in();
    assert!(send(&mut client, ALICE, &[BOB], &message("counted")).starts_with("250 "));
    server.only(BOB);
    assert_eq!(server.metric("gatepost_messages_accepted_total"), 1.0);
    assert_eq!(server.metric("gatepost_sessions"), 1.0);
    assert_eq!(server.metric("gatepost_queue_messages"), 0.0);
    let (status, _) = server.get("/nothing");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}

/// S22: neither what clients call themselves and others, nor what they say wrong, reaches the log
/// raw; and no secret reaches it at all.
#[test]
fn the_log_holds_no_secret_and_no_raw_control_character() {
    let mut server = Server::start();
    let odd = "\u{1b}[31m\u{9b}2J\u{202e}gnp.exe\u{7}";
    let mut client = server.greeted();
    let response = |name: &str, password: &str| {
        data_encoding::BASE64.encode(format!("\0{name}\0{password}").as_bytes())
    };
    let _ = client.ask(&format!("EHLO {odd}"));
    let _ = client.ask(&format!("AUTH PLAIN {}", response(odd, "guessed-secret")));
    let name = "\u{202e}\u{85}ecila@example.org";
    let _ = client.ask(&format!("AUTH PLAIN {}", response(name, "guessed-secret")));
    let _ = client.ask(&format!("MAIL FROM:<{odd}@example.org> SMTPUTF8"));
    let refused = sign_in(&mut client, ALICE, "guessed-secret");
    assert!(refused.starts_with("535 "), "{refused}");
    drop(client);
    let mut client = server.signed_in();
    let _ = client.ask(&format!("{odd}\u{1b}"));
    let _ = client.ask(&format!("MAIL FROM:<{odd}@example.org> SMTPUTF8"));
    for to in [
        "\u{202e}txt@any.example",
        "\"\u{9b}31m\"@any.example",
        "plain@any.example",
    ] {
        let _ = client.ask("MAIL FROM:<\u{202e}ecila@wonder.example> SMTPUTF8");
        let _ = client.ask(&format!("RCPT TO:<{to}>"));
        if client.ask("DATA").unwrap().starts_with("354 ") {
            let content =
                format!("From: {ALICE}\r\nSubject: {odd} private-subject\r\n\r\nprivate-text\r\n");
            client.send(content.as_bytes()).unwrap();
            client.ask(".").unwrap();
        }
        let _ = client.ask("RSET");
    }
    server.delivered("plain@any.example");
    drop(client);
    let log = server.stop();
    assert!(
        log.contains("sign-in refused") && log.contains("message accepted"),
        "{log}"
    );
    for c in log.chars().filter(|c| *c != '\n') {
        let direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!c.is_control() && !direction, "{c:?} in {log}");
    }
    let mut secrets = vec!["private-".to_owned(), "guessed-secret".to_owned()];
    secrets.push(PASSWORD.to_owned());
    secrets.push(response(ALICE, PASSWORD));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
}
