//! Who may send as whom to whom, and that a change acts on the server while it runs.

use crate::{
    server::{ALICE, BOB, PASSWORD, Server, Settings, send, sign_in, wait_for},
    wire::Client,
};

/// The reply to MAIL, with the transaction cleared behind it.
fn mail(client: &mut Client, from: &str) -> String {
    let reply = client.ask(&format!("MAIL FROM:<{from}>")).unwrap();
    assert!(client.ask("RSET").unwrap().starts_with("250 "));
    reply
}

/// R6409-6.1a, R5068-3.1c, S31: the envelope's sender belongs to the account.
#[test]
fn a_sender_of_somebody_elses_is_refused_by_name() {
    let server = Server::start();
    let mut client = server.signed_in();
    for from in [
        BOB,
        "boss@example.org",
        "x@other.example",
        "alice@any.example",
    ] {
        let expected = format!("550 5.7.1 You may not send as {from}");
        assert_eq!(mail(&mut client, from), expected);
    }
    for from in [ALICE, "ALICE@Example.ORG", "x@wonder.example", ""] {
        assert!(mail(&mut client, from).starts_with("250 2.1.0 "), "{from}");
    }
}

/// R6409-6.3a, S31: so does every address that the header speaks for.
#[test]
fn an_author_of_somebody_elses_is_refused_by_name() {
    let server = Server::start();
    let mut client = server.signed_in();
    for (header, address) in [
        ("From: boss@example.org", "boss@example.org"),
        ("From: \"alice@example.org\" <bob@example.org>", BOB),
        (
            "From: alice@example.org, bob@example.org\r\nSender: alice@example.org",
            BOB,
        ),
        ("From: alice@example.org\r\nSender: bob@example.org", BOB),
        (
            "From: alice@example.org\r\nResent-From: bob@example.org",
            BOB,
        ),
        (
            "From: alice@example.org\r\nResent-Sender: bob@example.org",
            BOB,
        ),
        (
            "From: friends: alice@example.org, bob@example.org;\r\nSender: alice@example.org",
            BOB,
        ),
        (
            "fRoM\t: alice@example.org,\r\n\tbob@example.org\r\nSender: alice@example.org",
            BOB,
        ),
    ] {
        let content = format!("{header}\r\nSubject: x\r\n\r\nx\r\n");
        let reply = send(&mut client, ALICE, &[BOB], content.as_bytes());
        assert_eq!(
            reply,
            format!("550 5.7.1 You may not send as {address}"),
            "{header}"
        );
    }
    for header in [
        "From: alice@example.org\r\nFrom: bob@example.org",
        "From: alice@example.org\r\nSender: alice@example.org\r\nSender: bob@example.org",
        "From: <bob@example.org",
        "From: alice@example.org bob@example.org",
        "From: alice",
        "From:",
    ] {
        let content = format!("{header}\r\nSubject: x\r\n\r\nx\r\n");
        let reply = send(&mut client, ALICE, &[BOB], content.as_bytes());
        assert!(reply.starts_with("5"), "{header}: {reply}");
    }
    let good = b"From: x@wonder.example\r\n\r\nx\r\n";
    assert!(send(&mut client, ALICE, &[BOB], good).starts_with("250 "));
    assert!(server.only(BOB).contains("\nFrom: x@wonder.example\n"));
}

/// R5321-4.5.1b: nobody here, nowhere to go, and the postmaster, who is always there.
#[test]
fn recipients_are_refused_for_what_is_wrong_with_them() {
    let server = Server::start();
    let mut client = server.signed_in();
    assert!(
        client
            .ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250 ")
    );
    for (to, code) in [
        ("nobody@example.org", "550 5.1.1 "),
        ("x@nowhere.example", "550 5.4.4 "),
        ("x@sub.example.org", "550 5.4.4 "),
        ("a%b@nowhere.example", "550 5.4.4 "),
        ("Postmaster", "250 2.1.5 "),
        ("PostMaster@Example.Org", "250 2.1.5 "),
    ] {
        let reply = client.ask(&format!("RCPT TO:<{to}>")).unwrap();
        assert!(reply.starts_with(code), "{to}: {reply}");
    }
}

/// R6409-4.1a: what has no more precise code gets 554.
#[test]
fn an_improper_transaction_gets_554() {
    let server = Server::start();
    let mut client = server.signed_in();
    assert!(
        client
            .ask("MAIL FROM:<alice@host>")
            .unwrap()
            .starts_with("554 5.")
    );
    assert!(
        client
            .ask(&format!("MAIL FROM:<{ALICE}>"))
            .unwrap()
            .starts_with("250 ")
    );
    assert!(
        client
            .ask("RCPT TO:<x@host>")
            .unwrap()
            .starts_with("554 5.")
    );
    assert!(client.ask("DATA").unwrap().starts_with("554 5.5.1 "));
    assert!(client.ask("BDAT 0 LAST").unwrap().starts_with("554 5.5.1 "));
}

