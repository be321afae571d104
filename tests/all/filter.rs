//! Filters: OpenDKIM as the distribution has it, and one of our own that says what it is told to.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use crate::{
    clients,
    server::{ALICE, BOB, Server, Settings, free_address, wait_for},
    wire::Client,
};

fn filters(rest: &str) -> Settings {
    Settings::new().with("", &format!("filters = [{rest}]"))
}

fn submit(client: &mut Client, to: &[&str]) -> String {
    assert!(
        client
            .ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250")
    );
    for to in to {
        assert!(
            client
                .ask(&format!("RCPT TO:<{to}>"))
                .unwrap()
                .starts_with("250")
        );
    }
    assert!(client.ask("DATA").unwrap().starts_with("354"));
    let content = format!("From: {ALICE}\r\nSubject: hello\r\n\r\nHello.\r\n.");
    client.ask(&content).unwrap()
}

/// Killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn opendkim_signs_what_is_submitted() {
    let found = ["/usr/sbin/opendkim", "/usr/sbin/opendkim-genkey"];
    let there = found.iter().all(|path| fs::exists(path).unwrap());
    if !clients::present("opendkim with opendkim-tools", there) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::set_permissions(here, fs::Permissions::from_mode(0o755)).unwrap();
    let made = Command::new("opendkim-genkey")
        .args(["-b", "2048", "-d", "example.org", "-s", "s1", "-D"])
        .arg(here)
        .status()
        .unwrap();
    assert!(made.success());
    let socket = here.join("socket");
    let settings = format!(
        "Mode s\nDomain example.org\nSelector s1\nKeyFile {0}/s1.private\nRequireSafeKeys no\n\
         Socket local:{0}/socket\nPidFile {0}/pid\nMacroList daemon_name|gatepost\n",
        here.display()
    );
    fs::write(here.join("settings"), settings).unwrap();
    let child = Command::new(found[0])
        .args(["-f", "-x"])
        .arg(here.join("settings"))
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let _killed = Killed(child);
    wait_for("opendkim to listen", || {
        fs::exists(&socket).unwrap().then_some(())
    });
    let address = format!("unix:{}", socket.display());
    let server = Server::with(filters(&format!(
        r#"{{ name = "opendkim", address = "{address}" }}"#
    )));
    let reply = submit(&mut server.signed_in(), &[BOB]);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let message = server.only(BOB);
    let signature = message
        .find("DKIM-Signature: v=1;")
        .unwrap_or_else(|| panic!("{message}"));
    assert!(message.contains("d=example.org; s=s1"), "{message}");
    // Behind our own trace field, in front of what it signs.
    assert!(message.find("Received:").unwrap() < signature, "{message}");
    assert!(signature < message.find("From:").unwrap(), "{message}");
}

/// What the filter says at the end of a message: letters and data.
type Answers = Vec<(u8, Vec<u8>)>;

/// A filter that accepts all steps and says this at the end.
fn filter(answers: Arc<Mutex<Answers>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("inet:{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answers) = (stream.unwrap(), answers.lock().unwrap().clone());
            while let Some(letter) = step(&mut stream) {
                let said = match letter {
                    b'O' => vec![(b'O', [0, 0, 0, 6, 0, 0, 0, 0xff, 0, 0, 0, 0].to_vec())],
                    b'D' | b'Q' => continue,
                    b'E' => answers.clone(),
                    _ => vec![(b'c', Vec::new())],
                };
                for (letter, data) in said {
                    let length = u32::try_from(data.len() + 1).unwrap();
                    let packet = [&length.to_be_bytes()[..], &[letter], &data].concat();
                    if stream.write_all(&packet).is_err() {
                        break;
                    }
                }
            }
        }
    });
    address
}

fn step(stream: &mut TcpStream) -> Option<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut packet = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut packet).ok()?;
    packet.first().copied()
}

#[test]
fn a_filter_changes_refuses_and_holds() {
    let answers = Arc::new(Mutex::new(Answers::new()));
    let address = filter(Arc::clone(&answers));
    let server = Server::with(filters(&format!(
        r#"{{ name = "ours", address = "{address}" }}"#
    )));
    let mut client = server.signed_in();
    let says = |said: &[(u8, &[u8])]| {
        let said = said.iter().map(|(letter, data)| (*letter, data.to_vec()));
        *answers.lock().unwrap() = said.collect();
    };
    says(&[
        (b'h', b"X-Seen\0yes\0"),
        (b'm', b"\0\0\0\x01Subject\0changed\0"),
        (b'b', b"Another body\xc3\xa9.\n"),
        (b'+', b"<copy@any.example>\0"),
        (b'c', b""),
    ]);
    let reply = submit(&mut client, &[BOB]);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let message = server.only(BOB);
    assert!(message.contains("\nSubject: changed\n"), "{message}");
    assert!(message.contains("\nX-Seen: yes\n"), "{message}");
    assert!(message.ends_with("\n\nAnother body\u{e9}.\n"), "{message}");
    assert_eq!(server.mail("copy@any.example").len(), 1);
    says(&[(b'y', b"550 5.7.1 Looks like spam to us\0")]);
    let reply = submit(&mut client, &[BOB]);
    assert_eq!(reply, "550 5.7.1 Looks like spam to us");
    says(&[(b't', b"")]);
    let reply = submit(&mut client, &[BOB]);
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
    server.logged(&["message refused", "filter ours", "Looks like spam"]);
    // Nobody loses what was answered with 250.
    for said in [
        (b'q', &b"odd\0"[..]),
        (b'd', b""),
        (b'-', b"<bob@example.org>\0"),
    ] {
        says(&[said, (b'c', b"")]);
        let reply = submit(&mut client, &[BOB]);
        let id = reply.strip_prefix("250 2.0.0 Accepted as ").unwrap();
        let listed = server.manage(&["queue", "list", "--state", "held"]);
        assert!(listed.contains(id), "{listed}");
    }
    assert_eq!(server.mail(BOB).len(), 1);
    // Nonsense is as good as no answer.
    says(&[(b'h', b"X-Bad\0a\nBcc: x@y.example\0"), (b'c', b"")]);
    let reply = submit(&mut client, &[BOB]);
    assert!(
        reply.starts_with("451 4.7.1 A filter gives no answer"),
        "{reply}"
    );
}

#[test]
fn a_filter_that_is_away_is_dealt_with_as_configured() {
    let nobody = free_address();
    for (when_away, answer, state) in [
        ("defer", "451 4.7.1", None),
        ("accept", "250 2.0.0", None),
        ("hold", "250 2.0.0", Some("held")),
    ] {
        let server = Server::with(filters(&format!(
            r#"{{ name = "away", address = "inet:{nobody}", when_away = "{when_away}" }}"#
        )));
        let reply = submit(&mut server.signed_in(), &[BOB]);
        assert!(reply.starts_with(answer), "{when_away}: {reply}");
        server.logged(&["filter gave no answer", "away"]);
        match state {
            Some(state) => {
                let listed = server.manage(&["queue", "list", "--state", state]);
                assert!(listed.contains(BOB), "{listed}");
            }
            None if answer.starts_with("250") => assert_eq!(server.delivered(BOB).len(), 1),
            None => assert!(server.mail(BOB).is_empty()),
        }
    }
}
