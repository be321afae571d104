//! One transaction, and everything that may befall it.

use std::{fs, os::fd::AsFd};

use tokio::net::UnixListener;

use super::*;

const ENVELOPE: &str = "
    C: MAIL FROM:<a@x.example>
    C: RCPT TO:<b@y.example>
    C: DATA
    S: 250 ok
    S: 250 ok
    S: 354 go
";

/// Lines with dots where they could do harm.
fn lines(octets: usize) -> Vec<u8> {
    let line = b"..a line that begins with dots, and is as long as lines mostly are......\r\n";
    let mut lines = line.repeat(octets.div_ceil(line.len()));
    lines.truncate(octets.saturating_sub(2));
    lines.extend_from_slice(b"\r\n");
    lines
}

#[tokio::test]
async fn each_recipient_has_its_own_fate() {
    let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
    let host = tokio::spawn(async move {
        peer.play(
            "
            C: MAIL FROM:<a@x.example>
            C: RCPT TO:<b@y.example>
            C: RCPT TO:<c@y.example>
            C: RCPT TO:<d@y.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 550 5.1.1 no such user
            S: 450 4.2.1 busy
            S: 354 go
            ",
        )
        .await;
        let data = peer.data().await;
        peer.play("S: 250 2.0.0 queued as 7").await;
        data
    });
    let recipients = ["b@y.example", "c@y.example", "d@y.example"];
    let (message, content) = message(&recipients, b".\r\n..\r\n");
    let sent = connection.send(message, content).await.unwrap();
    assert_eq!(
        shown(&sent.fates),
        [
            "accepted 2.0.0 250 2.0.0 queued as 7",
            "failed 5.1.1 550 5.1.1 no such user",
            "deferred 4.2.1 450 4.2.1 busy",
        ]
    );
    assert_eq!(
        (sent.standing, sent.reach),
        (Standing::Ready, Reach::SomeContent)
    );
    assert_eq!(host.await.unwrap(), [HEADER, b".\r\n..\r\n"].concat());
}

/// A message of 20 MiB passes in pieces, by DATA and by BDAT, and arrives as it was.
#[tokio::test]
async fn a_large_body_is_sent_out_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("body");
    let body = lines(20 * 1024 * 1024);
    fs::write(&path, &body).unwrap();
    let expected = Arc::new([HEADER, &body].concat());
    for chunking in [false, true] {
        let (listener, address) = listen().await;
        let (config, fingerprint) = secret();
        let expected = expected.clone();
        let host = tokio::spawn(async move {
            let mut peer = accepted(&listener).await.secure(config).await.unwrap();
            peer.play("S: 220 hop.example ESMTP\nC: EHLO client.example")
                .await;
            let received = if chunking {
                peer.play("S: 250-hop.example\nS: 250 CHUNKING").await;
                for _ in 0..2 {
                    peer.hear().await;
                    peer.play("S: 250 ok").await;
                }
                let mut received = Vec::new();
                loop {
                    let command = peer.hear().await;
                    let mut words = command.split(' ').skip(1);
                    let count = words.next().unwrap().parse().unwrap();
                    received.extend(peer.octets(count).await);
                    if words.next() == Some("LAST") {
                        break received;
                    }
                    peer.play("S: 250 ok").await;
                }
            } else {
                peer.play("S: 250-hop.example\nS: 250 PIPELINING").await;
                peer.play(ENVELOPE).await;
                peer.data().await
            };
            peer.play("S: 250 2.0.0 taken").await;
            assert!(received == *expected);
        });
        let setup = implicit(fingerprint);
        let mut connection = Connection::open(&at(address), &setup).await.unwrap();
        let octets = body.len() as u64;
        let path = path.clone();
        let (message, content) =
            letter(&["b@y.example"], StoredBody::File { path, octets }, octets);
        let sent = connection.send(message, content).await.unwrap();
        assert_eq!(shown(&sent.fates), ["accepted 2.0.0 250 2.0.0 taken"]);
        host.await.unwrap();
    }
}

/// Whether the channel of a test is encrypted.
#[derive(Clone, Copy)]
enum Channel {
    Plain,
    Secure,
}

