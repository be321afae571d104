//! Start, reload and stop, with clients in the middle of things.

use std::{fs, sync::Arc};

use rustix::process::Signal;

use crate::{
    server::{ALICE, BOB, Server, Settings, wait_for},
    tls::make_pair,
    wire::{Client, trust},
};

pub fn message(subject: &str) -> Vec<u8> {
    format!("From: {ALICE}\r\nSubject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

pub fn hold(server: &mut Server, hold: bool) {
    server.settings = server
        .settings
        .clone()
        .with("queue", &format!("hold = {hold}"));
    server.configure();
}

/// How often each subject arrived at bob's.
pub fn arrivals(server: &Server, subjects: &[String]) -> Vec<usize> {
    let mail = server.delivered(BOB);
    let texts: Vec<_> = mail
        .iter()
        .map(|octets| String::from_utf8_lossy(octets))
        .collect();
    let count = |subject: &String| {
        let line = format!("\nSubject: {subject}\n");
        texts.iter().filter(|text| text.contains(&line)).count()
    };
    subjects.iter().map(count).collect()
}

/// A new route, a new limit and a new certificate serve the next client; the session that is open
/// does not notice (S44).
#[test]
fn sighup_reloads_without_ending_a_session() {
    let mut server = Server::start();
    let mut open = server.signed_in();
    assert!(
        open.ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250 ")
    );

    let folder = server.path("certs");
    make_pair(&folder, "localhost");
    fs::rename(folder.join("localhost.pem"), folder.join("cert.pem")).unwrap();
    fs::rename(folder.join("localhost.key"), folder.join("key.pem")).unwrap();
    server.settings = server
        .settings
        .clone()
        .with("limits", "message_size = 70000");
    server.configure();
    server.reload();

    assert!(
        open.ask(&format!("RCPT TO:<{BOB}>"))
            .unwrap()
            .starts_with("250 ")
    );
    assert!(Client::implicit(server.submissions, Arc::clone(&server.trust)).is_err());
    server.trust = trust(&folder.join("cert.pem"));
    let mut fresh = server.greeted();
    fresh.send(b"EHLO client.example\r\n").unwrap();
    let keywords = fresh.reply().unwrap();
    assert!(
        keywords.iter().any(|line| line.ends_with("SIZE 70000")),
        "{keywords:?}"
    );
    assert!(open.ask("DATA").unwrap().starts_with("354 "));
    open.send(&message("open")).unwrap();
    assert!(open.ask(".").unwrap().starts_with("250 "));
}

/// A key that does not fit, half a file, a file with a mistake in it: what worked goes on, and the
/// log says so (S44).
#[test]
fn what_is_broken_leaves_the_old_in_service() {
    let mut server = Server::start();
    let folder = server.path("certs");
    make_pair(&folder, "other");
    for (name, broken) in [
        ("key.pem", fs::read(folder.join("other.key")).unwrap()),
        (
            "cert.pem",
            fs::read(folder.join("cert.pem")).unwrap()[..200].to_vec(),
        ),
        ("key.pem", Vec::new()),
    ] {
        let good = fs::read(folder.join(name)).unwrap();
        fs::write(folder.join(name), broken).unwrap();
        let before = server.log().matches("stays in service").count();
        server.signal(Signal::HUP);
        wait_for("the complaint", || {
            let now = server.log().matches("stays in service").count();
            (now > before).then_some(())
        });
        drop(server.signed_in());
        fs::write(folder.join(name), good).unwrap();
    }
    fs::write(server.path("gatepost.toml"), "hostname = 1").unwrap();
    server.signal(Signal::HUP);
    server.logged(&["not reloaded", "hostname"]);
    drop(server.signed_in());
}

/// The idle are told to go, a transaction under way is finished, nobody else comes in, and what was
/// accepted is there after the next start. (R5321-3.8d)
#[test]
fn sigterm_finishes_what_was_begun() {
    let mut server = Server::with(Settings::new().with("queue", "hold = true"));
    let mut idle = server.signed_in();
    let mut plain = Client::plain(server.submission).unwrap();
    plain.reply().unwrap();
    let mut busy = server.signed_in();
    assert!(
        busy.ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250 ")
    );
    assert!(
        busy.ask(&format!("RCPT TO:<{BOB}>"))
            .unwrap()
            .starts_with("250 ")
    );
    assert!(busy.ask("DATA").unwrap().starts_with("354 "));
    busy.send(b"From: alice@example.org\r\n").unwrap();

    server.signal(Signal::TERM);
    for client in [&mut idle, &mut plain] {
        let reply = client.reply().unwrap();
        assert!(
            reply[0].starts_with("421 4.3.2 mail.example.org"),
            "{reply:?}"
        );
        assert!(client.closed().unwrap().is_empty());
    }
    assert!(
        Client::plain(server.submission)
            .and_then(|mut late| late.reply())
            .is_err()
    );
    busy.send(b"Subject: busy\r\n\r\nx\r\n").unwrap();
    let reply = busy.ask(".").unwrap();
    assert!(reply.starts_with("250 2.0.0 Accepted as "), "{reply}");
    let (status, log) = server.ended();
    assert!(status.success(), "{status}\n{log}");

    hold(&mut server, false);
    server.run();
    assert_eq!(arrivals(&server, &["busy".to_owned()]), [1]);
}

/// A certificate that is renewed on disk is served without a signal (S44).
#[test]
fn a_renewed_certificate_is_taken_up_by_itself() {
    let mut server = Server::start();
    let folder = server.path("certs");
    let mut open = server.signed_in();
    make_pair(&folder, "localhost");
    fs::rename(folder.join("localhost.key"), folder.join("key.pem")).unwrap();
    fs::rename(folder.join("localhost.pem"), folder.join("cert.pem")).unwrap();
    server.trust = trust(&folder.join("cert.pem"));
    server.logged(&["certificates reloaded"]);
    drop(server.signed_in());
    assert!(open.ask("NOOP").unwrap().starts_with("250 "));
}

/// A client that will not finish is not waited for longer than told, and what it did not finish is
/// nobody's mail.
#[test]
fn sigterm_waits_no_longer_than_told() {
    let mut server = Server::with(Settings::new().with("timeouts", "shutdown = \"1s\""));
    let mut stuck = server.signed_in();
    stuck.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    stuck.ask(&format!("RCPT TO:<{BOB}>")).unwrap();
    assert!(stuck.ask("DATA").unwrap().starts_with("354 "));
    stuck.send(&message("stuck")).unwrap();
    server.stop();
    let said = stuck.closed().unwrap();
    assert!(!said.starts_with(b"2"), "{said:?}");
    server.run();
    assert!(server.delivered(BOB).is_empty());
}
