//! Copies of what an account sends, in its own folder of sent mail.

use std::{fs, path::Path};

use crate::{
    hop::{Behaviour, Hop},
    server::{ALICE, BOB, PASSWORD, Server, Settings, send, sign_in},
};

const CONTENT: &[u8] = b"From: alice@example.org\r\nSubject: told\r\n\r\nHello.\r\n";

/// Names and texts of the copies of an account.
fn copies(server: &Server, account: &str, folder: &str) -> Vec<(String, String)> {
    let folder = server.path("mail").join(account).join(folder).join("cur");
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let read = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    entries.map(|entry| read(&entry.unwrap().path())).collect()
}

#[test]
fn what_an_account_sends_is_filed_as_read() {
    let server = Server::start();
    let mut client = server.signed_in();
    send(&mut client, ALICE, &[BOB], CONTENT);
    assert_eq!(server.delivered(BOB).len(), 1);
    assert!(copies(&server, ALICE, ".Sent").is_empty());

    // From here on, also in a session that goes on; to itself it goes to both places.
    server.manage(&["user", "sent-copy", ALICE, "on"]);
    let shown = server.manage(&["user", "show", ALICE]);
    assert!(
        shown.contains("copies        of what it sends are filed"),
        "{shown}"
    );
    send(&mut client, ALICE, &[BOB, ALICE], CONTENT);
    assert_eq!(server.delivered(BOB).len(), 2);
    assert_eq!(server.mail(ALICE).len(), 1);
    let filed = copies(&server, ALICE, ".Sent");
    assert_eq!(filed.len(), 1, "{filed:?}");
    let (name, text) = &filed[0];
    assert!(name.ends_with(":2,S"), "{name}");
    assert!(
        text.starts_with("Received: from ") && text.ends_with("\nHello.\n"),
        "{text}"
    );
    // The size of a message for limits and its recipients are those that its sender gave.
    assert!(server.log().contains("\"recipients\":2") || server.log().contains("recipients=2"));
    let trace = server.manage(&["trace", &id_of(name)]);
    assert!(trace.contains("/.Sent/cur/"), "{trace}");
}

/// The queue id in the name of a file.
fn id_of(name: &str) -> String {
    let id = name.split('.').nth(1).unwrap();
    id.split('-').next().unwrap().to_owned()
}

/// A mail program that files its own copies has an app password that says so, and a printer the other
/// way round.
#[test]
fn an_app_password_has_its_own_way() {
    let server = Server::start();
    let made = |label: &str, copy: &str| {
        let arguments = ["--json", "app-password", "add", ALICE, "--label", label];
        let answer = server.manage(&[&arguments[..], &["--sent-copy", copy]].concat());
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["password"].as_str().unwrap().to_owned()
    };
    let (printer, laptop) = (made("printer", "yes"), made("laptop", "no"));
    let mut arguments = vec!["app-password", "add", ALICE, "--label", "x"];
    arguments.extend(["--sent-copy", "maybe"]);
    assert!(server.gatepost(&arguments, "").is_err());
    let listed = server.manage(&["app-password", "list", ALICE]);
    assert!(
        listed.contains("no copy to Sent") && listed.contains("copy to Sent"),
        "{listed}"
    );
    let send_by = |password: &str| {
        let mut client = server.greeted();
        let reply = sign_in(&mut client, ALICE, password);
        assert!(reply.starts_with("235"), "{reply}");
        send(&mut client, ALICE, &[BOB], CONTENT);
        server.delivered(BOB);
        copies(&server, ALICE, ".Sent").len()
    };
    assert_eq!(send_by(&printer), 1);
    assert_eq!(send_by(&laptop), 1);
    assert_eq!(send_by(PASSWORD), 1);
    server.manage(&["user", "sent-copy", ALICE, "on"]);
    assert_eq!(send_by(&laptop), 1);
    assert_eq!(send_by(PASSWORD), 2);
}

/// Mail that is taken back is not filed either, and its copy is no recipient of it.
#[test]
fn a_message_that_is_withdrawn_leaves_no_copy() {
    let server = Server::start();
    server.manage(&["user", "sent-copy", ALICE, "on"]);
    server.manage(&["user", "undo", ALICE, "120"]);
    let mut client = server.signed_in();
    let reply = send(&mut client, ALICE, &[BOB], CONTENT);
    let id = reply.strip_prefix("250 2.0.0 Accepted as ").unwrap();
    let order = format!("cancel+{id}@mail.example.org");
    let reply = send(&mut client, ALICE, &[&order], CONTENT);
    assert_eq!(reply, format!("250 2.0.0 {id} withdrawn for 1 recipients"));
    assert!(server.delivered(BOB).is_empty());
    assert!(copies(&server, ALICE, ".Sent").is_empty());
}

/// By LMTP into the folder that the route names; where no mailbox is, its owner finds a word of it.
#[test]
fn copies_go_where_the_mailbox_is() {
    let hop = Hop::start(Behaviour::lmtp());
    let lmtp = format!(
        "name = \"store\"\ndomains = [\"store.example\"]\ntransport = \"lmtp\"\n\
         hosts = [\"{}\"]\nsent_folder = \"Sent Items\"\n",
        hop.address()
    );
    let relay = Hop::start(Behaviour::plain());
    let away = format!(
        "name = \"away\"\ndomains = [\"away.example\"]\ntransport = \"relay\"\ntls = \"none\"\n\
         hosts = [\"localhost:{}\"]\n",
        relay.address().port()
    );
    let server = Server::with(Settings::new().route(&lmtp).route(&away));
    for (domain, name) in [
        ("store.example", "cy@store.example"),
        ("away.example", "dan@away.example"),
    ] {
        server.manage(&["domain", "add", domain]);
        let add = ["user", "add", name, "--password-stdin"];
        server.gatepost(&add, "a-rather-long-secret\n").unwrap();
        server.manage(&["user", "sent-copy", name, "on"]);
        let mut client = server.greeted();
        let reply = sign_in(&mut client, name, "a-rather-long-secret");
        assert!(reply.starts_with("235"), "{reply}");
        let content = format!("From: {name}\r\nSubject: told\r\n\r\nHello.\r\n");
        send(&mut client, name, &[BOB], content.as_bytes());
    }
    assert_eq!(server.delivered(BOB).len(), 2);
    let filed = hop.wait_for_messages(1).remove(0);
    assert_eq!(filed.to(), ["\"cy+Sent Items\"@store.example"]);
    assert_eq!(filed.sender.address, "cy@store.example");
    assert!(relay.messages().is_empty(), "a copy is filed or nothing");
    let events = server.manage(&["events", "--account", "dan@away.example"]);
    assert!(events.contains("no route keeps a mailbox"), "{events}");
}
