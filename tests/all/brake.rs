//! The brake of a stolen password, seen from outside: mail is held and not lost, the owner is told,
//! and the operator decides.

use std::time::SystemTime;

use gatepost::{policy::brake::Step, server::DATABASE, store::Store};

use crate::server::{ALICE, BOB, PASSWORD, Server, Settings, send, sign_in, wait_for};

const MAIL: &[u8] = b"From: <alice@example.org>\r\nSubject: x\r\n\r\nText.\r\n";

/// Judges from the first message on; four recipients an hour are usual.
fn strict() -> Settings {
    Settings::new()
        .with("brake", "learn = \"0s\"")
        .with("brake", "usual_hour = 4")
        .with("brake", "usual_new = 4")
}

fn stranger(n: usize) -> String {
    format!("stranger{n}@any.example")
}

/// One transaction to so many strangers; the reply.
fn spam(server: &Server, from: usize, count: usize) -> String {
    let to: Vec<String> = (from..from + count).map(stranger).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    send(&mut server.signed_in(), ALICE, &to, MAIL)
}

/// Recipients that wait for the operator.
fn held(server: &Server) -> usize {
    let listed = server.manage(&["--json", "held", "list", ALICE]);
    listed.matches("stranger").count()
}

fn reached(server: &Server) -> usize {
    let mails = (0..100).map(|n| server.mail(&stranger(n)).len());
    mails.sum()
}

#[test]
fn a_thiefs_mail_is_slow_then_held_and_the_owner_is_told() {
    let server = Server::with(strict());
    assert!(spam(&server, 0, 4).starts_with("250"));
    wait_for("the usual mail", || (reached(&server) == 4).then_some(()));
    // Twice what is usual, and twice as many strangers: slow.
    assert!(spam(&server, 4, 4).starts_with("250"));
    server.logged(&["account is braked", "\"step\":\"slow\""]);
    assert_eq!(held(&server), 0);
    // Four times: held, and what was slow with it.
    assert!(spam(&server, 8, 8).starts_with("250"));
    server.logged(&[
        "\"step\":\"hold\"",
        "16 recipients within an hour (4 are usual)",
        "16 recipients never written to before within an hour (4 are usual)",
    ]);
    wait_for("held mail", || (held(&server) == 12).then_some(()));
    assert_eq!(reached(&server), 4, "what was slow has not left");
    let letter = wait_for("the owner's letter", || server.mail(ALICE).pop());
    let letter = String::from_utf8(letter).unwrap();
    assert!(letter.contains("Your outgoing mail is held"), "{letter}");
    assert!(
        letter.contains("16 recipients within an hour (4 are usual)"),
        "{letter}"
    );
    assert_eq!(server.metric("gatepost_brake_total{step=\"hold\"}"), 1.0);
    // It stays so over a restart; mail within the house waits too.
    let mut server = server;
    server.stop();
    server.run();
    assert!(send(&mut server.signed_in(), ALICE, &[BOB], MAIL).starts_with("250"));
    let listed = server.manage(&["held", "list"]);
    assert!(listed.contains(BOB), "{listed}");
    assert!(server.mail(BOB).is_empty());
    // It was a thief: dropped, and the owner goes on.
    server.manage(&["held", "discard", ALICE]);
    assert_eq!(held(&server), 0);
    assert!(spam(&server, 50, 2).starts_with("250"));
    wait_for("honest mail", || (reached(&server) == 6).then_some(()));
    assert_eq!(server.mail(ALICE).len(), 1, "the owner is told once");
}

#[test]
fn mail_that_was_the_owners_goes_on_when_it_is_released_and_is_usual_from_then() {
    let server = Server::with(strict());
    assert!(spam(&server, 0, 20).starts_with("250"));
    wait_for("held mail", || (held(&server) == 20).then_some(()));
    server.manage(&["held", "release", ALICE]);
    wait_for("released mail", || (reached(&server) == 20).then_some(()));
    assert!(spam(&server, 20, 20).starts_with("250"));
    wait_for("usual mail", || (reached(&server) == 40).then_some(()));
}

#[test]
fn at_the_last_step_mail_is_put_off_until_the_operator_decides() {
    let mut server = Server::stopped(Settings::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&server.path("data").join(DATABASE))
            .await
            .unwrap();
        let alice = store.account_by_name(ALICE).await.unwrap().unwrap();
        let pulled = store.pull_brake(alice.id, Step::Refuse, "a test", SystemTime::now());
        assert!(pulled.await.unwrap());
        store.close().await;
    });
    server.run();
    let mut client = server.signed_in();
    let said = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    let expected = "450 4.7.1 Sending from this account is suspended, ask its postmaster";
    assert_eq!(said.trim_end(), expected);
    server.manage(&["held", "release", ALICE]);
    assert!(send(&mut client, ALICE, &[BOB], MAIL).starts_with("250"));
}

#[test]
fn whoever_is_excepted_or_new_is_not_judged_and_mail_to_ourselves_is_no_signal() {
    let server = Server::with(strict());
    server.manage(&["user", "brake", ALICE, "off"]);
    assert!(spam(&server, 0, 40).starts_with("250"));
    wait_for("mail", || (reached(&server) == 40).then_some(()));
    // A week is watched before anybody is judged.
    let server = Server::with(strict().with("brake", "learn = \"168h\""));
    assert!(spam(&server, 0, 40).starts_with("250"));
    wait_for("mail", || (reached(&server) == 40).then_some(()));
    let server = Server::with(strict());
    for n in 0..20 {
        assert!(
            send(&mut server.signed_in(), ALICE, &[BOB], MAIL).starts_with("250"),
            "{n}"
        );
    }
    wait_for("mail", || (server.mail(BOB).len() == 20).then_some(()));
}

#[test]
fn an_app_password_can_have_its_mail_held() {
    let server = Server::with(Settings::new().with("auth", "scram_iterations = 4096"));
    let added = server.manage(&[
        "--json",
        "app-password",
        "add",
        ALICE,
        "--label",
        "bot",
        "--hold",
    ]);
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    let mut client = server.upgraded();
    assert!(sign_in(&mut client, ALICE, added["password"].as_str().unwrap()).starts_with("235"));
    assert!(send(&mut client, ALICE, &[BOB], MAIL).starts_with("250"));
    assert!(server.manage(&["held", "list", ALICE]).contains(BOB));
    let mut own = server.upgraded();
    assert!(sign_in(&mut own, ALICE, PASSWORD).starts_with("235"));
    assert!(send(&mut own, ALICE, &[BOB], MAIL).starts_with("250"));
    wait_for("the owner's", || {
        (server.mail(BOB).len() == 1).then_some(())
    });
    server.manage(&["held", "release", ALICE]);
    wait_for("the bot's", || (server.mail(BOB).len() == 2).then_some(()));
}
