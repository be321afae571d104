//! What arrives is what was sent, but for what Gatepost says it adds and takes away.

use std::sync::Arc;

use crate::{
    server::{ALICE, BOB, Server, Settings, send, sign_in, wait_for},
    wire::Client,
};

/// A message's fields in a Maildir before the ones that were sent, taken off.
fn without_trace(message: &str) -> &str {
    let end = message.find("\nFrom: ").expect("a From field");
    let trace = &message[..end];
    for field in ["Return-Path: ", "\nDelivered-To: ", "\nReceived: "] {
        assert_eq!(trace.matches(field).count(), 1, "{message}");
    }
    &message[end + 1..]
}

/// A complete header section for whom nothing is missing.
fn complete(subject: &str) -> String {
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

/// Pseudo-random numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    /// Lines with dots, blanks and octets of every value where they hurt most.
    fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        for _ in 0..self.below(40) {
            let length = [0, 1, 2, 3, 60, 78, 997, 998][self.below(8)];
            let odd = self.below(4) == 0;
            for _ in 0..length {
                body.push(match (odd, self.below(6)) {
                    (_, 0) => b'.',
                    (_, 1) => b' ',
                    (true, _) => 128 + self.below(128) as u8,
                    (false, _) => b'a' + self.below(26) as u8,
                });
            }
            body.extend(b"\r\n");
        }
        body
    }
}

/// Whatever the content, however it is cut into pieces, by DATA and by BDAT: what arrives is what
/// was sent (R5321-4.5.2a, R5321-4.5.3.1f, R3030-2b, R6152-3b).
#[test]
fn any_content_arrives_as_it_was_sent() {
    let server = Server::with(Settings::new().with("spool", "inline = \"4KiB\""));
    let mut client = server.signed_in();
    let mut dice = Dice(1);
    for n in 0..40 {
        let to = format!("any{n}@any.example");
        let mut content = format!("{}\r\n", complete("any")).into_bytes();
        content.extend(dice.body());
        let mut sent = format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<{to}>\r\n").into_bytes();
        let replies = if n % 2 == 0 {
            client.send(&sent).unwrap();
            sent = b"DATA\r\n".to_vec();
            client.send(&sent).unwrap();
            sent.clear();
            for line in content.split_inclusive(|octet| *octet == b'\n') {
                if line.starts_with(b".") {
                    sent.push(b'.');
                }
                sent.extend(line);
            }
            sent.extend(b".\r\n");
            4
        } else {
            let half = dice.below(content.len());
            for (piece, last) in [(&content[..half], ""), (&content[half..], " LAST")] {
                sent.extend(format!("BDAT {}{last}\r\n", piece.len()).into_bytes());
                sent.extend(piece);
            }
            4
        };
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((1 + dice.below(3_000)).min(rest.len()));
            client.send(piece).unwrap();
            rest = more;
        }
        for at in 0..replies {
            let reply = client.reply().unwrap();
            assert!(reply[0].starts_with(['2', '3']), "{n}, {at}: {reply:?}");
        }
        let mut mail = server.delivered(&to);
        assert_eq!(mail.len(), 1);
        let arrived = mail.remove(0);
        let start = arrived
            .windows(6)
            .position(|six| six == b"\nFrom:")
            .unwrap()
            + 1;
        let expected: Vec<u8> = content
            .into_iter()
            .filter(|octet| *octet != b'\r')
            .collect();
        assert!(arrived[start..] == expected, "{n}");
    }
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

/// R3030-2b, R3030-2c, S25: chunks are octets; lines, dots and commands in them mean nothing.
#[test]
fn bdat_carries_octets() {
    let server = Server::start();
    let mut client = server.signed_in();
    let content = complete("chunks") + "\r\n.\r\nQUIT\r\n..\r\nBDAT 5\r\nlast line";
    let mut sent = format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\n").into_bytes();
    for chunk in content.as_bytes().chunks(7) {
        sent.extend(format!("BDAT {}\r\n", chunk.len()).into_bytes());
        sent.extend(chunk);
    }
    sent.extend(b"BDAT 0 LAST\r\n");
    client.send(&sent).unwrap();
    for _ in 0..2 + content.len().div_ceil(7) {
        let reply = client.reply().unwrap();
        assert!(reply[0].starts_with("250 "), "{reply:?}");
    }
    let reply = client.reply().unwrap();
    assert!(reply[0].starts_with("250 2.0.0 Accepted as "), "{reply:?}");
    // Not even a line end is added to the last line.
    assert_eq!(
        without_trace(&server.only(BOB)),
        content.replace("\r\n", "\n")
    );
}

