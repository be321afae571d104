//! Kills in the middle of things: what had its 250 is there after the next start, once.

use std::{
    io,
    sync::{Arc, Mutex},
};

use crate::{
    running::{arrivals, hold, message},
    server::{ALICE, BOB, Server, Settings, send, wait_for},
    transcripts::bare::SIGN_IN,
    wire::Client,
};

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
