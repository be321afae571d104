//! Start, reload, stop and crash, with clients in the middle of things.

use std::{
    fs, io,
    sync::{Arc, Mutex},
};

use rustix::process::Signal;

use crate::{
    server::{ALICE, BOB, PASSWORD, Server, Settings, send, sign_in, wait_for},
    tls::make_pair,
    transcripts::bare::SIGN_IN,
    wire::{Client, trust},
};

fn message(subject: &str) -> Vec<u8> {
    format!("From: {ALICE}\r\nSubject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

fn hold(server: &mut Server, hold: bool) {
    server.settings = server
        .settings
        .clone()
        .with("queue", &format!("hold = {hold}"));
    server.configure();
}

/// How often each subject arrived at bob's.
fn arrivals(server: &Server, subjects: &[String]) -> Vec<usize> {
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

/// R5321-2.1a: what was answered with 250 outlives a crash, once, in the database and in files.
#[test]
fn accepted_mail_outlives_a_crash_exactly_once() {
    let settings = Settings::new().with("queue", "hold = true");
    let mut server = Server::with(settings.with("limits", "message_size = \"1MiB\""));
    let mut client = server.signed_in();
    let mut subjects = Vec::new();
    for (n, lines) in [1, 10, 5_000].into_iter().enumerate() {
        let subject = format!("crash{n}");
        let content = format!(
            "From: {ALICE}\r\nSubject: {subject}\r\n\r\n{}",
            "0123456789012345678901234567890123456789\r\n".repeat(lines)
        );
        let reply = send(&mut client, ALICE, &[BOB], content.as_bytes());
        assert!(reply.starts_with("250 "), "{reply}");
        subjects.push(subject);
    }
    // One that was never finished.
    client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    client.ask(&format!("RCPT TO:<{BOB}>")).unwrap();
    client.ask("DATA").unwrap();
    client.send(&message("unfinished")).unwrap();
    server.kill9();

    hold(&mut server, false);
    server.run();
    assert_eq!(arrivals(&server, &subjects), [1, 1, 1]);
    assert_eq!(server.mail(BOB).len(), 3);
    server.kill9();
    server.run();
    assert_eq!(server.delivered(BOB).len(), 3);
}

/// Crashes while mail comes in and is handed on: whatever had its 250 arrives once, and what had
/// none at most once. (R5321-2.1a)
#[test]
fn crashes_between_acceptance_and_delivery_lose_and_double_nothing() {
    let mut server = Server::start();
    let (accepted, tried) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    for round in 0..5 {
        let enough = accepted.lock().unwrap().len() + 10 + 7 * round;
        let (submissions, trust) = (server.submissions, Arc::clone(&server.trust));
        std::thread::scope(|scope| {
            for sender in 0..4 {
                let (accepted, tried, trust) = (&accepted, &tried, Arc::clone(&trust));
                scope.spawn(move || -> io::Result<()> {
                    let mut client = Client::implicit(submissions, trust)?;
                    client.reply()?;
                    client.ask("EHLO client.example")?;
                    client.send(SIGN_IN.as_bytes())?;
                    client.reply()?;
                    for n in 0.. {
                        let subject = format!("round{round}sender{sender}message{n}");
                        tried.lock().unwrap().push(subject.clone());
                        let content = message(&subject);
                        let size = content.len();
                        let lines = format!(
                            "MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nBDAT {size} LAST\r\n"
                        );
                        client.send(&[lines.as_bytes(), &content].concat())?;
                        client.reply()?;
                        client.reply()?;
                        let reply = client.reply()?;
                        assert!(reply[0].starts_with("250 2.0.0 Accepted"), "{reply:?}");
                        accepted.lock().unwrap().push(subject);
                    }
                    Ok(())
                });
            }
            wait_for("enough mail", || {
                (accepted.lock().unwrap().len() >= enough).then_some(())
            });
            server.kill9();
        });
        server.run();
    }
    let (accepted, tried) = (accepted.into_inner().unwrap(), tried.into_inner().unwrap());
    assert_eq!(arrivals(&server, &accepted), vec![1; accepted.len()]);
    let doubled: Vec<_> = arrivals(&server, &tried)
        .into_iter()
        .filter(|count| *count > 1)
        .collect();
    assert!(doubled.is_empty(), "{doubled:?}");
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

/// R5321-4.5.3.2a: too long a silence is answered, inside TLS and outside.
#[test]
fn silence_is_answered_with_421() {
    let server = Server::with(Settings::new().with("timeouts", "idle = \"1s\""));
    let mut plain = Client::plain(server.submission).unwrap();
    plain.reply().unwrap();
    for mut client in [server.signed_in(), server.upgraded(), plain] {
        let reply = client.reply().unwrap();
        assert!(
            reply[0].starts_with("421 4.4.2 mail.example.org"),
            "{reply:?}"
        );
        assert!(client.closed().unwrap().is_empty());
    }
}

/// S32: one octet now and then is silence too.
#[test]
fn a_line_that_never_ends_is_answered_with_421() {
    let server = Server::with(Settings::new().with("timeouts", "line = \"1s\""));
    let mut client = server.signed_in();
    client.send(b"NOO").unwrap();
    let reply = client.reply().unwrap();
    assert!(
        reply[0].starts_with("421 4.4.2 mail.example.org"),
        "{reply:?}"
    );
}

/// S32: a client that says nothing in a handshake is let go.
#[test]
fn a_handshake_that_does_not_come_is_given_up() {
    let server = Server::with(Settings::new().with("timeouts", "handshake = \"1s\""));
    let mut silent = Client::plain(server.submissions).unwrap();
    assert!(silent.closed().unwrap().len() <= 7);
    server.logged(&["handshake failed", "submissions"]);
}

/// R5321-7.8a: one address has its share of connections and gets it back.
#[test]
fn too_many_connections_from_one_address_are_told_so() {
    let server = Server::with(Settings::new().with("limits", "sessions_per_address = 2"));
    let (mut one, two) = (server.signed_in(), server.signed_in());
    let mut third = Client::plain(server.submission).unwrap();
    let reply = third.reply().unwrap();
    assert!(
        reply[0].starts_with("421 mail.example.org Too many connections"),
        "{reply:?}"
    );
    assert!(third.closed().unwrap().is_empty());
    assert!(Client::implicit(server.submissions, Arc::clone(&server.trust)).is_err());
    assert!(one.ask("NOOP").unwrap().starts_with("250 "));
    drop(two);
    wait_for("a free seat", || {
        let mut again = Client::plain(server.submission).ok()?;
        again.reply().ok()?[0].starts_with("220 ").then_some(())
    });
}

/// R5321-6.1c: the answer to a message waits for no delivery. Hold lets mail in and nothing out, and letting go needs no restart.
#[test]
fn hold_keeps_mail_until_it_is_let_go() {
    let mut server = Server::with(Settings::new().with("queue", "hold = true"));
    let mut client = server.signed_in();
    for to in [BOB, "x@any.example"] {
        assert!(send(&mut client, ALICE, &[to], &message("held")).starts_with("250 "));
    }
    let listed = server.manage(&["queue", "list", "--json"]);
    let lines: Vec<serde_json::Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let addresses: Vec<_> = lines
        .iter()
        .map(|line| line["recipients"][0]["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, [BOB, "x@any.example"], "oldest first");
    for line in &lines {
        assert_eq!(line["sender"], ALICE);
        assert_eq!(line["recipients"].as_array().unwrap().len(), 1);
        assert_eq!(line["recipients"][0]["attempts"], 0);
        assert_eq!(line["recipients"][0]["state"], "due");
        assert!(line["size_octets"].as_u64().unwrap() > 100);
        let accepted = line["queue_id"].as_str().unwrap();
        server.logged(&["message accepted", accepted]);
    }
    let text = server.manage(&["queue", "list"]);
    for (line, to) in text.lines().skip(1).zip([BOB, "x@any.example"]) {
        assert!(line.contains(ALICE) && line.contains(to), "{text}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(server.metric("gatepost_queue_messages"), 2.0);
    assert!(server.mail(BOB).is_empty());

    hold(&mut server, false);
    server.reload();
    server.only(BOB);
    server.only("x@any.example");
    assert_eq!(server.manage(&["queue", "list", "--json"]), "");
}

/// A Maildir that cannot be written keeps its mail waiting, and only its mail.
#[test]
fn a_maildir_that_cannot_be_made_is_tried_again() {
    let server = Server::start();
    fs::create_dir_all(server.path("mail")).unwrap();
    let obstacle = server.path("mail/stuck@any.example");
    fs::write(&obstacle, "a file in the folder's place").unwrap();
    let mut client = server.signed_in();
    assert!(
        send(
            &mut client,
            ALICE,
            &["stuck@any.example", BOB],
            &message("late")
        )
        .starts_with("250 ")
    );
    server.logged(&["delivery attempt", "stuck@any.example", "deferred"]);
    wait_for("the other copy", || {
        (server.mail(BOB).len() == 1).then_some(())
    });
    fs::remove_file(&obstacle).unwrap();
    assert!(
        server
            .only("stuck@any.example")
            .contains("\nSubject: late\n")
    );
    assert_eq!(server.mail(BOB).len(), 1);
}

#[test]
fn health_and_metrics_are_told() {
    let server = Server::start();
    let (status, body) = server.get("/healthz");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", "ok\n")
    );
    let mut client = server.signed_in();
    assert!(send(&mut client, ALICE, &[BOB], &message("counted")).starts_with("250 "));
    server.only(BOB);
    assert_eq!(server.metric("gatepost_messages_accepted_total"), 1.0);
    assert_eq!(server.metric("gatepost_sessions"), 1.0);
    assert_eq!(server.metric("gatepost_queue_messages"), 0.0);
    let (status, _) = server.get("/nothing");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}

/// S22: neither what clients call themselves and others, nor what they say wrong, reaches the log
/// raw; and no secret reaches it at all.
#[test]
fn the_log_holds_no_secret_and_no_raw_control_character() {
    let mut server = Server::start();
    let odd = "\u{1b}[31m\u{9b}2J\u{202e}gnp.exe\u{7}";
    let mut client = server.greeted();
    let response = |name: &str, password: &str| {
        data_encoding::BASE64.encode(format!("\0{name}\0{password}").as_bytes())
    };
    let _ = client.ask(&format!("EHLO {odd}"));
    let _ = client.ask(&format!("AUTH PLAIN {}", response(odd, "guessed-secret")));
    let name = "\u{202e}\u{85}ecila@example.org";
    let _ = client.ask(&format!("AUTH PLAIN {}", response(name, "guessed-secret")));
    let _ = client.ask(&format!("MAIL FROM:<{odd}@example.org> SMTPUTF8"));
    let refused = sign_in(&mut client, ALICE, "guessed-secret");
    assert!(refused.starts_with("535 "), "{refused}");
    drop(client);
    let mut client = server.signed_in();
    let _ = client.ask(&format!("{odd}\u{1b}"));
    let _ = client.ask(&format!("MAIL FROM:<{odd}@example.org> SMTPUTF8"));
    for to in [
        "\u{202e}txt@any.example",
        "\"\u{9b}31m\"@any.example",
        "plain@any.example",
    ] {
        let _ = client.ask("MAIL FROM:<\u{202e}ecila@wonder.example> SMTPUTF8");
        let _ = client.ask(&format!("RCPT TO:<{to}>"));
        if client.ask("DATA").unwrap().starts_with("354 ") {
            let content =
                format!("From: {ALICE}\r\nSubject: {odd} private-subject\r\n\r\nprivate-text\r\n");
            client.send(content.as_bytes()).unwrap();
            client.ask(".").unwrap();
        }
        let _ = client.ask("RSET");
    }
    server.delivered("plain@any.example");
    drop(client);
    let log = server.stop();
    assert!(
        log.contains("sign-in refused") && log.contains("message accepted"),
        "{log}"
    );
    for c in log.chars().filter(|c| *c != '\n') {
        let direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!c.is_control() && !direction, "{c:?} in {log}");
    }
    let mut secrets = vec!["private-".to_owned(), "guessed-secret".to_owned()];
    secrets.push(PASSWORD.to_owned());
    secrets.push(response(ALICE, PASSWORD));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
}