/// What a host hears in all that says `said` once it has heard so much of the content, and listens
/// on only when the other end is done with it.
async fn interrupted(
    channel: Channel,
    body: &[u8],
    hears: usize,
    said: &'static str,
) -> (Sent, Vec<u8>) {
    let (pipe, mut peer) = Pipe::new(4096);
    let (config, fingerprint) = secret();
    let host = tokio::spawn(async move {
        if let Channel::Secure = channel {
            peer = peer.secure(config).await.unwrap();
        }
        peer.play(HELLO).await;
        peer.play(ENVELOPE).await;
        let mut heard = peer.octets(hears).await;
        peer.play(said).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        heard.extend(peer.rest().await.0);
        heard
    });
    let setup = match channel {
        Channel::Plain => plain(),
        Channel::Secure => implicit(fingerprint),
    };
    let mut connection = greet(pipe, &setup).await.unwrap();
    let (message, content) = message(&["b@y.example"], body);
    let sent = connection.send(message, content).await.unwrap();
    assert_eq!(connection.standing(), sent.standing);
    (sent, host.await.unwrap())
}

/// A host that gives up early is heard while it does not listen, and the end is never said.
#[tokio::test]
async fn a_refusal_is_heard_while_the_content_is_sent() {
    for (channel, octets) in [
        (Channel::Plain, 20_000),
        (Channel::Plain, 2_000_000),
        (Channel::Secure, 40_000),
        (Channel::Secure, 2_000_000),
    ] {
        let said = "S: 552 5.3.4 too big";
        let (sent, heard) = interrupted(channel, &lines(octets), 10_000, said).await;
        assert_eq!(shown(&sent.fates), ["failed 5.3.4 552 5.3.4 too big"]);
        assert_eq!(
            (sent.standing, sent.reach),
            (Standing::Closed, Reach::SomeContent)
        );
        assert!(!heard.ends_with(b"\r\n.\r\n"));
        assert!(heard.len() < octets, "{}", heard.len());
    }
}

/// A message that has not left us cannot have been taken.
#[tokio::test]
async fn an_acceptance_before_the_end_is_none() {
    for channel in [Channel::Plain, Channel::Secure] {
        let said = "S: 250 2.0.0 thanks";
        let (sent, heard) = interrupted(channel, &lines(40_000), 10_000, said).await;
        assert_eq!(
            shown(&sent.fates),
            ["deferred 4.5.0 answered before the message was sent: 250 2.0.0 thanks"]
        );
        assert_eq!(sent.standing, Standing::Closed);
        assert!(!heard.ends_with(b"\r\n.\r\n"));
    }
}

/// The last word of a host that closes is read, though nothing can be written to it any more.
#[tokio::test]
async fn what_a_host_said_before_it_went_counts() {
    for (said, fate) in [
        (
            "S: 452 4.3.1 disk full",
            "deferred 4.3.1 452 4.3.1 disk full",
        ),
        ("S: 421 4.3.2 closing", "deferred 4.3.2 421 4.3.2 closing"),
        (
            "",
            "deferred 4.4.2 connection lost while sending the message",
        ),
    ] {
        let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
        let host = tokio::spawn(async move {
            peer.play(ENVELOPE).await;
            peer.octets(1_000).await;
            peer.play(said).await;
        });
        let (message, content) = message(&["b@y.example"], &lines(500_000));
        let sent = connection.send(message, content).await.unwrap();
        assert_eq!(shown(&sent.fates), [fate]);
        assert_eq!(sent.standing, Standing::Closed);
        host.await.unwrap();
    }
}

/// A host may stop taking octets and hold the line: nobody waits for it.
#[tokio::test]
async fn a_host_that_takes_no_more_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("smtp");
    let listener = UnixListener::bind(&path).unwrap();
    let host = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let deaf = socket.as_fd().try_clone_to_owned().unwrap();
        let mut peer = Peer::new(socket);
        peer.play(HELLO).await;
        peer.play(ENVELOPE).await;
        rustix::net::shutdown(&deaf, rustix::net::Shutdown::Read).unwrap();
        peer
    });
    let target = Target::Unix(path);
    let mut connection = Connection::open(&target, &plain()).await.unwrap();
    let (message, content) = message(&["b@y.example"], &lines(5_000_000));
    let sent = connection.send(message, content).await.unwrap();
    let expected = "deferred 4.4.2 connection lost while sending the message";
    assert_eq!(shown(&sent.fates), [expected]);
    assert_eq!(sent.standing, Standing::Closed);
    drop(host.await.unwrap());
}

