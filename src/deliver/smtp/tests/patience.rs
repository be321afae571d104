//! Hosts that fall silent, under a clock that is turned by hand.

use tokio::time::Instant;

use super::*;
use crate::client;

/// A host that plays a script and then only holds the line.
fn silent_after(script: &'static str, capacity: usize) -> Pipe {
    let (pipe, mut peer) = Pipe::new(capacity);
    tokio::spawn(async move {
        peer.play(script).await;
        std::future::pending::<()>().await;
    });
    pipe
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_while_it_is_greeted_is_given_up() {
    let signing_in = with_credentials(plain());
    let mut patient = starttls([7; 32]);
    // Longer than any single wait.
    patient.opening_limit = Duration::from_secs(3_600);
    let limited = starttls([7; 32]);
    let in_tls = {
        let mut setup = implicit([7; 32]);
        setup.opening_limit = Duration::from_secs(3_600);
        setup
    };
    for (setup, script, seconds, status) in [
        (
            &patient,
            "",
            300,
            "4.4.1 nothing for 300 s while waiting for the greeting",
        ),
        (
            &patient,
            "
            S: 220 hop.example
            C: EHLO client.example
            ",
            300,
            "4.4.2 nothing for 300 s while waiting for the answer to EHLO",
        ),
        (
            &patient,
            "
            S: 220 hop.example
            C: EHLO client.example
            S: 250-hop.example
            S: 250 STARTTLS
            C: STARTTLS
            ",
            300,
            "4.4.2 nothing for 300 s while waiting for the answer to STARTTLS",
        ),
        (
            &patient,
            "
            S: 220 hop.example
            C: EHLO client.example
            S: 250-hop.example
            S: 250 STARTTLS
            C: STARTTLS
            S: 220 go
            ",
            60,
            "4.4.2 the TLS handshake was not finished in time",
        ),
        (
            &in_tls,
            "",
            60,
            "4.4.2 the TLS handshake was not finished in time",
        ),
        (
            &signing_in,
            "
            S: 220 hop.example
            C: EHLO client.example
            S: 250-hop.example
            S: 250 AUTH LOGIN
            C: AUTH LOGIN
            ",
            180,
            "4.4.2 nothing for 180 s while waiting for the answer to AUTH",
        ),
        // What was found out is told, though the host does not answer QUIT.
        (
            &limited,
            "
            S: 220 hop.example
            C: EHLO client.example
            S: 250 hop.example
            C: QUIT
            ",
            10,
            "4.7.10 the next hop does not offer STARTTLS, and TLS is required",
        ),
    ] {
        let began = Instant::now();
        let failure = greet(silent_after(script, 4096), setup)
            .await
            .err()
            .unwrap();
        assert_eq!(failure.status.to_string(), status);
        assert_eq!(began.elapsed().as_secs(), seconds, "{status}");
    }
}

/// Each answer comes in time, and the whole takes too long.
#[tokio::test(start_paused = true)]
async fn a_host_that_dawdles_is_given_up() {
    let (pipe, mut peer) = Pipe::new(4096);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(100)).await;
            peer.say("220-hop.example\r\n").await;
        }
    });
    let began = Instant::now();
    let mut setup = plain();
    setup.opening_limit = Duration::from_secs(250);
    let failure = greet(pipe, &setup).await.err().unwrap();
    assert_eq!(failure.cause, OpenCause::Hop(client::Cause::Timeout));
    assert_eq!(
        failure.status.to_string(),
        "4.4.2 the next hop was not ready for mail in time"
    );
    assert_eq!(began.elapsed().as_secs(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_in_a_transaction_is_given_up() {
    const HELLO: &str = "
        S: 220 hop.example
        C: EHLO client.example
        S: 250 hop.example
    ";
    for (script, seconds, fate, reach) in [
        (
            "C: MAIL FROM:<a@x.example>",
            300,
            "deferred 4.4.2 nothing for 300 s while waiting for the answer to MAIL",
            Reach::NoContent,
        ),
        (
            "
            C: MAIL FROM:<a@x.example>
            S: 250 ok
            C: RCPT TO:<b@y.example>
            ",
            300,
            "deferred 4.4.2 nothing for 300 s while waiting for the answer to RCPT",
            Reach::NoContent,
        ),
        (
            "
            C: MAIL FROM:<a@x.example>
            S: 250 ok
            C: RCPT TO:<b@y.example>
            S: 250 ok
            C: DATA
            ",
            120,
            "deferred 4.4.2 nothing for 120 s while waiting for the answer to DATA",
            Reach::NoContent,
        ),
        // It takes no octet of the content.
        (
            "
            C: MAIL FROM:<a@x.example>
            S: 250 ok
            C: RCPT TO:<b@y.example>
            S: 250 ok
            C: DATA
            S: 354 go
            ",
            180,
            "deferred 4.4.2 nothing for 180 s while sending the message",
            Reach::SomeContent,
        ),
        (
            "
            C: MAIL FROM:<a@x.example>
            S: 550 5.7.1 not you
            C: RSET
            ",
            300,
            "failed 5.7.1 550 5.7.1 not you",
            Reach::NoContent,
        ),
    ] {
        let (pipe, mut peer) = Pipe::new(4096);
        tokio::spawn(async move {
            peer.play(HELLO).await;
            peer.play(script).await;
            std::future::pending::<()>().await;
        });
        let mut connection = greet(pipe, &plain()).await.unwrap();
        let body = vec![b'x'; 70]
            .into_iter()
            .chain(*b"\r\n")
            .collect::<Vec<u8>>();
        let (message, content) = message(&["b@y.example"], &body.repeat(5_000));
        let began = Instant::now();
        let sent = connection.send(message, content).await.unwrap();
        assert_eq!(shown(&sent.fates), [fate]);
        assert_eq!(began.elapsed().as_secs(), seconds, "{fate}");
        assert_eq!((sent.standing, sent.reach), (Standing::Closed, reach));
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_gives_no_verdict_is_given_up() {
    let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
    tokio::spawn(async move {
        for _ in 0..3 {
            peer.hear().await;
        }
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
        peer.data().await;
        std::future::pending::<()>().await;
    });
    let (message, content) = message(&["b@y.example"], b"Hello.\r\n");
    let began = Instant::now();
    let sent = connection.send(message, content).await.unwrap();
    let expected =
        "deferred 4.4.2 nothing for 600 s while waiting for the answer to the end of the message";
    assert_eq!(shown(&sent.fates), [expected]);
    assert_eq!(began.elapsed().as_secs(), 600);
    assert_eq!(sent.reach, Reach::SomeContent);
}

/// A message goes on as long as its octets do, however slowly.
#[tokio::test(start_paused = true)]
async fn a_host_that_reads_slowly_is_borne() {
    let (mut connection, mut peer) = opened(4096, HELLO, &plain()).await;
    let body = b"a line\r\n".repeat(40_000);
    let octets = HEADER.len() + body.len();
    let host = tokio::spawn(async move {
        for _ in 0..3 {
            peer.hear().await;
        }
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
        let mut left = octets;
        while left > 0 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            let count = left.min(32 * 1024);
            peer.octets(count).await;
            left -= count;
        }
        assert_eq!(peer.data().await, b"");
        peer.say("250 2.0.0 taken\r\n").await;
    });
    let (message, content) = message(&["b@y.example"], &body);
    let sent = connection.send(message, content).await.unwrap();
    assert_eq!(shown(&sent.fates), ["accepted 2.0.0 250 2.0.0 taken"]);
    host.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_farewell() {
    let (connection, mut peer) = opened(4096, HELLO, &plain()).await;
    let host = tokio::spawn(async move {
        peer.hear().await;
        peer.rest().await.0
    });
    let began = Instant::now();
    connection.quit().await;
    assert_eq!(began.elapsed().as_secs(), 10);
    assert!(host.await.unwrap().is_empty());
}
