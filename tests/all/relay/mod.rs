//! Outgoing mail, from the client of a running server to its next hops: scripted ones and real ones.

mod breaks;
mod content;
mod envelope;
mod haste;
mod interruptions;
mod links;
mod lmtp;
mod peers;
mod refusals;
pub mod reports;
mod requiretls;
mod reuse;
mod untrusted;

use std::{fs, path::PathBuf, sync::OnceLock};

use tempfile::TempDir;

use crate::{
    hop::{Hop, Transaction, authority},
    server::{ALICE, Server, Settings, wait_for},
    wire::Client,
};

/// Settings with short waits for next hops, and no longer ones after them.
fn settings() -> Settings {
    Settings::new()
        .with("limits", "message_size = 20000000")
        .with("queue", "retry_longest = \"2s\"")
        .with("delivery", "back_off = \"1s\"")
        .with("delivery", "back_off_longest = \"1s\"")
}

/// Waits of two seconds for everything.
fn impatient() -> Settings {
    let keys = [
        "connect",
        "opening",
        "command",
        "handshake",
        "block",
        "end_of_data",
    ];
    let short = |settings: Settings, key| settings.with("delivery", &format!("{key} = \"2s\""));
    keys.into_iter().fold(settings(), short)
}

/// A route of mail for `domain` to a hop with this transport, and further lines.
fn route(domain: &str, transport: &str, place: &str, more: &str) -> String {
    format!(
        "name = \"{domain}\"\ndomains = [\"{domain}\"]\ntransport = \"{transport}\"\n\
         hosts = [\"{place}\"]\n{more}\n"
    )
}

/// A route to a relay that is believed for its certificate.
fn relay(domain: &str, hop: &Hop, tls: &str, more: &str) -> String {
    relay_at(domain, hop.address().port(), tls, more)
}

fn relay_at(domain: &str, port: u16, tls: &str, more: &str) -> String {
    let place = format!("localhost:{port}");
    let trust = match tls {
        "none" => String::new(),
        _ => format!("ca = \"{}\"\n", authority().display()),
    };
    let more = format!("tls = \"{tls}\"\n{trust}{more}");
    route(domain, "relay", &place, &more)
}

/// A route to a relay of this machine without TLS.
fn open_relay(domain: &str, hop: &Hop) -> String {
    relay(domain, hop, "none", "")
}

/// A route to a hop of this machine that speaks LMTP.
fn mailboxes(domain: &str, hop: &Hop) -> String {
    let place = hop.address().to_string();
    route(domain, "lmtp", &place, "recipients = \"any\"")
}

/// `user` and `password_file`.
fn sign_in(name: &str, password: &str) -> String {
    let file = password_file(password);
    let file = file.display();
    format!("user = \"{name}\"\npassword_file = \"{file}\"\n")
}

/// A file with a password.
fn password_file(password: &str) -> PathBuf {
    static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        tempfile::Builder::new()
            .prefix("passwords-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap()
    });
    let path = directory.path().join(password);
    if !path.exists() {
        // Another test may write the same at the same time.
        let written = tempfile::NamedTempFile::new_in(directory.path()).unwrap();
        fs::write(written.path(), format!("{password}\n")).unwrap();
        written.persist(&path).unwrap();
    }
    path
}

/// A message to which a submission server has nothing to add but its trace field.
pub fn letter(subject: &str, body: &str) -> Vec<u8> {
    format!(
        "From: {ALICE}\r\nTo: somebody@elsewhere.example\r\nSubject: {subject}\r\n\
         Date: Thu, 28 May 2026 20:26:40 +0000\r\nMessage-ID: <{subject}@laptop.example>\r\n\r\n\
         {body}"
    )
    .into_bytes()
}

/// Hands a message over with these parameters of MAIL, and of RCPT behind each recipient; it is in
/// custody then.
pub fn submit(client: &mut Client, from: &str, to: &[&str], content: &[u8]) {
    let reply = try_to_submit(client, from, to, content);
    assert!(reply.starts_with("250 2.0.0 Accepted as "), "{reply}");
}

/// The same; the reply to the content. `from` and `to` are paths, with parameters where wanted.
pub fn try_to_submit(client: &mut Client, from: &str, to: &[&str], content: &[u8]) -> String {
    let mut commands = format!("MAIL FROM:{from}\r\n");
    for to in to {
        commands += &format!("RCPT TO:{to}\r\n");
    }
    commands += &format!("BDAT {} LAST\r\n", content.len());
    client
        .send(&[commands.as_bytes(), content].concat())
        .unwrap();
    for _ in 0..=to.len() {
        let reply = client.reply().unwrap();
        assert!(reply[0].starts_with("250 "), "{reply:?}");
    }
    client.reply().unwrap().remove(0)
}

/// Alice sends a letter.
pub fn send(server: &Server, to: &[&str], subject: &str) {
    let to: Vec<_> = to.iter().map(|to| format!("<{to}>")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let content = letter(subject, "Hello.\r\n");
    submit(
        &mut server.signed_in(),
        &format!("<{ALICE}>"),
        &to,
        &content,
    );
}

/// Waits until nothing is in custody any more.
fn drained(server: &Server) {
    wait_for("an empty queue", || {
        (server.metric("gatepost_queue_messages") == 0.0).then_some(())
    });
}

/// The subject of a message that a hop has got.
fn subject(transaction: &Transaction) -> String {
    let text = String::from_utf8_lossy(&transaction.content);
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("Subject: "));
    line.expect("a subject").to_owned()
}

/// A message as it arrived, without the trace field that Gatepost puts on top of it.
fn as_submitted(content: &[u8]) -> &[u8] {
    assert!(content.starts_with(b"Received: from "), "{content:?}");
    let mut at = 0;
    loop {
        let end = content[at..].windows(2).position(|two| two == b"\r\n");
        at += end.expect("a header") + 2;
        if !content[at..].starts_with(b" ") && !content[at..].starts_with(b"\t") {
            return &content[at..];
        }
    }
}