/// A disabled account neither signs in, though its password is remembered, nor goes on in a session
/// that is open; enabled, it does both.
#[test]
fn disabling_an_account_acts_at_once() {
    let server = Server::start();
    let mut open = server.signed_in();
    assert!(mail(&mut open, ALICE).starts_with("250 "));
    // In a transaction when it happens: the message is not taken either.
    let mut busy = server.signed_in();
    busy.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    busy.ask(&format!("RCPT TO:<{BOB}>")).unwrap();
    assert!(busy.ask("DATA").unwrap().starts_with("354 "));

    server.manage(&["user", "disable", ALICE]);
    busy.send(b"From: alice@example.org\r\n\r\nx\r\n").unwrap();
    let reply = busy.ask(".").unwrap();
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    assert!(mail(&mut open, ALICE).starts_with("550 5.7.1 "));
    let mut other = server.greeted();
    let refused = sign_in(&mut other, ALICE, PASSWORD);
    assert_eq!(refused, "535 5.7.8 User name or password not accepted");

    server.manage(&["user", "enable", ALICE]);
    assert!(mail(&mut open, ALICE).starts_with("250 "));
    assert!(sign_in(&mut other, ALICE, PASSWORD).starts_with("235 "));
    assert!(server.mail(BOB).is_empty());
}

#[test]
fn a_new_password_acts_at_once() {
    let server = Server::start();
    drop(server.signed_in());
    let fresh = "a quite different one";
    server
        .gatepost(&["user", "passwd", ALICE, "--password-stdin"], fresh)
        .unwrap();
    let mut client = server.greeted();
    assert!(sign_in(&mut client, ALICE, PASSWORD).starts_with("535 "));
    assert!(sign_in(&mut client, ALICE, fresh).starts_with("235 "));
}

/// A refusal that was remembered does not outlive the account's making.
#[test]
fn accounts_and_addresses_come_and_go_on_a_running_server() {
    let server = Server::start();
    let mut client = server.greeted();
    assert!(sign_in(&mut client, "carol@example.org", "fresh-and-new").starts_with("535 "));
    let add = ["user", "add", "carol@example.org", "--password-stdin"];
    server.gatepost(&add, "fresh-and-new\n").unwrap();
    assert!(sign_in(&mut client, "carol@example.org", "fresh-and-new").starts_with("235 "));
    assert!(mail(&mut client, "carol@example.org").starts_with("250 "));

    for address in ["sales@example.org", "*@wonder.example"] {
        let one = address.replace('*', "anyone");
        assert!(mail(&mut client, &one).starts_with("550 5.7.1 "));
        server.manage(&["user", "address", "add", "carol@example.org", address]);
        assert!(mail(&mut client, &one).starts_with("250 "));
        server.manage(&["user", "address", "remove", "carol@example.org", address]);
        assert!(mail(&mut client, &one).starts_with("550 5.7.1 "));
    }

    // A mailbox with the account, and none without it.
    let mut alice = server.signed_in();
    alice.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    assert!(
        alice
            .ask("RCPT TO:<carol@example.org>")
            .unwrap()
            .starts_with("250 ")
    );
    server.manage(&["user", "remove", "carol@example.org"]);
    // Named twice in one transaction it would not be asked about again.
    alice.ask("RSET").unwrap();
    alice.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    assert!(
        alice
            .ask("RCPT TO:<carol@example.org>")
            .unwrap()
            .starts_with("550 5.1.1 ")
    );
    assert!(mail(&mut client, "carol@example.org").starts_with("550 5.7.1 "));
    let mut again = server.greeted();
    assert!(sign_in(&mut again, "carol@example.org", "fresh-and-new").starts_with("535 "));
}

/// R9422-4.1a: MAILMAX counts every MAIL, refused ones too, and what was announced is what holds.
#[test]
fn mailmax_counts_every_mail_of_a_session() {
    let server = Server::with(Settings::new().with("limits", "messages = 3"));
    let mut client = server.signed_in();
    client.send(b"EHLO client.example\r\n").unwrap();
    let keywords = client.reply().unwrap();
    let announced = keywords
        .iter()
        .any(|line| line.contains("LIMITS MAILMAX=3 "));
    assert!(announced, "{keywords:?}");
    assert!(mail(&mut client, ALICE).starts_with("250 "));
    assert!(mail(&mut client, BOB).starts_with("550 "));
    assert!(mail(&mut client, ALICE).starts_with("250 "));
    let reply = client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    assert!(
        reply.starts_with("421 4.") || reply.starts_with("452 4."),
        "{reply}"
    );
    assert!(client.closed().unwrap().is_empty());
}