/// R2920-3.1a, R2920-3.2h, R2920-3.2e, R2920-3.2f: three transactions and QUIT in one piece.
#[test]
fn everything_may_come_at_once() {
    let server = Server::start();
    let mut client = server.signed_in();
    let one = format!(
        "MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n{}\r\nx\r\n.\r\n",
        complete("pipe")
    );
    client
        .send(format!("{}QUIT\r\n", one.repeat(3)).as_bytes())
        .unwrap();
    for n in 0..3 {
        for code in ["250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0 Accepted"] {
            let reply = client.reply().unwrap();
            assert!(reply[0].starts_with(code), "{n}: {reply:?}");
        }
    }
    assert!(client.reply().unwrap()[0].starts_with("221 "));
    assert!(client.closed().unwrap().is_empty());
    assert_eq!(server.delivered(BOB).len(), 3);
}

/// A client that half-closes behind its last command gets all its answers, and its message is
/// delivered once.
#[test]
fn a_half_closed_client_gets_its_250() {
    let server = Server::start();
    for port in ["465", "587"] {
        let mut client = match port {
            "465" => server.greeted(),
            _ => server.upgraded(),
        };
        assert!(sign_in(&mut client, ALICE, crate::server::PASSWORD).starts_with("235 "));
        let content = complete(port) + "\r\nx\r\n";
        let size = content.len();
        let sent = format!(
            "MAIL FROM:<{ALICE}>\r\nRCPT TO:<{port}@any.example>\r\nBDAT {size} LAST\r\n{content}"
        );
        client.send(sent.as_bytes()).unwrap();
        client.half_close().unwrap();
        for code in ["250 2.1.0", "250 2.1.5", "250 2.0.0 Accepted"] {
            let reply = client.reply().unwrap();
            assert!(reply[0].starts_with(code), "{port}: {reply:?}");
        }
        assert!(client.closed().unwrap().is_empty());
        server.only(&format!("{port}@any.example"));
    }
}

/// Half of the clients out there end TLS without a word; what they completed counts.
#[test]
fn a_connection_cut_behind_the_last_command_still_gets_its_250() {
    let server = Server::start();
    let mut client = server.signed_in();
    let content = complete("cut");
    let sent = format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n{content}\r\nx\r\n.\r\n");
    client.send(sent.as_bytes()).unwrap();
    client.cut().unwrap();
    for code in ["250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0 Accepted"] {
        let reply = client.reply().unwrap();
        assert!(reply[0].starts_with(code), "{reply:?}");
    }
    server.only(BOB);
}

/// A message whose end did not come is nobody's, wherever it breaks off and however.
#[test]
fn a_message_that_breaks_off_is_not_accepted() {
    let server = Server::start();
    let content = complete("broken");
    let transaction = format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\n");
    for (command, rest) in [
        ("DATA", ""),
        ("DATA", "\r\nx\r\n"),
        ("DATA", "\r\nx\r\n."),
        ("DATA", "\r\nx\r\n.\r"),
        ("DATA", "\r\nx\r\n.\n"),
        ("BDAT 1000 LAST", "\r\nx\r\n.\r\n"),
        ("BDAT 10000", "\r\nx\r\n.\r\n"),
    ] {
        for close in [Client::half_close, Client::cut] {
            let mut client = server.signed_in();
            let sent = format!("{transaction}{command}\r\n{content}{rest}");
            client.send(sent.as_bytes()).unwrap();
            close(&mut client).unwrap();
            let said = String::from_utf8(client.closed().unwrap()).unwrap();
            assert!(!said.contains("Accepted"), "{command} {rest:?}: {said}");
        }
    }
    assert!(server.delivered(BOB).is_empty());
}

