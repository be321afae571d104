//! Lines over 998 octets are encoded on their way in, and every part decodes to what it was.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use data_encoding::BASE64;
use gatepost::message::{CannotConvert, seven_bit_copy};
use mail_parser::MessageParser;

use crate::{
    clients,
    server::{ALICE, BOB, Server, Settings, send, wait_for},
    wire::Client,
};

fn large() -> Server {
    Server::with(Settings::new().with("limits", "message_size = 10000000"))
}

fn headed(fields: &str, body: &str) -> String {
    format!("From: {ALICE}\r\nSubject: long\r\nMIME-Version: 1.0\r\n{fields}\r\n{body}\r\n")
}

/// Hands `content` over in chunks of one transaction; the last reply.
fn send_chunks(client: &mut Client, content: &[u8]) -> String {
    let sender = format!("MAIL FROM:<{ALICE}>");
    assert!(client.ask(&sender).unwrap().starts_with("250 "));
    let recipient = format!("RCPT TO:<{BOB}>");
    assert!(client.ask(&recipient).unwrap().starts_with("250 "));
    let mut last = String::new();
    let mut chunks = content.chunks(100_003).peekable();
    while let Some(chunk) = chunks.next() {
        let mark = if chunks.peek().is_none() { " LAST" } else { "" };
        let command = format!("BDAT {}{mark}\r\n", chunk.len());
        client.send(&[command.as_bytes(), chunk].concat()).unwrap();
        last = client.reply().unwrap().remove(0);
    }
    last
}

fn longest_line(message: &str) -> usize {
    message.lines().map(str::len).max().unwrap_or_default()
}

/// R5322-2.1.1a, R6409-8.4a, R2045-6.2a.
#[test]
fn a_long_line_of_text_arrives_as_it_was() {
    let server = Server::start();
    let mut client = server.signed_in();
    let text = "Gr\u{fc}\u{df}e aus einer langen Zeile. ".repeat(60);
    let body = format!("short\r\n{text}\r\n.dot\r\nshort again ");
    for fields in [
        "",
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
    ] {
        let sent = headed(fields, &body).replace("\r\n.", "\r\n..");
        let reply = send(&mut client, ALICE, &[BOB], sent.as_bytes());
        assert!(reply.starts_with("250 2.0.0 Accepted as "), "{reply}");
    }
    let arrived = server.delivered(BOB);
    assert_eq!(arrived.len(), 2);
    for octets in arrived {
        let message = String::from_utf8(octets).unwrap();
        assert!(
            longest_line(&message) <= 998 && message.is_ascii(),
            "{message}"
        );
        let label = "\nContent-Transfer-Encoding: quoted-printable\n";
        assert_eq!(message.matches(label).count(), 1, "{message}");
        assert_eq!(
            message.to_lowercase().matches("\ncontent-type: ").count(),
            1,
            "{message}"
        );
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        let decoded = std::str::from_utf8(parsed.parts[0].contents()).unwrap();
        assert_eq!(decoded, format!("{body}\r\n").replace("\r\n", "\n"));
    }
}

