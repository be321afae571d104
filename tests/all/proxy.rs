//! Clients behind a proxy: HAProxy's PROXY protocol, from listed networks and from nowhere else.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConnection, StreamOwned};

use crate::{
    server::{ALICE, BOB, PASSWORD, PATIENCE, Server, Settings, send, sign_in, wait_for},
    wire::Client,
};

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 465\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Version 2: 2001:db8::7, port 5000, and a TLV.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x28".to_vec();
    header.extend(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07");
    header.extend([0; 16]);
    header.extend(b"\x13\x88\x01\xd1\x04\x00\x01x");
    header
}

fn text(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 5000 465\r\n").into_bytes()
}

/// This machine is a proxy.
fn settings() -> Settings {
    Settings::new().with("listeners", "proxy = [\"127.0.0.1\"]")
}

/// Through the proxy to 465, behind EHLO.
fn implicit(server: &Server, header: &[u8]) -> Client {
    let mut client = Client::plain(server.submissions).unwrap();
    client.send(header).unwrap();
    client.handshake(Arc::clone(&server.trust)).unwrap();
    assert!(client.reply().unwrap()[0].starts_with("220 "));
    hello(&mut client);
    client
}

/// Through the proxy to 587, behind the greeting.
fn greeted(server: &Server, header: &[u8]) -> Client {
    let mut client = Client::plain(server.submission).unwrap();
    client.send(header).unwrap();
    let reply = client.reply().unwrap();
    assert!(reply[0].starts_with("220 "), "{reply:?}");
    client
}

/// Through the proxy to 587, behind STARTTLS and EHLO.
fn upgraded(server: &Server, header: &[u8]) -> Client {
    let mut client = greeted(server, header);
    hello(&mut client);
    assert!(client.ask("STARTTLS").unwrap().starts_with("220 "));
    client.handshake(Arc::clone(&server.trust)).unwrap();
    hello(&mut client);
    client
}

fn hello(client: &mut Client) {
    let reply = client.ask("EHLO client.example").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
}

/// How many headers ended so.
fn headers(server: &Server, result: &str) -> Option<u32> {
    let (_, text) = server.get("/metrics");
    let line = format!("gatepost_proxy_headers_total{{result=\"{result}\"}} ");
    let mut counts = text.lines().filter_map(|found| found.strip_prefix(&line));
    counts.next()?.parse().ok()
}

/// The log, the Received field and the end of the session name who stands behind the proxy.
#[test]
fn the_client_that_the_header_names_is_the_peer() {
    let server = Server::with(settings().with("intake", "reveal_client = true"));
    let binary = binary();
    let rows = [
        (TEXT, "192.0.2.7:5000", "[192.0.2.7]"),
        (&binary[..], "[2001:db8::7]:5000", "[IPv6:2001:db8::7]"),
    ];
    for (header, peer, literal) in rows {
        for mut client in [implicit(&server, header), upgraded(&server, header)] {
            assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("235 "));
            let content = format!("From: {ALICE}\r\nSubject: {peer}\r\n\r\nx\r\n");
            assert!(send(&mut client, ALICE, &[BOB], content.as_bytes()).starts_with("250 "));
            client.ask("QUIT").unwrap();
        }
        let peer = format!("\"peer\":\"{peer}\"");
        for port in ["\"submissions\"", "\"submission\""] {
            server.logged(&["session ended", &peer, port]);
        }
        let mail = server.delivered(BOB);
        let revealed = mail.iter().filter(|message| {
            let message = String::from_utf8_lossy(message);
            message.contains(literal)
        });
        assert_eq!(revealed.count(), 2, "{}", server.log());
    }
    assert_eq!(headers(&server, "ok"), Some(4));
    assert!(!server.log().contains("\"peer\":\"127.0.0.1"));
}

/// A ClientHello, or a command, in the segment that carries the header.
#[test]
fn octets_behind_the_header_are_the_clients() {
    let server = Server::with(settings());
    for header in [TEXT, &binary()] {
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::clone(&server.trust), name).unwrap();
        let mut first = header.to_vec();
        tls.write_tls(&mut first).unwrap();
        let mut socket = TcpStream::connect(server.submissions).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&first).unwrap();
        let mut greeting = [0; 4];
        let mut stream = StreamOwned::new(tls, socket);
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ");

        let mut client = greeted(&server, &[header, b"NOOP\r\nEHLO a\r\n"].concat());
        assert!(client.reply().unwrap()[0].starts_with("250 "));
        assert!(client.reply().unwrap().last().unwrap().starts_with("250 "));
    }
}

#[test]
fn a_header_from_elsewhere_is_not_honoured() {
    let server = Server::with(Settings::new().with("listeners", "proxy = [\"192.0.2.0/24\"]"));
    let mut client = Client::plain(server.submission).unwrap();
    assert!(client.reply().unwrap()[0].starts_with("220 "));
    client.send(TEXT).unwrap();
    let reply = client.reply().unwrap();
    assert!(reply[0].starts_with("500 "), "{reply:?}");
    client.ask("QUIT").unwrap();
    server.logged(&["session ended", "\"peer\":\"127.0.0.1:", "\"submission\""]);

    let mut client = Client::plain(server.submissions).unwrap();
    client.send(TEXT).unwrap();
    assert!(client.handshake(Arc::clone(&server.trust)).is_err());
    server.logged(&["handshake failed", "\"peer\":\"127.0.0.1:"]);
    assert!(!server.log().contains("192.0.2.7"), "{}", server.log());
    drop(server.signed_in());
}