/// Fake ends of data, whole and cut at every octet into TLS records: one message, and the hidden
/// commands are never obeyed (R5321-4.1.1.4a, R5322-2.3a, S7).
#[test]
fn nothing_is_smuggled_behind_a_fake_end_of_data() {
    let fakes = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\r.\n",
        "\n.\r",
        "\r\r\n.\r\r\n",
        "\n\n.\n\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\0\r\n.\r\0\n",
        "\r\n.\r\r\n",
        "\r\n .\r\n",
        "\r\n. \r\n",
        "\r\n.\t\r\n",
        "\r\n.\u{85}",
        "\r\n..\r\n",
        "\u{85}.\u{85}",
        "\n\r.\n\r",
        "\r\n.\u{b}\r\n",
    ];
    let server = Server::with(Settings::new().with("limits", "errors = 1000"));
    let (mut accepted, mut client) = (0, server.signed_in());
    for fake in fakes {
        let hidden = format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<smuggled@any.example>\r\nDATA\r\n");
        let data = format!(
            "{}\r\nfirst{fake}{hidden}second\r\n.\r\nNOOP\r\n",
            complete("fake")
        );
        let head = data.find("first").unwrap() + 3;
        // Cut at each octet around the fake end, and not at all.
        for cut in (head..head + fake.len() + 8).chain([data.len()]) {
            assert!(
                client
                    .ask(&format!("MAIL FROM:<{ALICE}>"))
                    .unwrap()
                    .starts_with("250 ")
            );
            assert!(
                client
                    .ask(&format!("RCPT TO:<{BOB}>"))
                    .unwrap()
                    .starts_with("250 ")
            );
            assert!(client.ask("DATA").unwrap().starts_with("354 "));
            let (first, second) = data.as_bytes().split_at(cut);
            client.send(first).unwrap();
            client.send(second).unwrap();
            let end = client.reply().unwrap().remove(0);
            let good = end.starts_with("250 2.0.0 Accepted as ");
            assert!(
                good || end.starts_with("554 5.6.0 "),
                "{fake:?} cut at {cut}: {end}"
            );
            accepted += usize::from(good);
            // One answer to the content, one to NOOP: the server is in step.
            let noop = client.reply().unwrap();
            assert_eq!(noop, ["250 2.0.0 OK"], "{fake:?} cut at {cut}");
        }
    }
    assert_eq!(server.delivered(BOB).len(), accepted);
    assert!(accepted > 0);
    assert!(server.mail("smuggled@any.example").is_empty());
    for message in server.mail(BOB) {
        assert!(!message.contains(&b'\r') && !message.contains(&0));
        assert_eq!(message.windows(6).filter(|six| six == b"second").count(), 1);
    }
}

/// The same over plain TCP segments, where no sign-in is possible: nothing runs what follows
/// STARTTLS in the clear (R3207-4.2d, S8).
#[test]
fn what_follows_starttls_in_its_segment_ends_the_session() {
    let server = Server::start();
    for hidden in [
        "NOOP\r\n",
        "EHLO evil.example\r\n",
        "\r\n",
        "x",
        "\u{16}\u{3}\u{1}\u{2}",
    ] {
        let mut client = Client::plain(server.submission).unwrap();
        client.reply().unwrap();
        client.ask("EHLO client.example").unwrap();
        client
            .send(format!("STARTTLS\r\n{hidden}").as_bytes())
            .unwrap();
        let reply = client.reply().unwrap();
        assert!(reply[0].starts_with("554 5.5.0 "), "{hidden:?}: {reply:?}");
        assert!(client.closed().unwrap().is_empty(), "{hidden:?}");
    }
}

/// R3207-4.2d: octets in the clear between the 220 and the ClientHello are no handshake; nothing is
/// run and the connection ends.
#[test]
fn plaintext_before_the_client_hello_ends_the_session() {
    let server = Server::start();
    let mut client = Client::plain(server.submission).unwrap();
    client.reply().unwrap();
    client.ask("EHLO client.example").unwrap();
    assert!(client.ask("STARTTLS").unwrap().starts_with("220 2.0.0"));
    client.send(b"NOOP\r\n").unwrap();
    let error = client.handshake(Arc::clone(&server.trust));
    assert!(error.is_err());
    let line = wait_for("the session's end", || {
        server
            .log()
            .lines()
            .find(|line| line.contains("session ended"))
            .map(str::to_owned)
    });
    let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(fields["messages"], 0, "{line}");
}
