//! Clients that are silent, slow or too many.

use std::sync::Arc;

use crate::{
    server::{Server, Settings, wait_for},
    wire::Client,
};

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
