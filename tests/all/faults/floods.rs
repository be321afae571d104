//! Slow, silent and flooding clients: they are given up in time, and the others are served.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use super::house::{House, PATIENCE, Plan, address, from, message, sign_in};
use crate::wire::Client;

const MIB: u64 = 1 << 20;

/// Sends octets and says whether there is anybody left to take them.
type Send = Box<dyn FnMut(&[u8]) -> bool>;

fn house(tables: &str) -> House {
    House::open(Plan {
        tables: tables.into(),
        ..Plan::default()
    })
}

/// Whether the server has closed the connection, without waiting for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut octets = [0; 512];
    loop {
        match stream.read(&mut octets) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// S32: 500 handshakes that nobody finishes shed their own oldest.
#[test]
fn unfinished_handshakes_give_way_to_a_newcomer() {
    let mut house = house("[limits]\nhandshakes = 64\n[timeouts]\nhandshake = \"60s\"");
    house.serves("before");
    let before = house.forget_peak();
    let mut flood = Vec::new();
    for n in 0..500 {
        let mut stream = from(address(n), house.submissions).unwrap();
        // The head of a record, and never the rest.
        stream
            .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            .unwrap();
        flood.push(stream);
    }
    house.serves("during");
    let open = flood.iter_mut().map(|stream| !is_closed(stream));
    let open: Vec<_> = open.collect();
    assert!(open[..400].iter().all(|open| !open), "an old one was kept");
    assert!(
        open[450..].iter().any(|open| *open),
        "young ones were shed too"
    );
    let growth = house.peak().saturating_sub(before);
    eprintln!("flood of 500: {} KiB more", growth / 1024);
    assert!(growth < 64 * MIB, "{growth} octets more");
    house.stop();
}

/// S33: 500 that say nothing on 587 take no seat from somebody who signs in.
#[test]
fn idle_connections_give_way_to_a_newcomer() {
    let mut house = house("[limits]\nsessions = 100");
    let mut signed_in = house.client().unwrap();
    let before = house.forget_peak();
    let mut flood: Vec<_> = (0..500)
        .map(|n| from(address(n), house.submission).unwrap())
        .collect();
    for n in 0..5 {
        house.serves(&format!("during-{n}"));
    }
    assert!(
        signed_in.ask("NOOP").unwrap().starts_with("250"),
        "who signed in stays"
    );
    let open = flood
        .iter_mut()
        .filter_map(|stream| (!is_closed(stream)).then_some(()));
    assert!(open.count() < 100);
    let growth = house.peak().saturating_sub(before);
    eprintln!("flood of 500: {} KiB more", growth / 1024);
    assert!(growth < 64 * MIB, "{growth} octets more");
    house.stop();
}

/// One address has its share and no more; another is served.
#[test]
fn one_address_cannot_take_every_seat() {
    let mut house = house("[limits]\nsessions = 60\nsessions_per_address = 20");
    let mut flood: Vec<_> = (0..80)
        .map(|_| from([127, 0, 0, 9], house.submission).unwrap())
        .collect();
    house.serves("during");
    let mut refused = 0;
    for stream in &mut flood {
        let mut said = [0; 512];
        let count = stream.read(&mut said).unwrap_or(0);
        refused += usize::from(said[..count].starts_with(b"421 "));
    }
    assert_eq!(refused, 60);
    house.stop();
}

/// S32: one octet at a time, in every phase, ends in time.
#[test]
fn one_octet_at_a_time_is_given_up_in_every_phase() {
    let mut house = house(
        "[timeouts]\nhandshake = \"2s\"\nidle = \"2s\"\nline = \"2s\"\ndata = \"2s\"\nsign_in = \"2s\"",
    );
    let slowly = |mut send: Send, text: &[u8], phase: &str| {
        let begun = Instant::now();
        for octet in text.iter().cycle() {
            if !send(&[*octet]) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{phase} goes on and on");
            sleep(Duration::from_millis(200));
        }
    };
    let house_ref = &house;
    scope(|threads| {
        threads.spawn(move || {
            let mut stream = TcpStream::connect(house_ref.submissions).unwrap();
            stream
                .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                .unwrap();
            let send = Box::new(move |octets: &[u8]| {
                stream.write_all(octets).is_ok() && !is_closed(&mut stream)
            });
            slowly(send, b"x", "handshake");
        });
        threads.spawn(move || {
            let mut stream = TcpStream::connect(house_ref.submission).unwrap();
            let send = Box::new(move |octets: &[u8]| {
                stream.write_all(octets).is_ok() && !is_closed(&mut stream)
            });
            slowly(send, b"E", "command in the clear");
        });
        let phases: [(&str, &[&str], &[u8]); 4] = [
            ("command", &[], b"N"),
            ("sign-in", &["AUTH PLAIN"], b"A"),
            (
                "data",
                &[
                    "MAIL FROM:<ann@example.org>",
                    "RCPT TO:<bob@example.net>",
                    "DATA",
                ],
                b"A: b\r\n",
            ),
            (
                "chunk",
                &["MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>"],
                b"A: b\r\n",
            ),
        ];
        for (phase, before, text) in phases {
            threads.spawn(move || {
                let mut client = match phase {
                    "sign-in" => {
                        let trust = house_ref.trust.clone();
                        let mut client = Client::implicit(house_ref.submissions, trust).unwrap();
                        client.reply().unwrap();
                        client.ask("EHLO client.example").unwrap();
                        client
                    }
                    _ => house_ref.client().unwrap(),
                };
                for line in before {
                    let said = client.ask(line).unwrap();
                    assert!(said.starts_with('2') || said.starts_with('3'), "{said}");
                }
                if phase == "chunk" {
                    client.send(b"BDAT 100000\r\n").unwrap();
                }
                let send = Box::new(move |octets: &[u8]| client.send(octets).is_ok());
                slowly(send, text, phase);
            });
        }
        // And meanwhile:
        for n in 0..4 {
            house_ref.serves(&format!("during-{n}"));
            sleep(Duration::from_millis(300));
        }
    });
    house.stop();
}

/// S33: replies that nobody reads are neither kept nor waited for without end.
#[test]
fn a_client_that_never_reads_is_given_up() {
    let mut house = house("[timeouts]\nwrite = \"2s\"");
    house.serves("before");
    let before = house.forget_peak();
    let house_ref = &house;
    scope(|threads| {
        for n in 0..6 {
            threads.spawn(move || {
                let begun = Instant::now();
                let lines = "EHLO client.example\r\n".repeat(1000);
                if n % 2 == 0 {
                    let mut stream = TcpStream::connect(house_ref.submission).unwrap();
                    stream.set_write_timeout(Some(PATIENCE)).unwrap();
                    while stream.write_all(lines.as_bytes()).is_ok() {
                        assert!(begun.elapsed() < PATIENCE, "goes on and on");
                    }
                } else {
                    let mut client = house_ref.client().unwrap();
                    while client.send(lines.as_bytes()).is_ok() {
                        assert!(begun.elapsed() < PATIENCE, "goes on and on");
                    }
                }
                assert!(begun.elapsed() < PATIENCE, "never given up");
            });
        }
        house_ref.serves("during");
    });
    let growth = house.peak().saturating_sub(before);
    eprintln!("replies unread: {} KiB more", growth / 1024);
    assert!(growth < 32 * MIB, "{growth} octets more");
    house.serves("after");
    house.stop();
}

/// S33: a line without end is refused and thrown away as it comes.
#[test]
fn a_line_without_end_takes_no_memory() {
    let mut house = house("");
    house.serves("before");
    let before = house.forget_peak();
    let piece = vec![b'x'; 1 << 20];
    let trust = house.trust.clone();
    let mut secure = Client::implicit(house.submissions, trust).unwrap();
    let mut plain = Client::plain(house.submission).unwrap();
    let mut signing_in = Client::implicit(house.submissions, house.trust.clone()).unwrap();
    for (client, before) in [
        (&mut secure, None),
        (&mut plain, None),
        (&mut signing_in, Some(sign_in())),
    ] {
        client.reply().unwrap();
        client.ask("EHLO client.example").unwrap();
        if before.is_some() {
            assert!(client.ask("AUTH LOGIN").unwrap().starts_with("334"));
        }
        let sent = (0..24).try_for_each(|_| client.send(&piece));
        // Refused at its end, or cut off before it.
        if sent.and_then(|()| client.send(b"\r\n")).is_ok()
            && let Ok(lines) = client.reply()
        {
            assert!(
                lines[0].starts_with('5') || lines[0].starts_with("421"),
                "{lines:?}"
            );
        }
    }
    let growth = house.peak().saturating_sub(before);
    eprintln!("72 MB of lines: {} KiB more", growth / 1024);
    assert!(growth < 16 * MIB, "{growth} octets more");
    house.serves("after");
    house.stop();
}

/// S35: with no descriptors left the server neither ends nor spins, and goes on when there are some.
#[test]
fn without_descriptors_the_server_neither_stops_nor_spins() {
    let mut house = House::open(Plan {
        tables: "[limits]\nsessions_per_address = 1000".into(),
        descriptors: Some(80),
        ..Plan::default()
    });
    let mut signed_in = house.client().unwrap();
    let mut flood = Vec::new();
    for n in 0..300 {
        flood.push(from(address(n), house.submission).unwrap());
    }
    sleep(Duration::from_millis(500));
    let (used, begun) = (house.processor_time(), Instant::now());
    sleep(Duration::from_secs(2));
    let used = house.processor_time() - used;
    let elapsed = begun.elapsed();
    // A fifth of one processor is far more than waiting takes, and far less than spinning does.
    assert!(
        u128::from(used) * 10 < elapsed.as_millis() / 5,
        "{used} ticks in {elapsed:?}"
    );
    assert!(signed_in.ask("NOOP").unwrap().starts_with("250"));
    let failures = house.log().matches("accepting fails").count();
    assert!((1..=10).contains(&failures), "told {failures} times");
    drop(flood);
    let begun = Instant::now();
    while let Err(error) = house.try_to_serve("after") {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "not back: {error}"
        );
        sleep(Duration::from_millis(50));
    }
    let said = super::house::submit(
        &mut signed_in,
        &["bob@example.net"],
        &message("kept", 100_000),
    );
    assert!(said.unwrap().starts_with("250"));
    house.stop();
}
