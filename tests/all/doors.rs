//! Where clients come in, and as whom the server stands behind the door.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rustix::process::Signal;

use crate::{
    server::{ALICE, BOB, PASSWORD, Server, Settings, free_address, send, sign_in, wait_for},
    wire::Client,
};

fn set_listeners(server: &Server, submissions: &[SocketAddr]) {
    let listed: Vec<_> = submissions
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    let file = server.path("gatepost.toml");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text
        .lines()
        .map(|line| match line.starts_with("submissions = ") {
            true => format!("submissions = [{}]\n", listed.join(", ")),
            false => format!("{line}\n"),
        });
    fs::write(&file, lines.collect::<String>()).unwrap();
}

/// Any number of addresses, of either family; a reload opens and closes them, and whoever came in
/// by one that closes stays.
#[test]
fn listeners_come_and_go_with_a_reload() {
    let mut server = Server::start();
    let first = server.submissions;
    let mut second = vec![free_address()];
    // Not every machine has IPv6.
    let six = TcpListener::bind("[::1]:0").and_then(|socket| socket.local_addr());
    second.extend(six);
    let mut old = server.signed_in();
    set_listeners(&server, &second);
    server.reload();
    for address in second {
        let mut client = Client::implicit(address, Arc::clone(&server.trust)).unwrap();
        assert!(client.reply().unwrap()[0].starts_with("220 "));
    }
    wait_for("the old port to close", || {
        Client::plain(first).is_err().then_some(())
    });
    let content = format!("From: {ALICE}\r\n\r\nx\r\n");
    assert!(send(&mut old, ALICE, &[BOB], content.as_bytes()).starts_with("250 "));
}

/// An address that cannot be had leaves everything as it was.
#[test]
fn a_reload_that_cannot_listen_changes_nothing() {
    let mut server = Server::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    set_listeners(&server, &[taken.local_addr().unwrap()]);
    server.signal(Signal::HUP);
    server.logged(&["not reloaded"]);
    drop(server.signed_in());
}

/// Two servers on one data directory would hand on the same mail twice.
#[test]
fn a_data_directory_has_one_server() {
    let server = Server::start();
    let refused = server.gatepost(&["serve"], "").unwrap_err();
    assert!(refused.contains("gatepost: "), "{refused}");
    drop(server.signed_in());
    // The control socket of the one that runs is still its own.
    server.manage(&["user", "disable", ALICE]);
    let mut client = server.greeted();
    assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("535 "));
}

fn make_over(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            make_over(&entry.unwrap().path(), user);
        }
    }
}

/// S41: behind open ports root is left for good, and mail is written as the service's user.
#[test]
fn root_is_left_behind() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can leave root");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody")
        .unwrap()
        .unwrap()
        .uid
        .as_raw();
    let mut server = Server::stopped(Settings::new().with("", "user = \"nobody\""));
    make_over(&server.path("."), nobody);
    server.run();
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let ids = |field: &str| -> Vec<u32> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    };
    assert_eq!(ids("Uid:"), [nobody; 4]);
    assert!(
        !ids("Gid:").contains(&0) && !ids("Groups:").contains(&0),
        "{status}"
    );
    let mut client = server.signed_in();
    let content = format!("From: {ALICE}\r\n\r\nx\r\n");
    assert!(send(&mut client, ALICE, &[BOB], content.as_bytes()).starts_with("250 "));
    server.only(BOB);
    let folder = fs::metadata(server.path("mail").join(BOB)).unwrap();
    assert_eq!(folder.uid(), nobody);
    // A command of root's leaves no file that the server cannot use.
    server.manage(&["user", "disable", ALICE]);
    let mut other = server.greeted();
    assert!(sign_in(&mut other, ALICE, PASSWORD).starts_with("535 "));
}

