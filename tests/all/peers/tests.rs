//! Each real next hop takes a message from Python's smtplib, so that what Gatepost cannot hand to
//! one is not the peer's fault.

use std::{
    net::TcpStream,
    process::{Command, Output, Stdio},
};

use super::*;
use crate::{
    clients::{present, script},
    hop::{NAME, PASSWORD, authority},
    server::sign_in_scram,
    wire::{Client, trust},
};

const SENDER: &str = "ann@example.org";

fn has_python() -> bool {
    present("python3", answers(Command::new("python3").arg("--version")))
}

/// Sends to bob with smtplib, through TLS and AUTH.
fn smtp(mode: &str, address: SocketAddr, password: &str) -> Output {
    Command::new("python3")
        .arg(script("send_smtplib.py"))
        .args([mode, &address.port().to_string()])
        .arg(authority())
        .args([NAME, SENDER, BOB, "Hello"])
        .env("GATEPOST_PASSWORD", password)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn lmtp(place: &str, recipients: &[&str]) -> String {
    let output = Command::new("python3")
        .arg(script("send_lmtp.py"))
        .args([place, SENDER, "Hello"])
        .args(recipients)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{place}: {failed}");
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Behind STARTTLS and the second EHLO; what is offered there.
fn upgraded(address: SocketAddr) -> (Client, Vec<String>) {
    let mut client = Client::plain(address).unwrap();
    assert!(client.reply().unwrap()[0].starts_with("220"));
    client.ask("EHLO client.example").unwrap();
    assert!(client.ask("STARTTLS").unwrap().starts_with("220 "));
    client.handshake(trust(&authority())).unwrap();
    client.send(b"EHLO client.example\r\n").unwrap();
    let offered = client.reply().unwrap();
    (client, offered)
}

#[test]
fn postfix_takes_a_message_through_starttls_and_auth() {
    let (true, Some(mut postfix)) = (has_python(), Postfix::start()) else {
        return;
    };
    let output = smtp("starttls", postfix.submission, PASSWORD);
    assert!(output.status.success(), "{}", said(&output));
    let message = postfix.wait_for_mail(1).remove(0);
    assert!(message.contains("\nSubject: Hello\n"), "{message}");
    assert!(
        message.contains(&format!("\nDelivered-To: {BOB}\n")),
        "{message}"
    );
    assert!(message.contains("(using TLSv1.3"), "{message}");
    assert!(postfix.log().contains("sasl_username=relay-user"));

    let output = smtp("starttls", postfix.submission, "wrong");
    assert!(said(&output).contains("535"), "{}", said(&output));
    let mut client = Client::plain(postfix.submission).unwrap();
    client.reply().unwrap();
    client.ask("EHLO client.example").unwrap();
    let reply = client.ask("MAIL FROM:<ann@example.org>").unwrap();
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
}

#[test]
fn postfix_takes_scram() {
    let Some(postfix) = Postfix::start() else {
        return;
    };
    let (mut client, offered) = upgraded(postfix.submission);
    let mechanisms = offered.iter().find(|line| line[4..].starts_with("AUTH "));
    let mechanisms = mechanisms.expect("AUTH is offered");
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        assert!(mechanisms.contains(mechanism), "{mechanisms}");
    }
    let reply = sign_in_scram(&mut client, NAME, PASSWORD);
    assert!(reply.starts_with("235 "), "{reply}");
    let (mut client, _) = upgraded(postfix.submission);
    let reply = sign_in_scram(&mut client, NAME, "wrong");
    assert!(reply.starts_with("535 "), "{reply}");
}

#[test]
fn postfix_takes_a_message_through_implicit_tls() {
    let Some(mut postfix) = Postfix::start() else {
        return;
    };
    let mut client = Client::implicit(postfix.submissions, trust(&authority())).unwrap();
    client.reply().unwrap();
    for (line, code) in [
        ("EHLO client.example", "250"),
        ("MAIL FROM:<ann@example.org>", "250"),
        ("RCPT TO:<bob@any.example>", "250"),
        ("RCPT TO:<cy@other.example>", "250"),
        ("DATA", "354"),
        ("Subject: Hello\r\n\r\n..\r\n.", "250"),
    ] {
        let reply = client.ask(line).unwrap();
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    let mail = postfix.wait_for_mail(2);
    for recipient in [BOB, "cy@other.example"] {
        let line = format!("\nDelivered-To: {recipient}\n");
        assert!(
            mail.iter().any(|message| message.contains(&line)),
            "{mail:?}"
        );
    }
    assert!(
        mail.iter().all(|message| message.ends_with("\n\n.\n")),
        "{mail:?}"
    );
}

#[test]
fn dovecot_takes_a_message_and_refuses_whom_it_does_not_know() {
    let (true, Some(dovecot)) = (has_python(), Dovecot::start()) else {
        return;
    };
    let port = dovecot.lmtp.port().to_string();
    let socket = dovecot.socket().display().to_string();
    for (count, place) in [(1, port), (2, socket)] {
        let refused = lmtp(&place, &[BOB, "nobody@any.example", CY]);
        assert!(
            refused.starts_with("nobody@any.example 550 5.1.1 "),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
        for user in [BOB, CY] {
            let mail = dovecot.mail(user);
            assert_eq!(mail.len(), count);
            let [.., message] = &mail[..] else {
                panic!("no mail for {user}");
            };
            assert!(message.contains("\nSubject: Hello\n"), "{message}");
        }
    }
}

#[test]
fn dovecot_has_a_reply_for_each_recipient_behind_the_content() {
    let Some(dovecot) = Dovecot::start() else {
        return;
    };
    let mut client = Client::plain(dovecot.lmtp).unwrap();
    client.reply().unwrap();
    client.ask("LHLO client.example").unwrap();
    assert!(client.ask("STARTTLS").unwrap().starts_with("220 "));
    client.handshake(trust(&authority())).unwrap();
    for (line, code) in [
        ("LHLO client.example", "250"),
        ("MAIL FROM:<ann@example.org>", "250"),
        (&format!("RCPT TO:<{STUCK}>"), "250"),
        (&format!("RCPT TO:<{BOB}>"), "250"),
        ("DATA", "354"),
        ("Subject: Hello\r\n\r\nx\r\n.", "4"),
    ] {
        let reply = client.ask(line).unwrap();
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    assert!(client.reply().unwrap()[0].starts_with("250 "));
    assert_eq!(dovecot.mail(BOB).len(), 1);
}

#[test]
fn aiosmtpd_takes_a_message_through_starttls_and_auth() {
    let (true, Some(aiosmtpd)) = (has_python(), Aiosmtpd::start()) else {
        return;
    };
    let output = smtp("starttls", aiosmtpd.address, "wrong");
    assert!(said(&output).contains("535"), "{}", said(&output));
    assert!(aiosmtpd.mail().is_empty());
    let output = smtp("starttls", aiosmtpd.address, PASSWORD);
    assert!(output.status.success(), "{}", said(&output));
    let message = aiosmtpd.mail().remove(0);
    assert_eq!(message["sender"], SENDER);
    assert_eq!(message["recipients"], serde_json::json!([BOB]));
    assert_eq!(message["login"], NAME);
    assert_eq!(message["tls"], true);
    let content = message["content"].as_str().unwrap();
    assert!(content.contains("Subject: Hello\r\n"), "{content}");
}

#[test]
fn peers_are_gone_when_dropped() {
    let gone = |address: SocketAddr, place: PathBuf| {
        // Their helpers take a moment longer than the masters, which have ended.
        wait_for("a peer to let go of its port", || {
            TcpStream::connect(address).is_err().then_some(())
        });
        assert!(!place.exists());
    };
    if let Some(dovecot) = Dovecot::start() {
        let (address, place) = (dovecot.lmtp, dovecot.process.path(""));
        drop(dovecot);
        gone(address, place);
    }
    if let Some(postfix) = Postfix::start() {
        let (address, place) = (postfix.submission, postfix.process.path(""));
        drop(postfix);
        gone(address, place);
    }
}
