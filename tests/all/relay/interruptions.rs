//! Faults on our side while mail is on its way: kills, stops and reloads; names that are not found;
//! dead hosts beside a living one.

use std::{
    collections::HashMap,
    sync::{Mutex, atomic::AtomicBool, atomic::Ordering::Relaxed},
    thread::{scope, sleep},
    time::Duration,
};

use super::{drained, letter, open_relay, relay, route, send, settings, subject, submit};
use crate::{
    faults::count,
    hop::{Act, Behaviour, Hop, Phase, Script},
    server::{ALICE, PASSWORD, Server, free_address, sign_in, wait_for},
    wire::Client,
};

/// Messages that a client submits before one kill; a hop as slow as ours gets through with them.
const AT_ONCE: usize = 20;

/// Small ones travel in the database, large ones in files.
fn body(number: usize) -> String {
    "A line of text in the body of a message.\r\n".repeat(if number.is_multiple_of(3) {
        500
    } else {
        5
    })
}

/// How often each subject was taken by a hop.
fn taken(hop: &Hop) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for message in hop.messages() {
        *counts.entry(subject(&message)).or_default() += 1;
    }
    counts
}

/// S3, S6: killed again and again while a slow hop is being served. What was answered 250 arrives;
/// what comes twice was being answered at a kill.
///
/// `GATEPOST_KILLS` sets the number of kills.
#[test]
fn no_kill_loses_what_was_on_its_way_to_a_next_hop() {
    let kills = count("GATEPOST_KILLS", 5);
    let hop = Hop::start(Behaviour::starttls().slow(Duration::from_millis(15)));
    let more = "connections = 4\n";
    let settings = settings().with("spool", "inline = \"4 KiB\"");
    let mut server = Server::with(settings.route(&relay("far.example", &hop, "starttls", more)));
    let accepted = Mutex::new(Vec::new());
    for cycle in 0..kills {
        let is_over = AtomicBool::new(false);
        let address = (server.submissions, server.trust.clone());
        scope(|threads| {
            for who in 0..2 {
                let (address, accepted, is_over) = (&address, &accepted, &is_over);
                threads.spawn(move || {
                    let name = format!("k{cycle}.{who}");
                    let ended = send_until_gone(address, &name, accepted);
                    assert!(is_over.load(Relaxed), "gone before the kill: {ended:?}");
                });
            }
            sleep(Duration::from_millis(250 + (cycle as u64 * 137) % 250));
            is_over.store(true, Relaxed);
            server.kill9();
        });
        server.run();
    }
    drained(&server);
    let (accepted, taken) = (accepted.into_inner().unwrap(), taken(&hop));
    assert!(accepted.len() > kills * 4, "too little: {}", accepted.len());
    for name in &accepted {
        assert!(taken.contains_key(name), "{name} is lost");
    }
    let twice = taken.values().map(|copies| copies - 1).sum::<usize>();
    // As many as may be on their way at one time.
    assert!(twice <= kills * 4, "{twice} came twice: {taken:?}");
    eprintln!("{kills} kills: {} accepted, {twice} twice", accepted.len());
}

/// Why it ended: the server has gone.
fn send_until_gone(
    (address, trust): &(std::net::SocketAddr, std::sync::Arc<rustls::ClientConfig>),
    name: &str,
    accepted: &Mutex<Vec<String>>,
) -> std::io::Error {
    let attempt = || -> std::io::Result<std::convert::Infallible> {
        let mut client = Client::implicit(*address, trust.clone())?;
        client.reply()?;
        client.ask("EHLO client.example")?;
        let response = format!("\0{ALICE}\0{PASSWORD}");
        let response = data_encoding::BASE64.encode(response.as_bytes());
        client.ask(&format!("AUTH PLAIN {response}"))?;
        for number in 0..AT_ONCE {
            let name = format!("{name}.{number}");
            client.ask(&format!("MAIL FROM:<{ALICE}>"))?;
            client.ask("RCPT TO:<bob@far.example>")?;
            client.ask("DATA")?;
            client.send(&letter(&name, &body(number)))?;
            if client.ask(".")?.starts_with("250 ") {
                accepted.lock().unwrap().push(name);
            }
        }
        client.closed()?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    };
    match attempt() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// SIGTERM finishes what is on its way within the limit, gives back the rest, and the next start
/// sends that: all of it, once.
#[test]
fn a_stop_finishes_transfers_or_gives_them_back() {
    let slow = Hop::start(Behaviour::plain().slow(Duration::from_millis(150)));
    let hangs = Hop::start(Script::of([
        Behaviour::plain()
            .without("CHUNKING")
            .at(Phase::Data, Act::Hang),
        Behaviour::plain(),
    ]));
    let more = "connections = 2\n";
    let mut server = Server::with(
        settings()
            .with("timeouts", "shutdown = \"2s\"")
            .route(&relay("slow.example", &slow, "none", more))
            .route(&open_relay("hangs.example", &hangs)),
    );
    let mut client = server.signed_in();
    let names: Vec<_> = (0..8).map(|n| format!("s{n}")).collect();
    for name in &names {
        let content = letter(name, "Hello.\r\n");
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@slow.example>"],
            &content,
        );
    }
    send(&server, &["bob@hangs.example"], "hangs");
    hangs.wait("DATA", |transcript| {
        let mut connections = transcript.connections.iter();
        connections.any(|one| one.verbs().contains(&"DATA".to_owned()))
    });
    slow.wait_for_messages(1);
    drop(client);
    let log = server.stop();
    assert!(log.contains("attempts cut off"), "{log}");
    let before = slow.messages().len();
    assert!(before < names.len(), "nothing was left");
    server.run();
    drained(&server);
    let counts = taken(&slow);
    for name in &names {
        assert_eq!(counts.get(name), Some(&1), "{name}: {counts:?}");
    }
    assert_eq!(taken(&hangs), HashMap::from([("hangs".to_owned(), 1)]));
}