/// R8314-4.1a, R4954-4p: in the clear, right and wrong credentials get one answer.
#[test]
fn sign_in_without_tls_tells_nothing() {
    let server = Server::start();
    let mut client = Client::plain(server.submission).unwrap();
    client.reply().unwrap();
    client.ask("EHLO client.example").unwrap();
    let right = sign_in(&mut client, ALICE, PASSWORD);
    let wrong = sign_in(&mut client, ALICE, "wrong");
    let nobody = sign_in(&mut client, "nobody@example.org", "wrong");
    assert_eq!(right, "530 5.7.0 Start TLS first");
    assert_eq!((&right, &right), (&wrong, &nobody));
}

/// S28: guesses from one address are put off after a while, whoever they are at.
#[test]
fn guessing_is_put_off() {
    let settings = Settings::new().with("auth.throttle", "exempt = []").with(
        "auth.throttle",
        "address = { minute = 3, hour = 60, day = 200 }",
    );
    let server = Server::with(settings);
    let mut replies = Vec::new();
    for n in 0..4 {
        let mut client = server.greeted();
        replies.push(sign_in(
            &mut client,
            &format!("guess{n}@example.org"),
            "guess",
        ));
    }
    assert!(
        replies[..3]
            .iter()
            .all(|reply| reply.starts_with("535 5.7.8 ")),
        "{replies:?}"
    );
    assert!(replies[3].starts_with("454 4.7.0 "), "{replies:?}");
}

/// R5321-4.5.1b, R5321-2.3.5b: mail for the postmaster is delivered, whatever the case: to the
/// address that is configured where no domain is named, to the domain's own where one is.
#[test]
fn the_postmaster_gets_mail() {
    let server = Server::start();
    let mut client = server.signed_in();
    for (to, folder) in [
        ("Postmaster", ALICE),
        ("POSTMASTER", ALICE),
        ("PostMaster@Example.org", "postmaster@example.org"),
    ] {
        let content = format!("From: {ALICE}\r\nSubject: for {to}\r\n\r\nx\r\n");
        let reply = send(&mut client, ALICE, &[to], content.as_bytes());
        assert!(reply.starts_with("250 "), "{to}: {reply}");
        let line = format!("\nSubject: for {to}\n");
        let mail = server.delivered(folder);
        let texts = mail.iter().map(|octets| String::from_utf8_lossy(octets));
        assert_eq!(texts.filter(|text| text.contains(&line)).count(), 1, "{to}");
    }
}

/// S31: patterns stand for many addresses, and a change acts at once.
#[test]
fn tags_and_domains_below_can_be_allowed() {
    let server = Server::start();
    let mut client = server.signed_in();
    let allowed = ["alice+news@example.org", "x@lists.example.org"];
    for from in allowed {
        assert!(mail(&mut client, from).starts_with("550 5.7.1 "), "{from}");
    }
    for pattern in ["alice+*@example.org", "*@*.example.org"] {
        server.manage(&["user", "address", "add", ALICE, pattern]);
        let shown = server.manage(&["user", "show", ALICE]);
        assert!(shown.contains(pattern), "{shown}");
    }
    for from in allowed {
        assert!(mail(&mut client, from).starts_with("250 2.1.0 "), "{from}");
    }
    assert!(mail(&mut client, "bob+news@example.org").starts_with("550 5.7.1 "));
    for pattern in ["alice+*@example.org", "*@*.example.org"] {
        server.manage(&["user", "address", "remove", ALICE, pattern]);
    }
    for from in allowed {
        assert!(mail(&mut client, from).starts_with("550 5.7.1 "), "{from}");
    }
}