/// A body that cannot be had as it was announced is never ended (S20).
#[tokio::test]
async fn a_message_that_cannot_be_read_is_not_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("body");
    for (holds, why) in [
        (
            Some(200_000),
            "its file is not as long as it was said to be",
        ),
        (
            Some(300_001),
            "its file is not as long as it was said to be",
        ),
        (None, "No such file or directory (os error 2)"),
    ] {
        match holds {
            Some(octets) => fs::write(&path, lines(octets)).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
        let host = tokio::spawn(async move {
            peer.play(ENVELOPE).await;
            peer.rest().await.0
        });
        let octets = 300_000;
        let path = path.clone();
        let (message, content) =
            letter(&["b@y.example"], StoredBody::File { path, octets }, octets);
        let sent = connection.send(message, content).await.unwrap();
        let expected = format!("deferred 4.4.2 the message cannot be read from the spool: {why}");
        assert_eq!(shown(&sent.fates), [expected]);
        assert_eq!(sent.standing, Standing::Closed);
        let heard = host.await.unwrap();
        assert!(!heard.ends_with(b"\r\n.\r\n") && heard.len() < 300_000);
    }
}

/// The message itself and its content do not agree.
#[tokio::test]
async fn a_content_of_another_length_is_not_ended() {
    for wrong_by in [-1_i64, 1] {
        let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
        let host = tokio::spawn(async move {
            peer.play(ENVELOPE).await;
            peer.rest().await.0
        });
        let (mut message, content) = message(&["b@y.example"], b"Hello.\r\n");
        message.size_octets = message.size_octets.saturating_add_signed(wrong_by);
        let sent = connection.send(message, content).await.unwrap();
        let expected = "deferred 4.3.0 the message is not as long as it was said to be";
        assert_eq!(shown(&sent.fates), [expected]);
        assert!(!host.await.unwrap().ends_with(b"\r\n.\r\n"));
    }
}

/// Whoever gives up waiting closes the connection: nothing is ended by accident, then or later.
#[tokio::test]
async fn a_send_that_is_dropped_is_not_ended() {
    for octets in [20_000, 500_000] {
        let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
        let (told, heard) = tokio::sync::oneshot::channel();
        let host = tokio::spawn(async move {
            peer.play(ENVELOPE).await;
            let mut seen = peer.octets(5_000).await;
            told.send(()).unwrap();
            // Until the other end is gone.
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen.extend(peer.rest().await.0);
            seen
        });
        let (first, content) = message(&["b@y.example"], &lines(octets));
        tokio::select! {
            _ = connection.send(first, content) => panic!("it cannot have ended"),
            _ = heard => {}
        }
        assert_eq!(connection.standing(), Standing::Closed);
        assert!(!connection.is_idle_alive());
        let (second, content) = message(&["b@y.example"], b"Hello.\r\n");
        let sent = connection.send(second, content).await.unwrap();
        assert_eq!(
            shown(&sent.fates),
            ["deferred 4.4.2 the connection was closed before"]
        );
        assert_eq!(sent.reach, Reach::NoContent);
        connection.quit().await;
        assert!(!host.await.unwrap().ends_with(b"\r\n.\r\n"));
    }
}

#[tokio::test]
async fn eight_bits_come_back_where_the_host_takes_seven() {
    let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
    let (mut eight, content) = message(&["b@y.example"], "gr\u{fc}n\r\n".as_bytes());
    eight.body = BodyType::EightBitMime;
    let needs = connection.send(eight, content).await.unwrap_err();
    assert_eq!(needs.0.body, BodyType::EightBitMime);
    assert_eq!(connection.transactions(), 0);

    let host = tokio::spawn(async move {
        peer.play(ENVELOPE).await;
        let data = peer.data().await;
        peer.play("S: 250 2.0.0 taken").await;
        data
    });
    let (seven, content) = message(&["b@y.example"], b"gr=C3=BCn\r\n");
    let sent = connection.send(seven, content).await.unwrap();
    assert_eq!(shown(&sent.fates), ["accepted 2.0.0 250 2.0.0 taken"]);
    assert_eq!(connection.transactions(), 1);
    assert_eq!(host.await.unwrap(), [HEADER, b"gr=C3=BCn\r\n"].concat());
}
