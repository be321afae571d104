//! From a target to a connection, and everything that may come between.

use tokio::net::UnixListener;

use super::{
    super::{dial::Dialler, opening::open_one_of},
    scram::{decoded, scram},
    *,
};
use crate::{
    client::{self, Protocol},
    envelope::{Proof, TlsVersion},
    tls::{CertificateFault, HandshakeError},
};

const GOODBYE: &str = "
    C: QUIT
    S: 221 bye
";

#[tokio::test]
async fn a_plain_connection_is_opened_and_left() {
    let (listener, address) = listen().await;
    let host = tokio::spawn(async move {
        let mut peer = accepted(&listener).await;
        peer.play(HELLO).await;
        peer.play(GOODBYE).await;
        peer.rest().await
    });
    let connection = Connection::open(&at(address), &plain()).await.unwrap();
    assert_eq!(connection.link().address, Some(address));
    assert_eq!(&*connection.link().host, "127.0.0.1");
    assert_eq!(connection.link().tls, None);
    assert!(connection.extensions().pipelining);
    assert_eq!(connection.transactions(), 0);
    connection.quit().await;
    let (rest, end) = host.await.unwrap();
    assert!(rest.is_empty() && end.is_ok());
}

#[tokio::test]
async fn a_host_is_found_by_its_name() {
    let (listener, address) = listen().await;
    let host = tokio::spawn(async move { accepted(&listener).await.play(HELLO).await });
    let target = Target::Tcp {
        host: "localhost".into(),
        port: address.port(),
    };
    let connection = Connection::open(&target, &plain()).await.unwrap();
    assert_eq!(&*connection.link().host, "localhost");
    assert_eq!(connection.link().address, Some(address));
    host.await.unwrap();
}

async fn open_at(addresses: &[SocketAddr], setup: &Setup) -> Result<Connection, Box<OpenFailure>> {
    let target = Target::Tcp {
        host: "hop.example".into(),
        port: 25,
    };
    let dialler = Dialler::of("hop.example", addresses.to_vec());
    let give_up = tokio::time::Instant::now() + setup.opening_limit;
    open_one_of(dialler, &target, setup, give_up).await
}

const BEFORE_TLS: &str = "
    S: 220 hop.example ESMTP
    C: EHLO client.example
    S: 250-hop.example
    S: 250 STARTTLS
    C: STARTTLS
    S: 220 go
";

/// R5321-5.1: one bad machine behind a name is no reason to wait.
#[tokio::test]
async fn after_a_bad_greeting_the_next_address_is_tried() {
    let (config, fingerprint) = secret();
    let untrusted = secret().0;
    for bad in [
        "S: 554 5.3.2 not today",
        "S: 220 hop.example ESMTP\nC: EHLO client.example",
        BEFORE_TLS,
    ] {
        let (first, first_address) = listen().await;
        let (second, second_address) = listen().await;
        let (config, untrusted) = (config.clone(), untrusted.clone());
        let host = tokio::spawn(async move {
            let mut peer = accepted(&first).await;
            peer.play(bad).await;
            if bad == BEFORE_TLS {
                drop(peer.secure(untrusted).await);
            } else {
                drop(peer);
            }
            let mut peer = accepted(&second).await;
            peer.play(BEFORE_TLS).await;
            let mut peer = peer.secure(config).await.unwrap();
            peer.play("C: EHLO client.example\nS: 250 hop.example")
                .await;
        });
        let addresses = [first_address, second_address];
        let connection = open_at(&addresses, &starttls(fingerprint)).await.unwrap();
        assert_eq!(connection.link().address, Some(second_address), "{bad}");
        assert_eq!(&*connection.link().host, "hop.example");
        host.await.unwrap();
    }
}

/// What one address said is told, even where the one behind it is not there.
#[tokio::test]
async fn a_greeting_is_told_before_a_closed_port() {
    let (listener, address) = listen().await;
    let (closed, nowhere) = listen().await;
    drop(closed);
    let host = tokio::spawn(async move {
        accepted(&listener).await.play("S: 421 4.3.2 busy").await;
    });
    let failure = open_at(&[address, nowhere], &plain()).await.err().unwrap();
    assert_eq!(failure.link.address, Some(address));
    assert!(failure.status.to_string().contains("421 4.3.2 busy"));
    host.await.unwrap();
}