/// What a listed proxy sends in a header's place ends the connection without an answer.
#[test]
fn a_proxy_without_a_header_is_not_served() {
    let server = Server::with(settings());
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let rows = [
        (&b"EHLO client.example\r\n"[..], "missing"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "missing"),
        (b"PROXY TCP4 192.0.2.7 5000\r\n", "malformed"),
        (
            b"PROXY UDP4 192.0.2.7 198.51.100.1 5000 465\r\n",
            "unsupported",
        ),
        (&long, "too_long"),
    ];
    for address in [server.submissions, server.submission] {
        for (octets, result) in rows {
            let before = headers(&server, result).unwrap_or(0);
            let mut client = Client::plain(address).unwrap();
            client.send(octets).unwrap();
            assert_eq!(client.closed().unwrap(), b"", "{result}");
            assert_eq!(headers(&server, result), Some(before + 1));
            let result = format!("\"result\":\"{result}\"");
            server.logged(&["proxy header refused", &result, "\"peer\":\"127.0.0.1:"]);
        }
    }
    assert_eq!(server.metric("gatepost_sessions_total"), 0.0);
}

#[test]
fn a_header_that_does_not_come_is_given_up() {
    let server = Server::with(settings().with("timeouts", "proxy_header = \"1s\""));
    for address in [server.submissions, server.submission] {
        for part in [&b""[..], &TEXT[..20], &binary()[..27]] {
            let mut client = Client::plain(address).unwrap();
            client.send(part).unwrap();
            assert_eq!(client.closed().unwrap(), b"");
        }
    }
    assert_eq!(headers(&server, "timeout"), Some(6));
    for port in ["\"submissions\"", "\"submission\""] {
        server.logged(&["proxy header refused", "\"timeout\"", port]);
    }
}

/// One client's guesses and connections are not the others', though one proxy brings them all.
#[test]
fn limits_and_throttle_see_the_client() {
    let server = Server::with(
        settings()
            .with("limits", "sessions_per_address = 1")
            .with("auth.throttle", "exempt = [\"127.0.0.1\"]")
            .with(
                "auth.throttle",
                "address = { minute = 3, hour = 60, day = 200 }",
            ),
    );
    let guess = |address: &str, n: usize| {
        let mut client = implicit(&server, &text(address));
        let reply = sign_in(&mut client, &format!("guess{n}@example.org"), "guess");
        client.ask("QUIT").unwrap();
        client.closed().unwrap();
        // Its seat is free before the next one comes.
        wait_for("the session to end", || {
            (server.metric("gatepost_sessions") == 0.0).then_some(())
        });
        reply
    };
    let replies: Vec<_> = (0..4).map(|n| guess("192.0.2.7", n)).collect();
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["535", "535", "535", "454"]);
    assert!(guess("198.51.100.7", 5).starts_with("535 "));

    let one = greeted(&server, &text("192.0.2.7"));
    let mut second = Client::plain(server.submission).unwrap();
    second.send(&text("192.0.2.7")).unwrap();
    let reply = second.reply().unwrap();
    assert!(
        reply[0].starts_with("421 mail.example.org Too many connections"),
        "{reply:?}"
    );
    let mut third = Client::plain(server.submissions).unwrap();
    third.send(&text("192.0.2.7")).unwrap();
    assert_eq!(third.closed().unwrap(), b"");
    server.logged(&["too many connections", "\"peer\":\"192.0.2.7:5000\""]);
    drop(implicit(&server, &text("192.0.2.8")));
    drop(one);
}

/// The proxy's own connections, with which it looks whether we are there.
#[test]
fn a_proxy_that_speaks_for_itself_is_the_peer() {
    let server = Server::with(settings());
    for (n, header) in [LOCAL, b"PROXY UNKNOWN\r\n"].into_iter().enumerate() {
        let mut client = greeted(&server, header);
        client.ask(&format!("EHLO own{n}.example")).unwrap();
        client.ask("QUIT").unwrap();
        let name = format!("own{n}.example");
        server.logged(&["session ended", &name, "\"peer\":\"127.0.0.1:"]);
    }
}

/// However many connections a proxy opens without a word, its clients come in.
#[test]
fn connections_without_a_header_give_way_to_each_other() {
    let settings = settings()
        .with("limits", "handshakes = 8")
        .with("limits", "sessions_per_address = 2")
        .with("timeouts", "proxy_header = \"60s\"");
    let server = Server::with(settings);
    let addresses: [SocketAddr; 2] = [server.submissions, server.submission];
    let flood: Vec<_> = (0..60)
        .map(|n| Client::plain(addresses[n % 2]).unwrap())
        .collect();
    wait_for("the flood to shed its own", || {
        (headers(&server, "shed") == Some(52)).then_some(())
    });
    assert_eq!(server.metric("gatepost_sessions"), 8.0);
    drop(implicit(&server, TEXT));
    drop(upgraded(&server, TEXT));
    drop(flood);
}

/// A session that is open keeps its peer; the next connection obeys the new list.
#[test]
fn a_reload_changes_who_is_a_proxy() {
    let mut server = Server::start();
    let mut open = server.signed_in();
    server.settings = settings();
    server.configure();
    server.reload();
    let mut client = implicit(&server, TEXT);
    client.ask("QUIT").unwrap();
    server.logged(&["session ended", "\"peer\":\"192.0.2.7:5000\""]);
    assert!(open.ask("NOOP").unwrap().starts_with("250 "));

    server.settings = Settings::new();
    server.configure();
    server.reload();
    drop(server.signed_in());
}