/// Bodies in files take the same way as those in memory, with DATA and with BDAT, and nothing is
/// left behind.
#[test]
fn a_large_body_is_encoded_where_it_lies() {
    let server = large();
    let mut client = server.signed_in();
    let picture: Vec<u8> = (0..1_500_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let short = "An untouched line.\r\n".repeat(20_000);
    let sent = headed(
        "Content-Type: multipart/mixed; boundary=\"=_b\"\r\n",
        &format!(
            "--=_b\r\nContent-Type: text/plain\r\n\r\n{short}\r\n--=_b\r\nContent-Type: image/png\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--=_b--",
            BASE64.encode(&picture)
        ),
    );
    let reply = send(&mut client, ALICE, &[BOB], sent.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
    let reply = send_chunks(&mut client, sent.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
    wait_for("two messages", || {
        (server.mail(BOB).len() == 2).then_some(())
    });
    for octets in server.mail(BOB) {
        let message = std::str::from_utf8(&octets).unwrap();
        assert!(longest_line(message) <= 998);
        assert!(message.contains(&format!("\n\n{}\n--=_b\n", short.replace("\r\n", "\n"))));
        let parsed = MessageParser::default().parse(&octets).unwrap();
        assert_eq!(parsed.parts[2].contents(), picture);
    }
    wait_for("the body files to go", || {
        let left = fs::read_dir(server.path("data/spool/bodies"))
            .unwrap()
            .count();
        (left == 0).then_some(())
    });
}

/// Signatures are never broken: what cannot be encoded is refused, and the session goes on.
#[test]
fn a_long_line_that_is_signed_is_refused() {
    let server = Server::start();
    let mut client = server.signed_in();
    let long = "x".repeat(999);
    let signed = headed(
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\r\n",
        &format!(
            "--s\r\n\r\n{long}\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--"
        ),
    );
    let reply = send(&mut client, ALICE, &[BOB], signed.as_bytes());
    assert_eq!(
        reply,
        "554 5.6.0 Message contains a line over 998 octets in a signed or encrypted part"
    );
    let in_header = headed(
        "Content-Type: multipart/mixed; boundary=s\r\n",
        &format!("--s\r\nX: {long}\r\n\r\nx\r\n--s--"),
    );
    let reply = send(&mut client, ALICE, &[BOB], in_header.as_bytes());
    assert!(reply.starts_with("554 5.6.0 "), "{reply}");
    server.logged(&[
        "message refused",
        "signed or encrypted part cannot be encoded",
    ]);
    let reply = send(&mut client, ALICE, &[BOB], headed("", "after").as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(server.only(BOB).ends_with("\nafter\n"));
}

/// R5322-2.1.1a: an operator may refuse long lines, as other servers do.
#[test]
fn long_lines_are_refused_where_the_operator_says_so() {
    let server = Server::with(Settings::new().with("intake", "long_lines = \"refuse\""));
    let mut client = server.signed_in();
    let reply = send(
        &mut client,
        ALICE,
        &[BOB],
        headed("", &"x".repeat(999)).as_bytes(),
    );
    assert_eq!(reply, "554 5.6.0 Message contains a line over 998 octets");
    let reply = send_chunks(&mut client, headed("", &"x".repeat(999)).as_bytes());
    assert_eq!(reply, "554 5.6.0 Message contains a line over 998 octets");
    let reply = send(
        &mut client,
        ALICE,
        &[BOB],
        headed("", &"x".repeat(998)).as_bytes(),
    );
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(
        server
            .only(BOB)
            .ends_with(&format!("\n\n{}\n", "x".repeat(998)))
    );
}

/// R2045-6.2a, R6152-3c: Python's reader finds the same parts in the copy for a hop of seven bits.
#[test]
fn python_reads_the_same_from_a_seven_bit_copy() {
    let python = || Command::new("python3");
    if !clients::present("python3", clients::answers(python().arg("--version"))) {
        return;
    }
    let long = "Gr\u{fc}\u{df}e = tab\t und so weiter - ".repeat(50);
    let text = format!("Gr\u{fc}n ist die Farbe dieser Zeile \r\n.\r\nFrom me\r\n{long}\r\n\r\n=");
    let inner = format!(
        "Subject: inner\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=in\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n--in\r\n\r\n{text}\r\n--in\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: binary\r\n\r\n{text}\r\n--in--\r\n"
    );
    let leaves = [
        format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}"),
        format!(
            "Content-Type: text/plain; charset=utf-8; format=flowed\r\n\r\n{}",
            long.repeat(3)
        ),
        format!("Content-Type: application/json\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}"),
        format!(
            "Content-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            BASE64.encode(text.as_bytes())
        ),
        "Content-Type: text/plain; charset=iso-8859-1\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nraw \u{fc}=20=\r\n and soft"
            .to_owned(),
        format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{inner}"),
        format!(
            "Content-Type: multipart/digest; boundary=dig\r\n\r\n--dig\r\n\r\n{inner}\r\n--dig--"
        ),
    ];
    let mixed = leaves.iter().map(|leaf| format!("--out\r\n{leaf}\r\n"));
    let mixed: String = mixed.collect();
    let mut messages: Vec<String> = leaves.iter().map(|leaf| format!("{leaf}\r\n")).collect();
    messages.push(format!(
        "Content-Type: multipart/mixed; boundary=out\r\n\r\n{mixed}--out--\r\n"
    ));
    let mut lines = String::new();
    for message in &messages {
        let (header, body) = message.split_at(message.find("\r\n\r\n").unwrap() + 4);
        let header = format!("From: {ALICE}\r\nMIME-Version: 1.0\r\n{header}");
        let copy = seven_bit_copy(header.as_bytes(), body.as_bytes()).unwrap();
        let copy = copy.expect("all of them need a copy");
        assert!(copy.header.is_ascii() && copy.body.is_ascii());
        let before = BASE64.encode(format!("{header}{body}").as_bytes());
        let after = BASE64.encode(&[copy.header, copy.body].concat());
        lines += &format!("{before} {after}\n");
    }
    let mut child = python()
        .arg(clients::script("same_parts.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let count = String::from_utf8(output.stdout).unwrap();
    assert_eq!(count.trim(), messages.len().to_string());

    let sealed = b"Content-Type: multipart/signed; boundary=x\r\n\r\n";
    let copy = seven_bit_copy(sealed, "--x\r\n\r\n\u{fc}\r\n--x--\r\n".as_bytes());
    assert_eq!(copy, Err(CannotConvert::Sealed));
}