/// A password is shown to one address, whatever becomes of it.
#[tokio::test]
async fn a_refused_password_is_not_tried_at_other_addresses() {
    let (config, fingerprint) = secret();
    for answer in ["S: 535 5.7.8 no", "S: 421 4.7.0 go away", ""] {
        let (first, first_address) = listen().await;
        let (second, second_address) = listen().await;
        let config = config.clone();
        let host = tokio::spawn(async move {
            let mut peer = accepted(&first).await.secure(config).await.unwrap();
            let hello = "
                S: 220 hop.example ESMTP
                C: EHLO client.example
                S: 250-hop.example
                S: 250 AUTH PLAIN
                C: AUTH PLAIN AGFsaWNlAHR1bGlwcy1hbmQtNC1vbmlvbnM=
            ";
            peer.play(&format!("{hello}{answer}")).await;
        });
        let setup = with_credentials(implicit(fingerprint));
        let addresses = [first_address, second_address];
        let failure = open_at(&addresses, &setup).await.err().unwrap();
        assert_eq!(failure.link.address, Some(first_address), "{answer}");
        host.await.unwrap();
        let other = tokio::time::timeout(std::time::Duration::ZERO, second.accept()).await;
        assert!(other.is_err(), "{answer}");
    }
}

/// The farewell is a close_notify: the host sees an end, not a cut (R8314-3c).
#[tokio::test]
async fn implicit_tls_begins_with_the_first_octet() {
    let (listener, address) = listen().await;
    let (config, fingerprint) = secret();
    let host = tokio::spawn(async move {
        let mut peer = accepted(&listener).await.secure(config).await.unwrap();
        peer.play(HELLO).await;
        peer.play(GOODBYE).await;
        peer.rest().await
    });
    let setup = implicit(fingerprint);
    let connection = Connection::open(&at(address), &setup).await.unwrap();
    let tls = connection.link().tls.clone().unwrap();
    assert_eq!((tls.version, tls.proof), (TlsVersion::V13, Proof::Pin));
    assert_eq!(tls.fingerprint, fingerprint);
    connection.quit().await;
    let (rest, end) = host.await.unwrap();
    assert!(rest.is_empty());
    assert!(end.is_ok(), "{end:?}");
}

/// R3207-4.2c: what was offered before counts for nothing.
#[tokio::test]
async fn starttls_begins_anew() {
    let (listener, address) = listen().await;
    let (config, fingerprint) = secret();
    let host = tokio::spawn(async move {
        let mut peer = accepted(&listener).await;
        peer.play(
            "
            S: 220 hop.example ESMTP
            C: EHLO client.example
            S: 250-hop.example
            S: 250-CHUNKING
            S: 250 STARTTLS
            C: STARTTLS
            S: 220 go
            ",
        )
        .await;
        let mut peer = peer.secure(config).await.unwrap();
        peer.play(
            "
            C: EHLO client.example
            S: 250-hop.example
            S: 250 PIPELINING
            ",
        )
        .await;
        peer.play(GOODBYE).await;
    });
    let setup = starttls(fingerprint);
    let connection = Connection::open(&at(address), &setup).await.unwrap();
    assert_eq!(connection.link().tls.clone().unwrap().proof, Proof::Pin);
    let extensions = connection.extensions();
    assert!(extensions.pipelining && !extensions.chunking);
    connection.quit().await;
    host.await.unwrap();
}

#[tokio::test]
async fn lmtp_is_spoken_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    let host = tokio::spawn(async move {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.play(
            "
            S: 220 hop.example LMTP
            C: LHLO client.example
            S: 250 hop.example
            C: MAIL FROM:<a@x.example>
            S: 250 ok
            C: RCPT TO:<b@y.example>
            S: 250 ok
            C: RCPT TO:<c@y.example>
            S: 250 ok
            C: DATA
            S: 354 go
            ",
        )
        .await;
        assert_eq!(peer.data().await, [HEADER, b"Hello.\r\n"].concat());
        peer.play(
            "
            S: 250 2.1.5 taken
            S: 552 5.2.2 full
            ",
        )
        .await;
        peer.play(GOODBYE).await;
    });
    let mut setup = plain();
    Arc::make_mut(&mut setup.options).protocol = Protocol::Lmtp;
    let target = Target::Unix(path.clone());
    let mut connection = Connection::open(&target, &setup).await.unwrap();
    assert_eq!(&*connection.link().host, path.to_str().unwrap());
    assert_eq!(connection.link().address, None);
    let (message, content) = message(&["b@y.example", "c@y.example"], b"Hello.\r\n");
    let sent = connection.send(message, content).await.unwrap();
    assert_eq!(
        shown(&sent.fates),
        [
            "accepted 2.1.5 250 2.1.5 taken",
            "failed 5.2.2 552 5.2.2 full"
        ]
    );
    assert_eq!(sent.standing, Standing::Ready);
    connection.quit().await;
    host.await.unwrap();
}

