//! Mail that waits because its sender wants it to: for a time of its choice, or to be taken back.

use std::time::{Duration, SystemTime};

use crate::{
    server::{ALICE, BOB, Server, Settings, wait_for},
    wire::Client,
};

/// Sends to bob with these parameters of MAIL; gives the queue id.
fn submit(client: &mut Client, parameters: &str, to: &[&str]) -> String {
    let reply = client
        .ask(&format!("MAIL FROM:<{ALICE}> {parameters}"))
        .unwrap();
    assert!(reply.starts_with("250 2.1.0"), "{reply}");
    for to in to {
        let reply = client.ask(&format!("RCPT TO:<{to}>")).unwrap();
        assert!(reply.starts_with("250 2.1.5"), "{reply}");
    }
    assert!(client.ask("DATA").unwrap().starts_with("354 "));
    let content = format!("From: {ALICE}\r\nSubject: later\r\n\r\nLater.\r\n.");
    client.ask(&content).unwrap()
}

fn id_of(reply: &str) -> String {
    let id = reply.strip_prefix("250 2.0.0 Accepted as ");
    id.unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// R4865-4.2d: over a restart too, and not before its time.
#[test]
fn mail_is_handed_on_at_the_time_of_its_senders_choice() {
    let mut server = Server::start();
    let mut client = server.signed_in();
    client.send(b"EHLO client.example\r\n").unwrap();
    let ehlo = client.reply().unwrap();
    let offer = ehlo.iter().find(|line| line.contains("FUTURERELEASE"));
    assert!(
        offer.is_some_and(|line| line.contains(" 604800 20")),
        "{ehlo:?}"
    );
    let began = SystemTime::now();
    let id = id_of(&submit(&mut client, "HOLDFOR=4", &[BOB]));
    let far = id_of(&submit(&mut client, "HOLDFOR=172800", &[BOB]));
    let listed = server.manage(&["queue", "list", "--state", "later"]);
    assert!(listed.contains(&id) && listed.contains(&far), "{listed}");
    drop(client);
    server.kill9();
    server.run();
    wait_for("the first message", || {
        (!server.mail(BOB).is_empty()).then_some(())
    });
    assert!(
        began.elapsed().unwrap() >= Duration::from_secs(4),
        "too early"
    );
    // Two days off is no sign that the clock was stepped.
    let listed = server.manage(&["queue", "list", "--state", "later"]);
    assert!(listed.contains(&far) && !listed.contains(&id), "{listed}");
    assert_eq!(server.mail(BOB).len(), 1);
    // An operator may hold it, but releasing it does not break the promise.
    server.manage(&["queue", "hold", &far]);
    server.manage(&["queue", "release", &far]);
    let listed = server.manage(&["queue", "list", "--state", "later"]);
    assert!(listed.contains(&far), "{listed}");
    assert_eq!(server.mail(BOB).len(), 1);
}

#[test]
fn mail_can_be_taken_back() {
    let server = Server::start();
    server.manage(&["user", "undo", ALICE, "120"]);
    assert!(
        server
            .gatepost(&["user", "undo", ALICE, "121"], "")
            .is_err()
    );
    let shown = server.manage(&["user", "show", ALICE]);
    assert!(
        shown.contains("taken back    within 120 seconds"),
        "{shown}"
    );
    let mut client = server.signed_in();
    let id = id_of(&submit(&mut client, "", &[BOB]));
    let order = format!("cancel+{id}@mail.example.org");
    // Only alone, and only by who sent it.
    let mixed = submit(&mut client, "", &[BOB, &order]);
    assert!(mixed.starts_with("550 5.5.3"), "{mixed}");
    let mut other = server.greeted();
    let signed = crate::server::sign_in(&mut other, BOB, "bobs-other-secret");
    assert!(signed.starts_with("235"), "{signed}");
    let reply = other.ask(&format!("MAIL FROM:<{BOB}>")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    other.ask(&format!("RCPT TO:<{order}>")).unwrap();
    other.ask("DATA").unwrap();
    let reply = other.ask(&format!("From: {BOB}\r\n\r\n.")).unwrap();
    assert!(
        reply.starts_with("554 5.0.0") && reply.contains("not yours"),
        "{reply}"
    );
    let reply = submit(&mut client, "", &[&order]);
    assert_eq!(reply, format!("250 2.0.0 {id} withdrawn for 1 recipients"));
    let reply = submit(&mut client, "", &[&order]);
    assert!(reply.starts_with("554 5.0.0"), "{reply}");
    // The window is an account's own, and acts at once.
    server.manage(&["user", "undo", ALICE, "0"]);
    id_of(&submit(&mut client, "", &[BOB]));
    assert_eq!(server.delivered(BOB).len(), 1);
    let trace = server.manage(&["trace", &id]);
    assert!(trace.contains("cancelled"), "{trace}");
}

#[test]
fn putting_off_can_be_switched_off() {
    let server = Server::with(Settings::new().with("limits", "future_release = \"0s\""));
    let mut client = server.signed_in();
    client.send(b"EHLO client.example\r\n").unwrap();
    let ehlo = client.reply().unwrap().join("\n");
    assert!(!ehlo.contains("FUTURERELEASE"), "{ehlo}");
    let reply = client
        .ask(&format!("MAIL FROM:<{ALICE}> HOLDFOR=60"))
        .unwrap();
    assert!(reply.starts_with("555 5.5.4"), "{reply}");
}
