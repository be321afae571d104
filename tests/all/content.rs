//! What arrives is what was sent, but for what Gatepost says it adds and takes away.

use crate::server::{ALICE, BOB, Server, Settings, send, wait_for};

/// A message's fields in a Maildir before the ones that were sent, taken off.
pub fn without_trace(message: &str) -> &str {
    let end = message.find("\nFrom: ").expect("a From field");
    let trace = &message[..end];
    for field in ["Return-Path: ", "\nDelivered-To: ", "\nReceived: "] {
        assert_eq!(trace.matches(field).count(), 1, "{message}");
    }
    &message[end + 1..]
}

/// A complete header section for whom nothing is missing.
pub fn complete(subject: &str) -> String {
    format!(
        "From: Alice <{ALICE}>\r\nTo: {BOB}\r\nSubject: {subject}\r\n\
         Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <{subject}@example.org>\r\n"
    )
}

/// R5321-4.5.2a, R5321-4.4a: dots are unstuffed, ends of lines become LF, blanks
/// and empty lines stay; nothing else changes.
#[test]
fn octets_in_are_octets_out() {
    let server = Server::start();
    let mut client = server.signed_in();
    let body =
        "one dot:\r\n..\r\ntwo:\r\n...\r\n..begins\r\nblank \r\ntab\t\r\n\r\n\r\nFrom here\r\n\r\n";
    let sent = format!(
        "{}X-Odd:\tkept   as it is \r\n folded\r\n\r\n{body}",
        complete("odd")
    );
    let reply = send(&mut client, ALICE, &[BOB], sent.as_bytes());
    assert!(reply.starts_with("250 2.0.0 Accepted as "), "{reply}");
    let expected = sent.replace("\r\n..", "\r\n.").replace("\r\n", "\n");
    assert_eq!(without_trace(&server.only(BOB)), expected);
}

/// R6152-3b, R5321-4.5.2c: content beyond ASCII needs no BODY parameter, and every octet value passes.
#[test]
fn eight_bit_bodies_are_taken_and_kept() {
    let server = Server::start();
    let mut client = server.signed_in();
    for parameter in ["", " BODY=8BITMIME"] {
        let mut sent = format!("{}\r\n", complete("octets")).into_bytes();
        sent.extend((1..=255).filter(|octet| !matches!(octet, b'\r' | b'\n' | b'.')));
        sent.extend(b"\r\n");
        let answer = client
            .ask(&format!("MAIL FROM:<{ALICE}>{parameter}"))
            .unwrap();
        assert!(answer.starts_with("250 "), "{answer}");
        assert!(
            client
                .ask(&format!("RCPT TO:<{BOB}>"))
                .unwrap()
                .starts_with("250 ")
        );
        assert!(client.ask("DATA").unwrap().starts_with("354 "));
        client.send(&sent).unwrap();
        let reply = client.ask(".").unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
    }
    for message in server.delivered(BOB) {
        let body = message.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
        let expected: Vec<u8> = (1..=255)
            .filter(|octet| !matches!(octet, b'\r' | b'\n' | b'.'))
            .chain([b'\n'])
            .collect();
        assert_eq!(&message[body..], expected);
    }
    assert_eq!(server.mail(BOB).len(), 2);
}

/// R6409-8a, R6409-8.2a, R6409-8.3a, R5322-3.6a, R5322-3.6.4a: what is missing is added, once.
#[test]
fn missing_fields_are_added() {
    let server = Server::start();
    let mut client = server.signed_in();
    let reply = send(
        &mut client,
        ALICE,
        &[BOB],
        b"Subject: bare\r\n\r\nHello.\r\n",
    );
    assert!(reply.starts_with("250 "), "{reply}");
    let message = server.only(BOB);
    for field in ["\nDate: ", "\nMessage-ID: <", "\nFrom: alice@example.org\n"] {
        assert_eq!(message.matches(field).count(), 1, "{field}: {message}");
    }
    assert!(message.contains("\nSubject: bare\n"), "{message}");
    assert!(message.ends_with("\n\nHello.\n"), "{message}");
}