#[tokio::test]
async fn our_own_address_can_be_chosen() {
    let (listener, address) = listen().await;
    let source = std::net::Ipv4Addr::new(127, 0, 0, 2);
    let host = tokio::spawn(async move {
        let (socket, from) = listener.accept().await.unwrap();
        Peer::new(socket).play(HELLO).await;
        from.ip()
    });
    let mut setup = plain();
    setup.sources = Sources {
        ipv4: Some(source),
        ipv6: Some(std::net::Ipv6Addr::LOCALHOST),
    };
    Connection::open(&at(address), &setup).await.unwrap();
    assert_eq!(host.await.unwrap(), source);
}

#[tokio::test]
async fn a_connection_that_comes_back_to_us_is_no_hand_off() {
    let (listener, address) = listen().await;
    let mut setup = plain();
    setup.own_ports = [25, address.port()].into();
    let target = Target::Found {
        host: "mx.example".into(),
        addresses: [address.ip()].into(),
        port: address.port(),
    };
    let failure = Connection::open(&target, &setup).await.err().unwrap();
    assert_eq!(failure.cause, OpenCause::Loop);
    assert_eq!(
        failure.status.to_string(),
        format!("4.4.6 mx.example is this server itself ({address})")
    );
    // From another address of this machine it is another server's business.
    setup.sources.ipv4 = Some(std::net::Ipv4Addr::new(127, 0, 0, 2));
    let host = tokio::spawn(async move {
        for _ in 0..2 {
            let (socket, from) = listener.accept().await.unwrap();
            if from.ip() != address.ip() {
                return Peer::new(socket).play(HELLO).await;
            }
        }
    });
    assert!(Connection::open(&target, &setup).await.is_ok());
    host.await.unwrap();
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let (listener, address) = listen().await;
    drop(listener);
    let failure = Connection::open(&at(address), &plain())
        .await
        .err()
        .unwrap();
    assert_eq!(failure.cause, OpenCause::Connect);
    assert_eq!(failure.link.address, None);
    let text = failure.status.to_string();
    let expected = format!("4.4.1 cannot connect to {address}: ");
    assert!(text.starts_with(&expected), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let target = Target::Unix(directory.path().join("lmtp"));
    let failure = Connection::open(&target, &plain()).await.err().unwrap();
    assert_eq!(failure.cause, OpenCause::Connect);
    let text = failure.status.to_string();
    assert!(
        text.starts_with("4.4.1 cannot connect to ") && text.contains("/lmtp: "),
        "{text}"
    );
}

#[tokio::test]
async fn scram_signs_in_without_saying_the_password() {
    let (listener, address) = listen().await;
    let (config, fingerprint) = secret();
    let host = tokio::spawn(async move {
        let mut peer = accepted(&listener).await.secure(config).await.unwrap();
        peer.play(
            "
            S: 220 hop.example ESMTP
            C: EHLO client.example
            S: 250-hop.example
            S: 250 AUTH PLAIN SCRAM-SHA-256
            ",
        )
        .await;
        let knew = scram(&mut peer, "tulips-and-4-onions").await;
        peer.play(GOODBYE).await;
        knew
    });
    let setup = with_credentials(implicit(fingerprint));
    let connection = Connection::open(&at(address), &setup).await.unwrap();
    connection.quit().await;
    assert!(host.await.unwrap());
}

#[tokio::test]
async fn plain_signs_in_behind_starttls_and_a_refusal_is_told() {
    for (reply, refused) in [
        ("235 2.7.0 welcome", None),
        ("535 5.7.8 no", Some("4.7.8 535 5.7.8 no")),
    ] {
        let (listener, address) = listen().await;
        let (config, fingerprint) = secret();
        let host = tokio::spawn(async move {
            let mut peer = accepted(&listener).await;
            peer.play(
                "
                S: 220 hop.example ESMTP
                C: EHLO client.example
                S: 250-hop.example
                S: 250-AUTH PLAIN
                S: 250 STARTTLS
                C: STARTTLS
                S: 220 go
                ",
            )
            .await;
            let mut peer = peer.secure(config).await.unwrap();
            peer.play(
                "
                C: EHLO client.example
                S: 250-hop.example
                S: 250 AUTH PLAIN
                ",
            )
            .await;
            let command = peer.hear().await;
            let response = decoded(command.strip_prefix("AUTH PLAIN ").unwrap());
            assert_eq!(response, "\0alice\0tulips-and-4-onions");
            peer.play(&format!("S: {reply}")).await;
            peer.play(GOODBYE).await;
        });
        let setup = with_credentials(starttls(fingerprint));
        match (Connection::open(&at(address), &setup).await, refused) {
            (Ok(connection), None) => connection.quit().await,
            (Err(failure), Some(text)) => {
                assert_eq!(failure.cause, OpenCause::Hop(client::Cause::SignIn));
                assert_eq!(failure.status.to_string(), text);
                assert!(failure.link.tls.is_some());
            }
            (opened, _) => panic!("{:?}", opened.err()),
        }
        host.await.unwrap();
    }
}

/// S9: whether they come with the reply or behind it, octets in the clear end it all.
#[tokio::test]
async fn octets_behind_the_reply_to_starttls_are_never_obeyed() {
    let offer = "
        S: 220 hop.example ESMTP
        C: EHLO client.example
        S: 250-hop.example
        S: 250 STARTTLS
        C: STARTTLS
    ";
    let injected = "220 go\r\n250-hop.example\r\n250 AUTH PLAIN\r\n";
    let setup = with_credentials(starttls([7; 32]));
    let told = |failure: Box<OpenFailure>| {
        assert_eq!(failure.cause, OpenCause::Hop(client::Cause::Tls));
        assert_eq!(
            failure.status.to_string(),
            "4.7.5 octets followed the reply to STARTTLS before the handshake"
        );
        assert_eq!(failure.link.tls, None);
    };
    // A line at a time: the rest is unread when the first is acted on.
    let (pipe, mut peer) = Pipe::new(4096);
    let host = tokio::spawn(async move {
        peer.play(offer).await;
        peer.say(injected).await;
        peer.rest().await.0
    });
    told(greet(pipe, &setup).await.err().unwrap());
    assert!(host.await.unwrap().is_empty());
    // All at once.
    let (listener, address) = listen().await;
    let host = tokio::spawn(async move {
        let mut peer = accepted(&listener).await;
        peer.play(offer).await;
        peer.say(injected).await;
        peer.rest().await.0
    });
    told(Connection::open(&at(address), &setup).await.err().unwrap());
    assert!(host.await.unwrap().is_empty());
}

/// S11: whoever cannot prove itself learns neither a name nor a password nor of any message.
#[tokio::test]
async fn a_wrong_certificate_sees_neither_auth_nor_mail() {
    let (config, fingerprint) = secret();
    for begins_secure in [true, false] {
        let (listener, address) = listen().await;
        let config = config.clone();
        let host = tokio::spawn(async move {
            let mut peer = accepted(&listener).await;
            if !begins_secure {
                peer.play(
                    "
                    S: 220 hop.example ESMTP
                    C: EHLO client.example
                    S: 250-hop.example
                    S: 250-AUTH PLAIN
                    S: 250 STARTTLS
                    C: STARTTLS
                    S: 220 go
                    ",
                )
                .await;
            }
            // With TLS 1.3 this end may be content before the other one refuses.
            match peer.secure(config).await {
                Ok(mut peer) => peer.rest().await.0,
                Err(_) => Vec::new(),
            }
        });
        let setup = match begins_secure {
            true => implicit([7; 32]),
            false => starttls([7; 32]),
        };
        let setup = with_credentials(setup);
        let failure = Connection::open(&at(address), &setup).await.err().unwrap();
        let fault = CertificateFault::NotPinned { fingerprint };
        assert_eq!(
            failure.cause,
            OpenCause::Tls(HandshakeError::Certificate(fault))
        );
        assert!(
            failure
                .status
                .to_string()
                .starts_with("4.7.5 the certificate is none of those")
        );
        assert_eq!(failure.link.address, Some(address));
        assert!(host.await.unwrap().is_empty());
    }
}

/// Whoever is at the other end of an unproved channel gets a message where that is enough, and a
/// password never.
#[tokio::test]
async fn an_unproved_channel_carries_no_password() {
    let anyone = tls::Client::open(Trust::Anyone).unwrap();
    let setup = |security| {
        let tls = Tls::Implicit(anyone.clone(), name());
        Setup::new(Arc::new(options(security)), tls)
    };
    for (setup, told) in [
        (setup(Security::Encrypted), None),
        (
            with_credentials(setup(Security::Encrypted)),
            Some("4.7.0 credentials are not sent to a host that has not proved its name"),
        ),
        (
            setup(Security::Proved),
            Some("4.7.5 the next hop did not prove its name, and that is required"),
        ),
    ] {
        let (pipe, peer) = Pipe::new(4096);
        let (config, _) = secret();
        let host = tokio::spawn(async move {
            let mut peer = peer.secure(config).await.unwrap();
            peer.play(
                "
                S: 220 hop.example ESMTP
                C: EHLO client.example
                S: 250-hop.example
                S: 250 AUTH PLAIN
                ",
            )
            .await;
            let next = peer.hear().await;
            assert!(next.is_empty() || next == "QUIT", "{next}");
        });
        match (greet(pipe, &setup).await, told) {
            (Ok(connection), None) => {
                assert_eq!(connection.link().tls.clone().unwrap().proof, Proof::None);
            }
            (Err(failure), Some(text)) => assert_eq!(failure.status.to_string(), text),
            (opened, _) => panic!("{:?}", opened.err()),
        }
        host.await.unwrap();
    }
}

#[tokio::test]
async fn a_port_without_tls_is_told_by_what_it_says() {
    let (listener, address) = listen().await;
    let host = tokio::spawn(async move {
        let mut peer = accepted(&listener).await;
        peer.say("220 hop.example ESMTP\r\n").await;
        peer.rest().await.0
    });
    let failure = Connection::open(&at(address), &implicit([7; 32])).await;
    assert_eq!(
        failure.err().unwrap().status.to_string(),
        "4.7.10 the host does not speak TLS here; it said \"220 hop.example ESMTP\""
    );
    // The hello, and an alert at most.
    assert_eq!(host.await.unwrap().first(), Some(&0x16));
}

#[tokio::test]
async fn what_the_host_refuses_is_its_own_word() {
    for (script, cause, status) in [
        (
            "
            S: 554 5.7.1 go away
            C: QUIT
            S: 221 bye
            ",
            client::Cause::Greeting,
            "4.7.1 554 5.7.1 go away",
        ),
        (
            "S: 421 4.3.2 later",
            client::Cause::Ending,
            "4.3.2 421 4.3.2 later",
        ),
        (
            "
            S: 220 hop.example ESMTP
            C: EHLO client.example
            S: 250 hop.example
            C: QUIT
            S: 221 bye
            ",
            client::Cause::Tls,
            "4.7.10 the next hop does not offer STARTTLS, and TLS is required",
        ),
        (
            "S: HTTP/1.1 400 Bad Request",
            client::Cause::Protocol,
            "4.5.0 not a reply: HTTP/1.1 400 Bad Request while waiting for the greeting",
        ),
    ] {
        let (pipe, mut peer) = Pipe::new(4096);
        let setup = starttls([7; 32]);
        let (opened, ()) = tokio::join!(greet(pipe, &setup), peer.play(script));
        let failure = opened.err().unwrap();
        assert_eq!(failure.cause, OpenCause::Hop(cause));
        assert_eq!(failure.status.to_string(), status);
    }
}

/// A set-up that contradicts itself sends nothing.
#[tokio::test]
async fn starttls_without_anybody_to_trust_goes_no_further() {
    let (pipe, mut peer) = Pipe::new(4096);
    let setup = Setup::new(Arc::new(options(Security::Encrypted)), Tls::None);
    let script = "
        S: 220 hop.example ESMTP
        C: EHLO client.example
        S: 250-hop.example
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
    ";
    let (opened, ()) = tokio::join!(greet(pipe, &setup), peer.play(script));
    let failure = opened.err().unwrap();
    assert_eq!(failure.cause, OpenCause::Hop(client::Cause::Local));
    assert!(peer.rest().await.0.is_empty());
}

#[tokio::test]
async fn opening_and_sending_can_move_between_threads() {
    fn moves<T: Send>(value: T) -> T {
        value
    }
    let (target, setup) = (Target::Unix("/nowhere".into()), plain());
    let opening = moves(Connection::open(&target, &setup));
    assert!(opening.await.is_err());
    let (mut connection, _peer) = opened(4096, HELLO, &setup).await;
    let (message, content) = message(&["b@y.example"], b"x\r\n");
    drop(moves(connection.send(message, content)));
}