/// R5321-2.2.2a, R9422-3.1a: every keyword offered is registered, on both ports, before and inside
/// TLS, signed in or not.
#[test]
fn only_registered_keywords_are_offered() {
    let registered = [
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "LIMITS",
        "REQUIRETLS",
        "FUTURERELEASE",
        "BINARYMIME",
        "DELIVERBY",
        "MT-PRIORITY",
        "AUTH",
        "STARTTLS",
        "HELP",
    ];
    let server = Server::start();
    let mut plain = Client::plain(server.submission).unwrap();
    plain.reply().unwrap();
    for mut client in [
        plain,
        server.greeted(),
        server.upgraded(),
        server.signed_in(),
    ] {
        client.send(b"EHLO client.example\r\n").unwrap();
        let reply = client.reply().unwrap();
        assert!(reply.len() > 5, "{reply:?}");
        for line in &reply[1..] {
            let keyword = line[4..].split(' ').next().unwrap();
            assert!(registered.contains(&keyword), "{line}");
        }
    }
}

/// R5802-2.2a, R4616-2c: a password is the same however its letters are composed.
#[test]
fn passwords_are_compared_as_saslprep_makes_them() {
    let server = Server::start();
    let set = ["user", "passwd", ALICE, "--password-stdin"];
    server
        .gatepost(&set, "cr\u{e8}me br\u{fb}l\u{e9}e \u{2168}\n")
        .unwrap();
    for (password, right) in [
        ("cre\u{300}me bru\u{302}le\u{301}e IX", true),
        ("cr\u{e8}me\u{a0}br\u{fb}l\u{e9}e \u{2168}", true),
        ("creme brulee IX", false),
        ("cr\u{e8}me br\u{fb}l\u{e9}e \u{2168}\u{7}", false),
    ] {
        let mut client = server.greeted();
        let code = if right { "235 2.7.0" } else { "535 5.7.8" };
        let reply = sign_in(&mut client, ALICE, password);
        assert!(reply.starts_with(code), "{password:?}: {reply}");
    }
}

/// Many at once, half of them through each port: everybody's mail arrives once, as it was sent.
#[test]
fn a_crowd_is_served_without_loss_or_mixing() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for number in 0..24 {
            let server = &server;
            scope.spawn(move || {
                let mut client = match number % 2 {
                    0 => server.greeted(),
                    _ => server.upgraded(),
                };
                assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("235 "));
                for message in 0..5 {
                    let mark = format!("crowd-{number}-{message}-");
                    let content = format!(
                        "From: {ALICE}\r\nSubject: {mark}\r\n\r\n{}\r\n",
                        mark.repeat(50)
                    );
                    let reply = send(&mut client, ALICE, &[BOB], content.as_bytes());
                    assert!(reply.starts_with("250 "), "{reply}");
                }
            });
        }
    });
    let mut marks = Vec::new();
    for message in server.delivered(BOB) {
        let text = String::from_utf8(message).unwrap();
        let mark = text
            .lines()
            .find_map(|line| line.strip_prefix("Subject: "))
            .unwrap();
        assert!(
            text.ends_with(&format!("\n\n{}\n", mark.repeat(50))),
            "{text}"
        );
        marks.push(mark.to_owned());
    }
    assert_eq!(marks.len(), 24 * 5);
    marks.sort();
    marks.dedup();
    assert_eq!(marks.len(), 24 * 5);
}

/// Counts a thread out however it ends, so that nobody waits for it in vain.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Commands and reloads while mail comes in: neither fails, and no session notices.
#[test]
fn commands_and_reloads_disturb_nobody() {
    let mut server = Server::start();
    let (submissions, trust) = (server.submissions, Arc::clone(&server.trust));
    let sending = AtomicUsize::new(4);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (trust, sending) = (Arc::clone(&trust), &sending);
            scope.spawn(move || {
                let _end = Leaving(sending);
                let mut client = Client::implicit(submissions, trust).unwrap();
                client.reply().unwrap();
                client.ask("EHLO client.example").unwrap();
                assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("235 "));
                for message in 0..40 {
                    let content =
                        format!("From: {ALICE}\r\nSubject: {number}-{message}\r\n\r\nx\r\n");
                    let reply = send(&mut client, ALICE, &[BOB], content.as_bytes());
                    assert!(reply.starts_with("250 "), "{reply}");
                }
            });
        }
        while sending.load(Relaxed) > 0 {
            server.manage(&["user", "address", "add", ALICE, "more@example.org"]);
            server.reload();
            server.manage(&["user", "address", "remove", ALICE, "more@example.org"]);
            server.manage(&["queue", "list"]);
        }
    });
    assert_eq!(server.delivered(BOB).len(), 4 * 40);
}
