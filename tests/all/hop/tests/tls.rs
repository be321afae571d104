//! The ways into TLS, the certificates, and what a hop may do to both.

use sha2::{Digest, Sha256};

use super::*;

/// Behind the 220 to STARTTLS.
fn upgrading(hop: &Hop) -> Client {
    let mut client = reach(hop, Phase::StartTls);
    assert!(client.reply().unwrap()[0].starts_with("220 "));
    client
}

#[test]
fn starttls_leads_into_a_session_that_begins_anew() {
    let hop = Hop::start(Behaviour::starttls());
    let mut client = upgrading(&hop);
    client.handshake(trusting(&authority())).unwrap();
    assert!(client.ask(&line(Phase::Mail)).unwrap().starts_with("503"));
    client.send(b"EHLO client.example\r\n").unwrap();
    let offered = client.reply().unwrap();
    assert!(
        !offered.iter().any(|line| line.ends_with("STARTTLS")),
        "{offered:?}"
    );
    assert!(client.ask(&line(Phase::SignIn)).unwrap().starts_with("235"));
    assert!(send(&mut client).starts_with("250"));

    let transcript = hop.transcript();
    let connection = &transcript.connections[0];
    let channels: Vec<_> = connection.commands.iter().map(|one| one.channel).collect();
    assert_eq!(channels[..2], [Channel::Clear; 2]);
    assert!(channels[2..].iter().all(|channel| *channel == Channel::Tls));
    assert_eq!(connection.clear, b"EHLO client.example\r\nSTARTTLS\r\n");
    assert_eq!(connection.sign_ins[0].channel, Channel::Tls);
    assert_eq!(
        connection.handshake,
        Handshake::Done {
            name: Some("localhost".into()),
            version: "TLSv1_3".into()
        }
    );
}

#[test]
fn implicit_tls_shows_nothing_in_the_clear() {
    let hop = Hop::start(Behaviour::plain().tls(Tls::Implicit));
    let mut client = Client::implicit(hop.address(), trusting(&authority())).unwrap();
    client.reply().unwrap();
    assert!(
        client
            .ask("EHLO client.example")
            .unwrap()
            .starts_with("250 ")
    );
    assert!(send(&mut client).starts_with("250"));
    let connection = hop.transcript().connections.remove(0);
    assert!(connection.clear.is_empty());
    assert_eq!(connection.transactions[0].channel, Channel::Tls);
}

#[test]
fn a_bad_certificate_is_refused_by_a_client_that_looks() {
    for certificate in Certificate::ALL {
        let hop = Hop::start(Behaviour::implicit().certificate(certificate));
        let result = Client::implicit(hop.address(), trusting(&authority()));
        if certificate == Certificate::Good {
            let client = result.unwrap();
            let shown = &client.tls().unwrap().peer_certificates().unwrap()[0];
            let fingerprint: [u8; 32] = Sha256::digest(shown).into();
            assert_eq!(fingerprint, certificate.fingerprint());
            continue;
        }
        let why = result.err().expect("a bad certificate").to_string();
        let named = match certificate {
            Certificate::WrongName | Certificate::MailHost => "not valid for name",
            Certificate::Expired | Certificate::MailHostExpired => "expired",
            _ => "UnknownIssuer",
        };
        assert!(why.contains(named), "{certificate:?}: {why}");
        let transcript = hop.wait_for_ends(1);
        let handshake = &transcript.connections[0].handshake;
        assert!(matches!(handshake, Handshake::Failed(_)), "{handshake:?}");
        transcript.assert_nothing_given_away();
    }
}

#[test]
fn the_wrong_name_is_right_elsewhere() {
    let hop = Hop::start(Behaviour::starttls().certificate(Certificate::WrongName));
    let mut client = upgrading(&hop);
    let trust = trusting(&authority());
    client.handshake_as("elsewhere.example", trust).unwrap();
}

#[test]
fn the_files_of_a_certificate_are_what_is_served() {
    for certificate in Certificate::ALL {
        let (chain, key) = certificate.files();
        let pem = std::fs::read(chain).unwrap();
        let der = rustls_pemfile::certs(&mut &pem[..])
            .next()
            .unwrap()
            .unwrap();
        let digest: [u8; 32] = Sha256::digest(&der).into();
        assert_eq!(digest, certificate.fingerprint());
        let key = std::fs::read(key).unwrap();
        assert!(
            rustls_pemfile::private_key(&mut &key[..])
                .unwrap()
                .is_some()
        );
    }
}

#[test]
fn starttls_may_be_offered_and_refused() {
    let refusal = Act::reply("454 4.7.0 TLS is out of order");
    let hop = Hop::start(Behaviour::starttls().at(Phase::StartTls, refusal));
    let mut client = reach(&hop, Phase::StartTls);
    assert_eq!(client.reply().unwrap(), ["454 4.7.0 TLS is out of order"]);
    assert!(client.ask("NOOP").unwrap().starts_with("250"));
    hop.transcript().assert_nothing_given_away();
}

#[test]
fn octets_may_be_injected_behind_the_220() {
    let injected = Act::Say(b"220 Go ahead\r\n250 I was here first\r\n".to_vec());
    let hop = Hop::start(Behaviour::starttls().at(Phase::StartTls, injected));
    let mut client = upgrading(&hop);
    // Both lines came with one write; a client that forgot to look would read it within TLS.
    assert_eq!(client.reply().unwrap(), ["250 I was here first"]);
    client.handshake(trusting(&authority())).unwrap();
}

#[test]
fn a_handshake_may_come_to_nothing() {
    for (act, said) in [
        (Act::Hang, &b""[..]),
        (Act::StopReading, b""),
        (Act::Close, b""),
        (Act::Say(b"550 not TLS\r\n".to_vec()), b"550 not TLS\r\n"),
        (
            Act::Say(vec![0x16, 3, 3, 0xff, 0xff, 0]),
            &[0x16, 3, 3, 0xff, 0xff, 0],
        ),
    ] {
        let hop = Hop::start(Behaviour::starttls().at(Phase::Handshake, act.clone()));
        let mut client = upgrading(&hop);
        client.send(b"as if a hello").unwrap();
        client.half_close().unwrap();
        assert_eq!(client.closed().unwrap(), said, "{act:?}");
        drop(client);
        let transcript = hop.wait_for_ends(1);
        assert_eq!(transcript.connections[0].handshake, Handshake::None);
    }
    let garbage = Act::Say(b"550 not TLS\r\n".to_vec());
    let hop = Hop::start(Behaviour::starttls().at(Phase::Handshake, garbage));
    let error = upgrading(&hop)
        .handshake(trusting(&authority()))
        .unwrap_err();
    assert!(error.to_string().contains("corrupt"), "{error}");
}

#[test]
fn what_was_given_away_is_noticed() {
    for phase in [Phase::SignIn, Phase::Mail] {
        let hop = Hop::start(Behaviour::starttls());
        let mut client = reach(&hop, phase);
        client.reply().unwrap();
        let transcript = hop.transcript();
        std::panic::catch_unwind(|| transcript.assert_nothing_given_away()).unwrap_err();
    }
}