/// R5321-2.4b, R5321-2.3.11a, R6409-8.8b: local parts are nobody's to change.
#[test]
fn local_parts_arrive_as_they_were_written() {
    let server = Server::start();
    let mut client = server.signed_in();
    let to = ["MiXeD.Case+Tag@any.example", "o'neill=x@any.example"];
    let sent = format!(
        "{}To: {}\r\n\r\nx\r\n",
        complete("local").replace("To: ", "Cc: "),
        to[0]
    );
    assert!(send(&mut client, "WoNder+1@wonder.example", &to, sent.as_bytes()).starts_with("250 "));
    server.delivered(to[0]);
    let mut seen: Vec<String> = std::fs::read_dir(server.path("mail"))
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path().join("new")).unwrap())
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    seen.sort();
    assert_eq!(seen.len(), 2);
    for (message, to) in seen.iter().zip(to) {
        let top = format!("Return-Path: <WoNder+1@wonder.example>\nDelivered-To: {to}\n");
        assert!(message.starts_with(&top), "{message}");
        assert!(message.contains(&format!("\nTo: {}\n", "MiXeD.Case+Tag@any.example")));
    }
}

/// R6531-3.2a, R6531-4.3a, R6531-3.7.1a: an address beyond ASCII, and the trace field that says so.
#[test]
fn smtputf8_carries_addresses_beyond_ascii() {
    let server = Server::start();
    let mut client = server.signed_in();
    let to = "j\u{fc}rgen@any.example";
    assert!(
        client
            .ask(&format!("MAIL FROM:<{ALICE}> SMTPUTF8"))
            .unwrap()
            .starts_with("250 ")
    );
    let reply = client.ask(&format!("RCPT TO:<{to}>")).unwrap();
    assert!(reply.starts_with("250 ") && reply.is_ascii(), "{reply}");
    assert!(client.ask("DATA").unwrap().starts_with("354 "));
    let sent = format!("From: {ALICE}\r\nTo: <{to}>\r\nSubject: \u{fc}\r\n\r\nx\r\n");
    client.send(sent.as_bytes()).unwrap();
    let reply = client.ask(".").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    let message = server.only(to);
    assert!(message.contains("with UTF8SMTPSA"), "{message}");
    assert!(
        message.contains(&format!("\nTo: <{to}>\nSubject: \u{fc}\n")),
        "{message}"
    );
}

/// Without SMTPUTF8 raw UTF-8 in a subject is written as an encoded word (RFC 2047).
#[test]
fn raw_utf8_in_a_header_is_encoded_where_smtputf8_was_not_asked_for() {
    let server = Server::start();
    let mut client = server.signed_in();
    let sent = format!("From: {ALICE}\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\nGr\u{fc}\u{df}e\r\n");
    assert!(send(&mut client, ALICE, &[BOB], sent.as_bytes()).starts_with("250 "));
    let message = server.only(BOB);
    let (header, body) = message.split_once("\n\n").unwrap();
    assert!(
        header.is_ascii() && header.to_lowercase().contains("\nsubject: =?utf-8?"),
        "{header}"
    );
    assert_eq!(body, "Gr\u{fc}\u{df}e\n");
}

/// R5321-7.2a, R5322-3.6.3a, R5321-4.4h: nobody learns of blind copies, nor takes a Return-Path from a client.
#[test]
fn blind_copies_stay_blind() {
    let server = Server::start();
    let mut client = server.signed_in();
    let sent = format!(
        "Return-Path: <forged@any.example>\r\n{}Bcc: secret@any.example,\r\n more@any.example\r\n\
         Resent-Bcc: other@any.example\r\nbcc : third@any.example\r\n\r\nx\r\n",
        complete("blind")
    );
    let reply = send(
        &mut client,
        ALICE,
        &[BOB, "secret@any.example"],
        sent.as_bytes(),
    );
    assert!(reply.starts_with("250 "), "{reply}");
    let message = server.only(BOB);
    for hidden in ["secret", "more@", "other@", "third@", "forged"] {
        assert!(!message.contains(hidden), "{hidden}: {message}");
    }
    assert!(
        !server
            .only("secret@any.example")
            .contains(BOB.replace("bob", "more").as_str())
    );
}

