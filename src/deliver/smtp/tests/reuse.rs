//! A connection between its messages.

use super::*;
use crate::client::Fate;

async fn take(peer: &mut Peer, reply: &str) {
    peer.play(
        "
        C: MAIL FROM:<a@x.example>
        C: RCPT TO:<b@y.example>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        ",
    )
    .await;
    peer.data().await;
    peer.say(reply).await;
}

async fn send(connection: &mut Connection) -> Sent {
    let (message, content) = message(&["b@y.example"], b"Hello.\r\n");
    connection.send(message, content).await.unwrap()
}

/// Until the runtime has heard of what happened on the wire.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn one_connection_carries_one_message_after_another() {
    let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
    let opened_at = connection.last_used();
    let host = tokio::spawn(async move {
        for reply in [
            "250 2.0.0 one\r\n",
            "550 5.7.1 two\r\n",
            "250 2.0.0 three\r\n",
        ] {
            take(&mut peer, reply).await;
        }
        peer.play("C: QUIT\nS: 221 bye").await;
        peer.rest().await.0
    });
    for fate in [
        "accepted 2.0.0 250 2.0.0 one",
        "failed 5.7.1 550 5.7.1 two",
        "accepted 2.0.0 250 2.0.0 three",
    ] {
        assert!(connection.is_idle_alive());
        let sent = send(&mut connection).await;
        assert_eq!(shown(&sent.fates), [fate]);
        assert_eq!(sent.standing, Standing::Ready);
    }
    assert_eq!(connection.transactions(), 3);
    assert!(connection.last_used() >= opened_at);
    connection.quit().await;
    assert!(host.await.unwrap().is_empty());
}

/// Nobody taken: RSET, and the next message.
#[tokio::test]
async fn a_transaction_without_recipients_is_reset() {
    let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
    let host = tokio::spawn(async move {
        peer.play(
            "
            C: MAIL FROM:<a@x.example>
            C: RCPT TO:<b@y.example>
            C: DATA
            S: 250 ok
            S: 550 5.1.1 no such user
            S: 554 5.5.1 nobody there
            C: RSET
            S: 250 ok
            ",
        )
        .await;
        take(&mut peer, "250 2.0.0 taken\r\n").await;
    });
    let sent = send(&mut connection).await;
    assert_eq!(shown(&sent.fates), ["failed 5.1.1 550 5.1.1 no such user"]);
    assert_eq!(
        (sent.standing, sent.reach),
        (Standing::Ready, Reach::NoContent)
    );
    let sent = send(&mut connection).await;
    assert_eq!(shown(&sent.fates), ["accepted 2.0.0 250 2.0.0 taken"]);
    host.await.unwrap();
}

/// Once with and once without TLS, where tickets come behind the handshake and say nothing.
#[tokio::test]
async fn a_host_that_speaks_or_goes_while_idle_is_left() {
    for secure in [false, true] {
        for parting in ["421 4.4.2 idle too long\r\n", ""] {
            let (listener, address) = listen().await;
            let (config, fingerprint) = secret();
            let (go, gone) = tokio::sync::oneshot::channel::<()>();
            let host = tokio::spawn(async move {
                let mut peer = accepted(&listener).await;
                if secure {
                    peer = peer.secure(config).await.unwrap();
                }
                peer.play(HELLO).await;
                gone.await.unwrap();
                if parting.is_empty() {
                    return;
                }
                peer.say(parting).await;
                let _ = peer.rest().await;
            });
            let setup = if secure {
                implicit(fingerprint)
            } else {
                plain()
            };
            let mut connection = Connection::open(&at(address), &setup).await.unwrap();
            settle().await;
            assert!(connection.is_idle_alive());
            go.send(()).unwrap();
            settle().await;
            assert!(!connection.is_idle_alive(), "{secure} {parting:?}");
            assert_eq!(connection.standing(), Standing::Closed);
            connection.quit().await;
            host.await.unwrap();
        }
    }
}

/// A message may be sent anew at once where the connection was stale: no octet of it was written.
#[tokio::test]
async fn a_stale_connection_has_sent_nothing() {
    for parting in ["421 4.4.2 idle too long\r\n", ""] {
        let (listener, address) = listen().await;
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let host = tokio::spawn(async move {
            let mut peer = accepted(&listener).await;
            peer.play(HELLO).await;
            gone.await.unwrap();
            peer.say(parting).await;
        });
        let mut connection = Connection::open(&at(address), &plain()).await.unwrap();
        go.send(()).unwrap();
        host.await.unwrap();
        let sent = send(&mut connection).await;
        assert_eq!(
            (sent.standing, sent.reach),
            (Standing::Closed, Reach::NoContent)
        );
        assert!(
            matches!(sent.fates[..], [Fate::Deferred(_)]),
            "{:?}",
            sent.fates
        );
    }
}

/// RFC 9422: a host that takes one message a session is left politely behind it.
#[tokio::test]
async fn a_host_with_limits_is_left_when_they_are_reached() {
    let script = "
        S: 220 hop.example ESMTP
        C: EHLO client.example
        S: 250-hop.example
        S: 250-PIPELINING
        S: 250 LIMITS MAILMAX=1
    ";
    let (mut connection, mut peer) = opened(4096, script, &plain()).await;
    let host = tokio::spawn(async move {
        take(&mut peer, "250 2.0.0 taken\r\n").await;
        peer.play("C: QUIT\nS: 221 bye").await;
    });
    let sent = send(&mut connection).await;
    assert_eq!(shown(&sent.fates), ["accepted 2.0.0 250 2.0.0 taken"]);
    assert_eq!(sent.standing, Standing::Closed);
    host.await.unwrap();
}
