//! Ways to a next hop that is what its route says: TLS, whom to trust, as whom to sign in.

use super::{as_submitted, drained, letter, relay, route, send, settings, sign_in, submit};
use crate::{
    hop::{Behaviour, Certificate, Channel, Handshake, Hop, NAME, PASSWORD, Tls, authority},
    server::{ALICE, Server},
};

/// The mechanism that a hop with these ones is signed in at, and by which message follows.
fn signed_in_by(offered: &str) -> String {
    let hop = Hop::start(
        Behaviour::starttls()
            .offers(&format!("AUTH {offered}"))
            .needs_sign_in(),
    );
    let route = relay("far.example", &hop, "starttls", &sign_in(NAME, PASSWORD));
    let server = Server::with(settings().route(&route));
    send(&server, &["bob@far.example"], "signed");
    let message = hop.wait_for_messages(1).remove(0);
    assert_eq!(message.channel, Channel::Tls);
    assert_eq!(message.sender.address, ALICE);
    assert_eq!(message.to(), ["bob@far.example"]);
    drained(&server);
    assert_eq!(hop.messages().len(), 1);
    let connection = hop.transcript().connections.remove(0);
    assert!(
        matches!(&connection.handshake, Handshake::Done { name: Some(name), version }
            if name == "localhost" && version == "TLSv1_3"),
        "{connection:#?}"
    );
    let clear = String::from_utf8_lossy(&connection.clear);
    assert_eq!(clear, "EHLO mail.example.org\r\nSTARTTLS\r\n");
    for command in &connection.commands[2..] {
        assert_eq!(command.channel, Channel::Tls, "{command:?}");
    }
    let [sign_in] = &connection.sign_ins[..] else {
        panic!("{connection:#?}");
    };
    assert!(sign_in.right && sign_in.name == NAME, "{sign_in:?}");
    let line = server.logged(&["delivery attempt", "bob@far.example"]);
    assert!(line.contains("\"relayed\""), "{line}");
    let log = server.log();
    let plain = format!("\0{NAME}\0{PASSWORD}");
    for secret in [PASSWORD, &plain] {
        let encoded = data_encoding::BASE64.encode(secret.as_bytes());
        assert!(!log.contains(secret) && !log.contains(&encoded), "{log}");
    }
    sign_in.mechanism.clone()
}

#[test]
fn starttls_and_the_best_mechanism_that_is_offered() {
    assert_eq!(signed_in_by("LOGIN PLAIN SCRAM-SHA-256"), "SCRAM-SHA-256");
    assert_eq!(signed_in_by("LOGIN PLAIN X-OTHER"), "PLAIN");
    assert_eq!(signed_in_by("LOGIN"), "LOGIN");
}

/// One server with a route of each kind.
#[test]
fn every_kind_of_link_carries_mail() {
    let implicit = Hop::start(Behaviour::implicit().needs_sign_in());
    let pinned = Hop::start(Behaviour::starttls().certificate(Certificate::SelfSigned));
    let pinned_implicit = Hop::start(Behaviour::implicit().certificate(Certificate::Expired));
    let open = Hop::start(Behaviour::plain());
    let open_signed = Hop::start(Behaviour::plain().needs_sign_in());
    let old = Hop::start(Behaviour::plain().helo_only());
    let lmtp_tls = Hop::start(Behaviour::lmtp().tls(Tls::Starttls));
    let pin = |certificate: Certificate| {
        let digits = data_encoding::HEXUPPER.encode(&certificate.fingerprint());
        format!("pins = [\"{digits}\"]\n")
    };
    let by_address = |hop: &Hop| hop.address().to_string();
    let account = sign_in(NAME, PASSWORD);
    let ca = format!("ca = \"{}\"\n", authority().display());
    let server = Server::with(
        settings()
            .route(&route(
                "implicit.example",
                "relay",
                &by_address(&implicit),
                &format!("tls = \"implicit\"\n{ca}{account}"),
            ))
            .route(&route(
                "pinned.example",
                "relay",
                &by_address(&pinned),
                &format!("tls = \"starttls\"\n{}", pin(Certificate::SelfSigned)),
            ))
            .route(&route(
                "pinned-implicit.example",
                "relay",
                &by_address(&pinned_implicit),
                &format!("tls = \"implicit\"\n{}", pin(Certificate::Expired)),
            ))
            .route(&relay("open.example", &open, "none", ""))
            .route(&relay(
                "open-signed.example",
                &open_signed,
                "none",
                &account,
            ))
            .route(&relay("old.example", &old, "none", ""))
            .route(&route(
                "lmtp.example",
                "lmtp",
                &by_address(&lmtp_tls),
                &format!("recipients = \"any\"\ntls = \"starttls\"\n{ca}"),
            )),
    );
    let hops = [
        ("implicit.example", &implicit, Channel::Tls),
        ("pinned.example", &pinned, Channel::Tls),
        ("pinned-implicit.example", &pinned_implicit, Channel::Tls),
        ("open.example", &open, Channel::Clear),
        ("open-signed.example", &open_signed, Channel::Clear),
        ("old.example", &old, Channel::Clear),
        ("lmtp.example", &lmtp_tls, Channel::Tls),
    ];
    // One message for all of them, through either port.
    for (mut client, name) in [(server.signed_in(), "first"), (server.upgraded(), "second")] {
        if name == "second" {
            let reply = crate::server::sign_in(&mut client, ALICE, crate::server::PASSWORD);
            assert!(reply.starts_with("235 "), "{reply}");
        }
        let to: Vec<_> = hops
            .iter()
            .map(|(domain, ..)| format!("<bob@{domain}>"))
            .collect();
        let to: Vec<_> = to.iter().map(String::as_str).collect();
        let content = letter(name, "Hello.\r\n");
        submit(&mut client, &format!("<{ALICE}>"), &to, &content);
        drained(&server);
    }
    for (domain, hop, channel) in hops {
        let messages = hop.messages();
        assert_eq!(messages.len(), 2, "{domain}: {:#?}", hop.transcript());
        for (message, name) in messages.iter().zip(["first", "second"]) {
            assert_eq!(message.channel, channel, "{domain}");
            assert_eq!(message.to(), [format!("bob@{domain}")]);
            assert_eq!(
                as_submitted(&message.content),
                letter(name, "Hello.\r\n"),
                "{domain}"
            );
        }
    }
    for hop in [&implicit, &open_signed] {
        let connection = hop.transcript().connections.remove(0);
        assert!(connection.sign_ins[0].right, "{connection:#?}");
    }
    assert!(open.transcript().connections[0].sign_ins.is_empty());
}
