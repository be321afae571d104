//! Where a message ends, and what does not end it: framing as an attacker and a hasty client see it.

use std::sync::Arc;

use crate::{
    content::{complete, without_trace},
    server::{ALICE, BOB, PASSWORD, Server, Settings, sign_in, wait_for},
    wire::Client,
};

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
        assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("235 "));
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

/// Nothing runs what follows STARTTLS in the clear, in one TCP segment (R3207-4.2d, S8).
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
