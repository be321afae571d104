//! What is sent, and what is kept of it.

use super::*;

#[test]
fn mail_data_is_stuffed_and_ended() {
    for (message, sent) in [
        ("", ".\r\n"),
        ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n"),
        ("no end", "no end\r\n.\r\n"),
    ] {
        assert_eq!(stuffed(message), sent.as_bytes(), "{message:?}");
    }
}

#[tokio::test]
async fn replies_are_read_whole_and_the_password_is_not_kept() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let mut connection = Connection {
        stream: BufReader::new(Box::new(ours)),
        dialogue: Dialogue::default(),
    };
    theirs
        .write_all(b"235-2.7.0 a\r\n235 2.7.0 b\r\nnonsense\r\n")
        .await
        .unwrap();
    let reply = connection
        .sign_in("ann", &SecretString::from("s3cret"))
        .await
        .unwrap();
    assert_eq!((reply.code, reply.lines.len()), (235, 2));
    let said = connection.dialogue.to_string();
    assert!(said.contains("ann") && said.contains("S: 235 2.7.0 b"));
    assert!(!said.contains("s3cret") && !said.contains(&BASE64.encode(b"\0ann\0s3cret")));
    assert!(matches!(
        connection.read_reply().await,
        Err(DialogueError::Garbled(_))
    ));
}