/// A reload lets transfers be, sends what waits by the new route, and signs in anew.
#[test]
fn a_reload_disturbs_no_transfer() {
    let old = Hop::start(Behaviour::starttls().slow(Duration::from_millis(60)));
    let new = Hop::start(Behaviour::starttls());
    let more = "connections = 2\n";
    let plain = settings();
    let mut server = Server::with(plain.clone().route(&relay(
        "far.example",
        &old,
        "starttls",
        more,
    )));
    let mut client = server.signed_in();
    let names: Vec<_> = (0..10).map(|n| format!("r{n}")).collect();
    for name in &names[..5] {
        let content = letter(name, "Hello.\r\n");
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@far.example>"],
            &content,
        );
    }
    old.wait_for_messages(1);
    server.settings = plain.route(&relay("far.example", &new, "starttls", more));
    server.configure();
    server.reload();
    for name in &names[5..] {
        let content = letter(name, "Hello.\r\n");
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@far.example>"],
            &content,
        );
    }
    drained(&server);
    let (old_ones, mut counts) = (taken(&old), taken(&new));
    assert!(!old_ones.is_empty() && old_ones.len() <= 5, "{old_ones:?}");
    for (name, times) in old_ones {
        *counts.entry(name).or_default() += times;
    }
    for name in &names {
        assert_eq!(counts.get(name), Some(&1), "{name}: {counts:?}");
    }
    // Connections of before are not kept.
    old.wait("no open connection", |transcript| {
        transcript
            .connections
            .iter()
            .all(|one| one.closed.is_some())
    });
    let log = server.log();
    assert!(!log.contains("\"deferred\""), "{log}");
}

/// A name that is not found is tried again, and told in the end.
#[test]
fn a_name_that_is_not_found_is_told_in_the_end() {
    let line = route(
        "far.example",
        "relay",
        "no-such-host.invalid:587",
        "tls = \"starttls\"",
    );
    let settings = settings().with("queue", "give_up_after = \"3s\"");
    let server = Server::with(settings.route(&line));
    send(&server, &["bob@far.example"], "unknown");
    let first = server.logged(&["delivery attempt", "bob@far.example", "\"deferred\""]);
    assert!(first.contains("\"dsn\":\"4.4.3\""), "{first}");
    drained(&server);
    let report = server.only(ALICE);
    assert!(report.contains("\nStatus: 4.4.7\n"), "{report}");
    assert!(report.contains("no-such-host.invalid"), "{report}");
}

/// Dead next hops, however many, keep nobody waiting for a living one.
#[test]
fn dead_hosts_do_not_delay_a_living_one() {
    let hang = || Hop::start(Behaviour::plain().at(Phase::Greeting, Act::Hang));
    let dead: Vec<_> = (0..10).map(|_| hang()).collect();
    let living = Hop::start(Behaviour::plain());
    let numbered = dead.iter().enumerate();
    let settings = settings()
        .with("queue", "attempts = 8")
        .with("queue", "attempts_per_route = 8");
    let settings = numbered.fold(settings, |settings, (at, hop)| {
        settings.route(&open_relay(&format!("dead{at}.example"), hop))
    });
    let refused = free_address().to_string();
    let server = Server::with(
        settings
            .route(&open_relay("living.example", &living))
            .route(&route(
                "refused.example",
                "relay",
                &refused,
                "tls = \"none\"",
            )),
    );
    send(&server, &["bob@living.example"], "first");
    living.wait_for_messages(1);
    let mut client = server.signed_in();
    for round in 0..3 {
        for at in 0..dead.len() {
            let to = format!("<bob@dead{at}.example>");
            let content = letter(&format!("d{round}.{at}"), "Hello.\r\n");
            submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
        }
        send(&server, &["bob@refused.example"], "refused");
    }
    let connected = || {
        let open = |hop: &&Hop| !hop.transcript().connections.is_empty();
        dead.iter().filter(open).count()
    };
    wait_for("dead hosts to be tried", || {
        (connected() >= 3).then_some(())
    });
    for n in 0..5 {
        send(&server, &["bob@living.example"], &format!("l{n}"));
        // The waits for the dead are the usual ones, of minutes.
        living.wait_for_messages(n + 2);
    }
    assert_eq!(living.messages().len(), 6);
    let mut fresh = server.upgraded();
    assert!(sign_in(&mut fresh, ALICE, PASSWORD).starts_with("235 "));
}