/// R5321-4.4a, R8314-4d, R4954-7a: the trace field says how, not from where.
#[test]
fn the_trace_field_hides_the_client_unless_told_otherwise() {
    for (setting, shown) in [
        ("reveal_client = false", false),
        ("reveal_client = true", true),
    ] {
        let server = Server::with(Settings::new().with("intake", setting));
        let mut client = server.signed_in();
        let sent = complete("trace") + "\r\nx\r\n";
        assert!(send(&mut client, ALICE, &[BOB], sent.as_bytes()).starts_with("250 "));
        let message = server.only(BOB);
        let told = message.contains("127.0.0.1") || message.contains("client.example");
        assert_eq!(told, shown, "{message}");
        for words in [
            "by mail.example.org",
            "with ESMTPSA",
            "tls TLS_",
            "for <bob@example.org>",
        ] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}

/// R5321-4.4d: each recipient gets a copy, with their own Delivered-To and nobody else's.
#[test]
fn two_recipients_get_a_copy_each() {
    let server = Server::start();
    let mut client = server.signed_in();
    let sent = complete("copies") + "\r\nx\r\n";
    let to = [BOB, ALICE, "one@any.example"];
    assert!(send(&mut client, ALICE, &to, sent.as_bytes()).starts_with("250 "));
    for to in to {
        let message = server.only(to);
        assert_eq!(message.matches("Delivered-To: ").count(), 1);
        assert!(
            message.contains(&format!("\nDelivered-To: {to}\n")),
            "{message}"
        );
    }
}

/// R5321-4.5.3.1g: beyond 64 KiB and far beyond what the database holds.
#[test]
fn large_messages_pass_whole() {
    let server = Server::with(Settings::new().with("limits", "message_size = \"20MiB\""));
    let mut client = server.signed_in();
    for lines in [1_000, 100_000] {
        let header = complete(&format!("large{lines}"));
        let body: String = (0..lines).map(|n| format!("{n:063}\r\n")).collect();
        let sent = format!("{header}\r\n{body}");
        let size = sent.len();
        assert!(
            client
                .ask(&format!("MAIL FROM:<{ALICE}> SIZE={size}"))
                .unwrap()
                .starts_with("250 ")
        );
        assert!(
            client
                .ask(&format!("RCPT TO:<big{lines}@any.example>"))
                .unwrap()
                .starts_with("250 ")
        );
        assert!(client.ask("DATA").unwrap().starts_with("354 "));
        client.send(sent.as_bytes()).unwrap();
        let reply = client.ask(".").unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
        let message = server.only(&format!("big{lines}@any.example"));
        assert!(message.ends_with(&format!("\n\n{}", body.replace("\r\n", "\n"))));
    }
    // Delivered, they leave nothing behind: neither in custody nor half-written.
    let bodies = server.path("data/spool/bodies");
    wait_for("the body file to be removed", || {
        (std::fs::read_dir(&bodies).unwrap().count() == 0).then_some(())
    });
    let unfinished = server.path("mail/big100000@any.example/tmp");
    assert_eq!(std::fs::read_dir(unfinished).unwrap().count(), 0);
}

/// R3030-3f: a part labelled binary, in a message that was not announced as such, is taken.
#[test]
fn a_part_labelled_binary_is_taken() {
    let server = Server::start();
    let mut client = server.signed_in();
    let content = format!(
        "{}MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n\u{fc}\r\n",
        complete("binary")
    );
    assert!(send(&mut client, ALICE, &[BOB], content.as_bytes()).starts_with("250 "));
    assert_eq!(
        without_trace(&server.only(BOB)),
        content.replace("\r\n", "\n")
    );
}

/// R5322-3.6.6a, R5322-3.6a2, R5321-3.3h, R5321-4.4e: trace fields and resent blocks stay in their
/// places, whether they match up or not.
#[test]
fn trace_and_resent_blocks_keep_their_order() {
    let server = Server::start();
    let mut client = server.signed_in();
    let content = format!(
        "Resent-From: {ALICE}\r\nResent-Date: Fri, 02 Jan 2026 12:00:00 +0000\r\n\
         Resent-To: second@any.example\r\nReceived: from a.example by b.example; \
         Thu, 01 Jan 2026 12:00:00 +0000\r\nResent-To: first@any.example\r\n\
         Resent-From: {ALICE}\r\n{}\r\nx\r\n",
        complete("again")
    );
    assert!(send(&mut client, ALICE, &[BOB], content.as_bytes()).starts_with("250 "));
    let message = server.only(BOB);
    assert!(
        message.ends_with(&content.replace("\r\n", "\n")),
        "{message}"
    );
    assert!(message.starts_with("Return-Path: "), "{message}");
}
