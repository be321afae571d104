//! Messages made to hurt whoever reads them, and octets that are no mail at all: a clear reply, and
//! memory that does not grow with what was sent.

use std::{io::Write, net::TcpStream};

use super::house::{House, Plan, address, from};
use crate::wire::Client;

const MIB: u64 = 1 << 20;

/// Sends a message in pieces and gives the reply to its end.
fn deliver<'a>(client: &mut Client, pieces: impl Iterator<Item = &'a [u8]>) -> String {
    for line in [
        "MAIL FROM:<ann@example.org>",
        "RCPT TO:<bob@example.net>",
        "DATA",
    ] {
        let said = client.ask(line).unwrap();
        assert!(said.starts_with('2') || said.starts_with('3'), "{said}");
    }
    for piece in pieces {
        client.send(piece).unwrap();
    }
    client.ask("\r\n.").unwrap()
}

/// S1, S2, S33: what a parser might choke on, with the reply that it gets and the memory that it
/// may take at most.
#[test]
fn messages_made_to_hurt_are_answered_and_take_little_memory() {
    let mut house = House::open(Plan::default());
    house.serves("before");
    let many = |piece: &str, count: usize| piece.repeat(count).into_bytes();
    // Name, beginning, what follows it, reply, MiB of memory at most.
    type Row = (&'static str, &'static [u8], Vec<u8>, &'static str, u64);
    let table: [Row; 8] = [
        (
            "fields",
            b"",
            many("X-A: b\r\n", 1_000_000),
            "552 5.3.4",
            16,
        ),
        (
            "one huge field",
            b"Subject: a",
            many("\r\n b", 2_000_000),
            "552 5.3.4",
            16,
        ),
        (
            "addresses",
            b"To: a@b.example",
            many(",\r\n a@b.example", 6_000),
            "250",
            32,
        ),
        ("comments", b"From: ", many("(", 900), "5", 16),
        (
            "nested messages",
            b"From: <ann@example.org>\r\n",
            many("Content-Type: message/rfc822\r\n\r\n", 100_000),
            "250",
            32,
        ),
        (
            "nested multiparts",
            b"From: <ann@example.org>\r\nContent-Type: multipart/mixed; boundary=a\r\n",
            many(
                "\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n",
                100_000,
            ),
            "250",
            32,
        ),
        (
            "parts",
            b"From: <ann@example.org>\r\nContent-Type: multipart/mixed; boundary=a\r\n",
            many("\r\n--a\r\n\r\nx", 100_000),
            "250",
            32,
        ),
        (
            "NULs",
            b"From: <ann@example.org>\r\n\r\n",
            many("\0", 1 << 20),
            "554 5.6.0",
            16,
        ),
    ];
    let mut client = house.client().unwrap();
    for (name, head, body, code, most) in table {
        let before = house.forget_peak();
        let said = deliver(
            &mut client,
            std::iter::once(head).chain(body.chunks(65_536)),
        );
        assert!(said.starts_with(code), "{name}: {said}");
        let growth = house.peak().saturating_sub(before);
        eprintln!("{name}: {} octets, {} KiB more", body.len(), growth / 1024);
        assert!(growth < most * MIB, "{name}: {growth} octets more");
    }
    house.serves("after");
    house.stop();
}

/// A message at the limit streams: it takes no memory worth the name. One over it is refused, and
/// the rest of it is not run as commands.
#[test]
fn a_message_of_fifty_megabytes_streams() {
    let mut house = House::open(Plan::default());
    house.serves("before");
    let mut client = house.client().unwrap();
    let line =
        b"QUIT\r\nMAIL FROM:<eve@example.com>\r\n  and some more to make a line of it ...\r\n";
    let piece = line.repeat(800);
    let head = &b"From: <ann@example.org>\r\n\r\n"[..];
    let pieces = |octets: usize| {
        std::iter::once(head).chain(std::iter::repeat_n(&piece[..], octets / piece.len()))
    };
    let before = house.forget_peak();
    let said = deliver(&mut client, pieces(49 << 20));
    assert!(said.starts_with("250"), "{said}");
    let growth = house.peak().saturating_sub(before);
    eprintln!("50 MB: {} KiB more", growth / 1024);
    assert!(growth < 16 * MIB, "{growth} octets more");
    let said = deliver(&mut client, pieces(60 << 20));
    assert!(said.starts_with("552 5.3.4"), "{said}");
    assert!(client.ask("NOOP").unwrap().starts_with("250"));
    house.drain();
    house.stop();
}

/// BDAT sizes never wrap, and chunks beyond the limit are thrown away as they come.
#[test]
fn bdat_takes_no_more_than_the_limit() {
    let mut house = House::open(Plan {
        tables: "[limits]\nmessage_size = \"1 MiB\"".into(),
        ..Plan::default()
    });
    house.serves("before");
    let junk = vec![0xa5; 1 << 20];
    let before = house.forget_peak();
    let mut client = house.client().unwrap();
    for line in ["MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>"] {
        assert!(client.ask(line).unwrap().starts_with("250"));
    }
    // Chunks that each would do: the second is too much, and the rest is read and dropped.
    for number in 0..10 {
        client.send(b"BDAT 1048000\r\n").unwrap();
        client.send(&junk[..1_048_000]).unwrap();
        let said = client.reply().unwrap();
        let code = if number == 0 { "250" } else { "55" };
        assert!(
            said[0].starts_with(code) || number > 1 && said[0].starts_with("503"),
            "{said:?}"
        );
    }
    assert!(client.ask("RSET").unwrap().starts_with("250"));
    for size in [
        "18446744073709551616",
        "99999999999999999999999",
        "-1",
        "0x10",
    ] {
        let said = client.ask(&format!("BDAT {size}")).unwrap();
        assert!(said.starts_with('5'), "{size}: {said}");
        // Where its content would begin is not known, so that was the end of the session.
        client = house.client().unwrap();
    }
    // One chunk far beyond the limit: refused, and given up rather than read to its end.
    for line in ["MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>"] {
        assert!(client.ask(line).unwrap().starts_with("250"));
    }
    client.send(b"BDAT 67108864\r\n").unwrap();
    let sent = (0..64).try_for_each(|_| client.send(&junk));
    match client.reply() {
        Ok(said) => assert!(said[0].starts_with("552 5.3.4"), "{said:?}"),
        Err(error) => assert!(sent.is_err(), "{error}"),
    }
    let growth = house.peak().saturating_sub(before);
    assert!(growth < 16 * MIB, "{growth} octets more");
    house.serves("after");
    house.stop();
}

/// Octets without sense, before, during and after everything: no panic, and the others are served.
#[test]
fn octets_without_sense_end_only_their_own_session() {
    let mut house = House::open(Plan::default());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut junk = |length: usize| -> Vec<u8> {
        let octets = (0..length).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        octets.collect()
    };
    for n in 0..20 {
        for port in [house.submissions, house.submission] {
            let mut stream = from(address(n), port).unwrap();
            // The server may have closed already; that is its right.
            let _ = stream.write_all(&junk(3000));
        }
        // A handshake that begins well.
        let mut stream = TcpStream::connect(house.submissions).unwrap();
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        let _ = stream.write_all(&junk(600));
        for before in [
            &b""[..],
            b"MAIL FROM:<ann@example.org>\r\n",
            b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n",
            b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nBDAT 2000\r\n",
            b"AUTH LOGIN\r\n",
        ] {
            let mut client = house.client().unwrap();
            client.send(before).unwrap();
            let _ = client.send(&junk(3000));
        }
    }
    house.serves("after");
    house.stop();
}
