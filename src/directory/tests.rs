//! Directories that misbehave.

use std::time::Instant;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use super::*;

fn question(password: &str) -> Question {
    Question {
        name: "alice@example.org".to_owned(),
        password: password.into(),
        peer: "192.0.2.1".parse().unwrap(),
        turn: Turn::Stranger,
    }
}

fn dovecot(socket: PathBuf) -> Directory {
    Directory::open(&Options {
        service: Service::Dovecot(socket),
        creates: true,
        domain: String::new(),
        remember: Duration::from_secs(60),
        limit: Duration::from_millis(500),
        at_once: 1,
    })
    .unwrap()
}

/// Says this to everybody who comes.
fn says(listener: UnixListener, words: &'static [u8], then_hangs: bool) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(words).await;
            if then_hangs {
                tokio::spawn(async move {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
            }
        }
    });
}

#[tokio::test]
async fn what_gives_no_word_is_neither_yes_nor_no() {
    let hello = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n";
    for (words, then_hangs) in [
        (&b""[..], true),
        (b"", false),
        (b"garbage\n", false),
        (b"VERSION\t2\t0\n", true),
        (b"VERSION\t1\t2\nDONE\n", true),
        (b"\xff\xfe\n", true),
        (hello.as_bytes(), true),
        (b"VERSION\t1\t2\nMECH\tPLAIN\nDONE\nFAIL\t1\ttemp\n", true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("auth");
        says(UnixListener::bind(&socket).unwrap(), words, then_hangs);
        let (dovecot, began) = (dovecot(socket), Instant::now());
        let answer = dovecot.check(question("secret")).await;
        assert!(answer.is_err(), "{words:?} {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let nowhere = dovecot("/nonexistent/auth".into());
    assert!(nowhere.check(question("secret")).await.is_err());
}

/// RFC 4513 §5.1.2.
#[tokio::test]
async fn nobody_is_asked_about_no_password() {
    let nowhere = dovecot("/nonexistent/auth".into());
    assert_eq!(nowhere.check(question("")).await, Ok(None));
}

/// However many strangers hang there, somebody who is known gets an answer.
#[tokio::test]
async fn strangers_leave_turns_to_those_who_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("auth");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        // Only who is known is answered.
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let hello = b"VERSION\t1\t2\nMECH\tPLAIN\nDONE\n";
                let _ = stream.write_all(hello).await;
                let mut asked = vec![0; 1024];
                let mut read = 0;
                while let Ok(count @ 1..) = stream.read(&mut asked[read..]).await {
                    read += count;
                    if String::from_utf8_lossy(&asked[..read]).contains("rip=192.0.2.9") {
                        let _ = stream.write_all(b"OK\t1\tuser=alice\n").await;
                    }
                }
            });
        }
    });
    let service = Service::Dovecot(socket);
    let dovecot = Arc::new(
        Directory::open(&Options {
            service,
            creates: true,
            domain: String::new(),
            remember: Duration::from_secs(60),
            limit: Duration::from_secs(20),
            at_once: 4,
        })
        .unwrap(),
    );
    let strangers: Vec<_> = (0..50)
        .map(|_| {
            let dovecot = Arc::clone(&dovecot);
            tokio::spawn(async move { dovecot.check(question("guess")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let known = Question {
        peer: "192.0.2.9".parse().unwrap(),
        turn: Turn::Known,
        ..question("secret")
    };
    let answer = dovecot.check(known).await;
    assert_eq!(answer, Ok(Some(Found::default())));
    strangers.iter().for_each(tokio::task::JoinHandle::abort);
}
