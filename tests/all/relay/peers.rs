//! Mail from a client, through Gatepost, to real next hops: Postfix, Dovecot and aiosmtpd. One that
//! is not installed is skipped by name.

use super::{drained, letter, relay_at, route, settings, sign_in, submit};
use crate::{
    hop::{NAME, PASSWORD},
    peers::{Aiosmtpd, BOB, CY, Dovecot, Postfix, STUCK},
    server::{self, ALICE, Server, wait_for},
};

/// Sends a letter to these through either port; the subjects.
fn through_both_ports(server: &Server, to: &[&str], body: &str) -> [&'static str; 2] {
    let to: Vec<_> = to.iter().map(|to| format!("<{to}>")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let mut upgraded = server.upgraded();
    let reply = server::sign_in(&mut upgraded, ALICE, server::PASSWORD);
    assert!(reply.starts_with("235 "), "{reply}");
    let names = ["by-implicit", "by-starttls"];
    for (client, name) in [&mut server.signed_in(), &mut upgraded]
        .into_iter()
        .zip(names)
    {
        submit(client, &format!("<{ALICE}>"), &to, &letter(name, body));
    }
    names
}

const BODY: &str = "Hello.\r\n.\r\n..\r\n\r\n.dots\r\nGr\u{fc}\u{df}e  \r\n.\r\n";

/// The one message with this subject and these words in its header; its body.
fn body_of<'a>(mail: &'a [String], subject: &str, words: &str) -> &'a str {
    let line = format!("\nSubject: {subject}\n");
    let has = |message: &&String| message.contains(&line) && message.contains(words);
    let found: Vec<_> = mail.iter().filter(has).collect();
    assert_eq!(found.len(), 1, "{subject} {words}: {mail:#?}");
    found[0].split_once("\n\n").unwrap().1
}

#[test]
fn postfix_takes_mail_on_every_way_in() {
    let Some(mut postfix) = Postfix::start() else {
        return;
    };
    let port = postfix.submission.port();
    let account = sign_in(NAME, PASSWORD);
    let server = Server::with(
        settings()
            .route(&relay_at("submission.example", port, "starttls", &account))
            .route(&relay_at(
                "submissions.example",
                postfix.submissions.port(),
                "implicit",
                "",
            )),
    );
    let to = [
        "a@submission.example",
        "b@submission.example",
        "c@submissions.example",
    ];
    let names = through_both_ports(&server, &to, BODY);
    drained(&server);
    let mail = postfix.wait_for_mail(6);
    assert_eq!(mail.len(), 6);
    for name in names {
        for to in to {
            let words = format!("\nDelivered-To: {to}\n");
            assert_eq!(body_of(&mail, name, &words), BODY.replace("\r\n", "\n"));
        }
    }
    let log = postfix.log();
    assert!(
        log.contains("sasl_method=SCRAM-SHA-256, sasl_username=relay-user"),
        "{log}"
    );
    // One transaction for both recipients.
    assert_eq!(log.matches("nrcpt=2").count(), 2, "{log}");
    let line = server.logged(&["delivery attempt", "a@submission.example"]);
    assert!(
        line.contains("\"relayed\"") && line.contains("TLSv1.3"),
        "{line}"
    );
}

#[test]
fn a_wrong_password_at_postfix_keeps_the_mail() {
    let Some(mut postfix) = Postfix::start() else {
        return;
    };
    let port = postfix.submission.port();
    let wrong = sign_in(NAME, "wrong");
    let right = sign_in(NAME, PASSWORD);
    let mut server =
        Server::with(settings().route(&relay_at("far.example", port, "starttls", &wrong)));
    super::send(&server, &["bob@far.example"], "patient");
    let line = server.logged(&["delivery attempt", "bob@far.example", "\"deferred\""]);
    assert!(line.contains("535"), "{line}");
    server.settings = settings().route(&relay_at("far.example", port, "starttls", &right));
    server.configure();
    server.reload();
    drained(&server);
    assert_eq!(postfix.wait_for_mail(1).len(), 1);
    assert!(server.mail(ALICE).is_empty());
}

/// Over the socket and over TCP; of each message the known have it, the unknown are told, and whose
/// mailbox fails waits.
#[test]
fn dovecot_takes_mail_for_those_it_knows() {
    let Some(dovecot) = Dovecot::start() else {
        return;
    };
    let unix = format!("unix:{}", dovecot.socket().display());
    for place in [unix, dovecot.lmtp.to_string()] {
        let before = dovecot.mail(BOB).len();
        let server = Server::with(
            settings()
                .with("queue", "give_up_after = \"3s\"")
                // More exactly than the Maildirs of that domain, which are everybody's.
                .route(&route(
                    "any.example",
                    "lmtp",
                    &place,
                    &format!("recipients = \"any\"\nsenders = [\"{ALICE}\"]"),
                )),
        );
        let to = [BOB, "nobody@any.example", STUCK, CY];
        let names = through_both_ports(&server, &to, BODY);
        for user in [BOB, CY] {
            let mail = wait_for("mail", || {
                let mail = dovecot.mail(user);
                (mail.len() >= before + 2).then_some(mail)
            });
            let mail = &mail[before..];
            assert_eq!(mail.len(), 2);
            for name in names {
                assert_eq!(
                    body_of(mail, name, "Return-Path: <alice@example.org>\n"),
                    BODY.replace("\r\n", "\n")
                );
            }
        }
        let line = server.logged(&["delivery attempt", STUCK, "\"deferred\""]);
        assert!(line.contains("\"dsn\":\"4."), "{line}");
        drained(&server);
        assert_eq!(dovecot.mail(BOB).len(), before + 2);
        let reports = server.mail(ALICE);
        let reports: Vec<_> = reports
            .iter()
            .map(|it| String::from_utf8_lossy(it))
            .collect();
        for (user, status) in [("nobody@any.example", "5.1.1"), (STUCK, "4.4.7")] {
            let words = [format!("; {user}\n"), format!("\nStatus: {status}\n")];
            let told = reports
                .iter()
                .filter(|it| words.iter().all(|word| it.contains(word)));
            assert_eq!(told.count(), 2, "{user}: {reports:#?}");
        }
    }
}

/// aiosmtpd keeps octets and parameters.
#[test]
fn aiosmtpd_gets_the_octets_as_they_were() {
    let Some(aiosmtpd) = Aiosmtpd::start() else {
        return;
    };
    let account = sign_in(NAME, PASSWORD);
    let port = aiosmtpd.address.port();
    let server =
        Server::with(settings().route(&relay_at("far.example", port, "starttls", &account)));
    let names = through_both_ports(&server, &["a@far.example", "b@far.example"], BODY);
    drained(&server);
    let mail = aiosmtpd.mail();
    assert_eq!(mail.len(), 2);
    for name in names {
        let expected = String::from_utf8(letter(name, BODY)).unwrap();
        let found = mail
            .iter()
            .find(|message| message["content"].as_str().unwrap().ends_with(&expected));
        let message = found.unwrap_or_else(|| panic!("{name}: {mail:#?}"));
        assert_eq!(message["sender"], ALICE);
        assert_eq!(
            message["recipients"],
            serde_json::json!(["a@far.example", "b@far.example"])
        );
        assert_eq!(message["login"], NAME);
        assert_eq!(message["tls"], true);
    }
}