/// S31.
#[test]
fn a_grant_ends_by_itself_and_is_no_mailbox() {
    let server = Server::start();
    let mut client = server.signed_in();
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let until = until.to_string();
    let grant = [
        "user",
        "address",
        "add",
        ALICE,
        "boss@example.org",
        "--until",
        &until,
    ];
    server.manage(&grant);
    assert!(mail(&mut client, "boss@example.org").starts_with("250 "));
    client.ask(&format!("MAIL FROM:<{ALICE}>")).unwrap();
    let said = client.ask("RCPT TO:<boss@example.org>").unwrap();
    assert!(said.starts_with("550 5.1.1"), "{said}");
    client.ask("RSET").unwrap();
    wait_for("the end of the grant", || {
        let said = mail(&mut client, "boss@example.org");
        said.starts_with("550 5.7.1 You may not send as boss@example.org")
            .then_some(())
    });
    assert!(
        server
            .manage(&["user", "show", ALICE])
            .contains("boss@example.org (ended ")
    );
    // Granted anew, and then for ever; what is for ever is not shortened.
    let later = [
        "user",
        "address",
        "add",
        ALICE,
        "boss@example.org",
        "--until",
        "2999-01-01",
    ];
    server.manage(&later);
    assert!(mail(&mut client, "boss@example.org").starts_with("250 "));
    server.manage(&["user", "address", "add", ALICE, "boss@example.org"]);
    let refused = server.gatepost(&later, "").unwrap_err();
    assert!(refused.contains("exists already"), "{refused}");
    server.manage(&["user", "address", "remove", ALICE, "boss@example.org"]);
    assert!(mail(&mut client, "boss@example.org").starts_with("550 5.7.1"));
}

/// S28: what is put off can be seen, and let in again.
#[test]
fn the_throttle_shows_what_it_counted_and_can_be_cleared() {
    let server = Server::with(Settings::new().with("auth.throttle", "exempt = []").with(
        "auth.throttle",
        "address = { minute = 2, hour = 2, day = 2 }",
    ));
    assert!(server.manage(&["throttle", "list"]).lines().count() <= 1);
    for guess in ["wrong 1", "wrong 2"] {
        let said = sign_in(&mut server.upgraded(), ALICE, guess);
        assert!(said.starts_with("535"), "{said}");
    }
    let said = sign_in(&mut server.upgraded(), ALICE, PASSWORD);
    assert!(said.starts_with("454 4.7.0"), "{said}");
    let listed = server.manage(&["throttle", "list"]);
    let address = listed.lines().find(|line| line.starts_with("address"));
    let address = address.expect("the address");
    assert!(
        address.contains("127.0.0.1") && address.ends_with("put off"),
        "{listed}"
    );
    assert!(!listed.contains("wrong"), "{listed}");
    server.manage(&["throttle", "clear"]);
    let said = sign_in(&mut server.upgraded(), ALICE, PASSWORD);
    assert!(said.starts_with("235"), "{said}");
}

/// What a device calls itself is replaced, from the envelope to the field, and only where that is on.
#[test]
fn a_devices_mail_speaks_in_its_accounts_name() {
    let server = Server::start();
    let mut client = server.signed_in();
    let send = |client: &mut Client, sender: &str, fields: &str| {
        let reply = client.ask(&format!("MAIL FROM:<{sender}>")).unwrap();
        if !reply.starts_with("250") {
            return reply;
        }
        client.ask(&format!("RCPT TO:<{BOB}>")).unwrap();
        client.ask("DATA").unwrap();
        client
            .ask(&format!("{fields}\r\n\r\nScanned.\r\n."))
            .unwrap()
    };
    let named = "From: \"Scanner, 2nd floor\" <scanner@nas.example>\r\nSender: root@nas.example";
    for (sender, fields, refusal) in [
        ("scanner@nas", named, "554 5.1.8"),
        ("scanner@nas.example", named, "550 5.7.1"),
        (ALICE, named, "550 5.7.1"),
    ] {
        let reply = send(&mut client, sender, fields);
        assert!(reply.starts_with(refusal), "{reply}");
    }
    server.manage(&["user", "force-from", ALICE, "on"]);
    let cases = [
        (
            "scanner@nas",
            named,
            format!("\"Scanner, 2nd floor\" <{ALICE}>"),
        ),
        (
            "scanner@nas.example",
            "From: scanner@nas.example",
            ALICE.to_owned(),
        ),
        // What it may say stays.
        (
            "x@wonder.example",
            "From: X <x@wonder.example>",
            "X <x@wonder.example>".to_owned(),
        ),
    ];
    for (count, (sender, fields, from)) in (1..).zip(&cases) {
        let reply = send(&mut client, sender, fields);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let mail = server.delivered(BOB);
        assert_eq!(mail.len(), count);
        let shown: Vec<_> = mail.iter().map(|it| String::from_utf8_lossy(it)).collect();
        let message = shown
            .iter()
            .find(|it| it.contains(&format!("\nFrom: {from}\n")));
        let message = message.unwrap_or_else(|| panic!("{from}: {shown:#?}"));
        assert!(!message.contains("\nSender:"), "{message}");
        let envelope = if sender.contains("nas") {
            ALICE
        } else {
            sender
        };
        assert!(
            message.contains(&format!("Return-Path: <{envelope}>")),
            "{message}"
        );
    }
    server.manage(&["user", "force-from", ALICE, "off"]);
    let reply = send(&mut client, "scanner@nas.example", named);
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
}
