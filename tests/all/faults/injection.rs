//! Octets that are to be taken for something else: commands before TLS for commands inside it, a
//! part of a message for its end, a name for lines of the log.

use super::house::{House, LOGIN, Plan, sign_in};
use crate::wire::Client;

/// S8: what follows STARTTLS in the clear is not run inside TLS, in one segment or in two.
#[test]
fn nothing_said_before_tls_is_run_inside_it() {
    let mut house = House::open(Plan::default());
    for behind in [
        "NOOP\r\n",
        "MAIL FROM:<eve@example.com>\r\n",
        "AUTH PLAIN AGEAYgBj\r\n",
        "x",
        "\r\n",
        "\x16\x03\x01",
    ] {
        let mut client = Client::plain(house.submission).unwrap();
        client.reply().unwrap();
        client.ask("EHLO client.example").unwrap();
        client
            .send(format!("STARTTLS\r\n{behind}").as_bytes())
            .unwrap();
        let rest = String::from_utf8(client.closed().unwrap()).unwrap();
        assert!(
            rest.starts_with("554 ") && rest.lines().count() == 1,
            "{behind:?}: {rest}"
        );
    }
    // What was learnt in the clear is forgotten: EHLO comes anew.
    let mut client = Client::plain(house.submission).unwrap();
    client.reply().unwrap();
    client.ask("EHLO client.example").unwrap();
    client.ask("STARTTLS").unwrap();
    client.handshake(house.trust.clone()).unwrap();
    assert!(client.ask(&sign_in()).unwrap().starts_with("503"));
    house.stop();
}

/// S7: nothing but CR LF . CR LF ends a message, and no other ending gets into a Maildir.
#[test]
fn false_ends_of_data_neither_end_a_message_nor_are_passed_on() {
    let mut house = House::open(Plan::default());
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\n.\r",
        "\r.\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n.\r\r\n",
        "\r\r\n.\r\r",
        "\r\n.\r\0\n",
        "\n\n.\n\n",
        "\r\n .\r\n",
        "\r\n. \r\n",
    ];
    let smuggled = "MAIL FROM:<eve@example.com>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n\
                    Subject: smuggled\r\n\r\nend of smuggled\r\n";
    let mut taken = 0;
    for (number, end) in ends.iter().enumerate() {
        let mut client = house.client().unwrap();
        client.ask("MAIL FROM:<ann@example.org>").unwrap();
        client.ask("RCPT TO:<bob@example.net>").unwrap();
        client.ask("DATA").unwrap();
        let text = format!(
            "From: <{LOGIN}>\r\nSubject: m{number}\r\n\r\nfirst{end}{smuggled}end of m{number}"
        );
        for octet in text.as_bytes() {
            client.send(&[*octet]).unwrap();
        }
        let said = client.ask("\r\n.").unwrap();
        // One reply, to one message.
        assert!(
            said.starts_with("250") || said.starts_with("554 5.6.0"),
            "{end:?}: {said}"
        );
        taken += usize::from(said.starts_with("250"));
        assert!(client.ask("NOOP").unwrap().starts_with("250 "), "{end:?}");
    }
    house.drain();
    let arrived = house.arrived();
    assert_eq!(arrived.len(), taken);
    assert!(
        arrived.keys().all(|(to, _)| to == "bob@example.net"),
        "{arrived:?}"
    );
    let new = house.mail().join("bob@example.net/new");
    for file in std::fs::read_dir(new).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        assert!(
            !octets.contains(&b'\r') && !octets.contains(&0),
            "passed on"
        );
    }
    house.stop();
}

/// S22: whatever is named by whomever, the log shows no octet that moves a terminal or turns the
/// direction of reading, in either format.
#[test]
fn nothing_from_the_network_moves_the_logs_reader() {
    let marks: Vec<char> = (0..0x20)
        .chain(0x7f..0xa0)
        .chain([0x2028, 0x2029, 0x200e, 0x200f])
        .chain(0x202a..0x202f)
        .chain(0x2066..0x206a)
        .filter_map(char::from_u32)
        .filter(|c| !['\r', '\n'].contains(c))
        .collect();
    for format in ["json", "text"] {
        let mut house = House::open(Plan {
            tables: format!("[log]\nformat = \"{format}\"\nlevel = \"trace\""),
            ..Plan::default()
        });
        let mut attempts = 0;
        for mark in &marks {
            // At the start, in front of what colours a terminal, and behind a forged line.
            let evil = format!("{mark}[31mevil{mark}");
            let plain = data_encoding::BASE64.encode(format!("\0{evil}\0x").as_bytes());
            let mut client = Client::implicit(house.submissions, house.trust.clone()).unwrap();
            client.reply().unwrap();
            let mut say = |line: &str| {
                // An error is a session given up, which is as good.
                if client.send(line.as_bytes()).is_ok() {
                    let _ = client.reply();
                }
            };
            say(&format!("EHLO {evil}\r\n"));
            say("EHLO client.example\r\n");
            say(&format!("AUTH PLAIN {plain}\r\n"));
            say(&format!("{evil}\r\n"));
            say(&format!("{}\r\n", sign_in()));
            say(&format!("EHLO {evil}\r\n"));
            say(&format!("MAIL FROM:<{evil}@example.org> SMTPUTF8\r\n"));
            say(&format!("MAIL FROM:<\"{evil}\"@example.org> SMTPUTF8\r\n"));
            say("RSET\r\n");
            say("MAIL FROM:<ann@example.org> SMTPUTF8\r\n");
            say(&format!("RCPT TO:<\"{evil}\"@example.net>\r\n"));
            say(&format!("RCPT TO:<{evil}@example.net>\r\n"));
            say("RCPT TO:<bob@example.net>\r\n");
            say("DATA\r\n");
            say(&format!(
                "From: <\"{evil}\"@example.com>\r\nSubject: {evil}\r\n\
                 Content-Disposition: attachment; filename=\"{evil}\"\r\n\r\n{evil}\r\n.\r\n"
            ));
            attempts += 9;
        }
        let log = house.log_octets();
        house.kill();
        assert!(
            attempts >= 130 && log.len() > 10_000,
            "{attempts} attempts, {} octets",
            log.len()
        );
        let text = String::from_utf8(log).expect("the log is UTF-8");
        let raw: Vec<_> = text
            .chars()
            .filter(|c| marks.contains(c) || *c == '\r')
            .collect();
        assert!(raw.is_empty(), "{format}: {raw:x?}");
        assert!(
            text.contains("evil"),
            "nothing of it was logged, so nothing is shown"
        );
        for line in text.lines() {
            let good = match format {
                "json" => line.starts_with('{') && line.ends_with('}'),
                _ => line.starts_with("20"),
            };
            assert!(good, "{format}: {line}");
        }
    }
}
