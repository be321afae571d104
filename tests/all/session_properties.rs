//! What holds for the bare session whatever a client sends and however it is cut.

use std::{sync::Arc, time::Duration};

use gatepost::{
    envelope::{AccountId, Identity, Moment, QueueId, TlsFacts, TlsVersion},
    sasl::{Ring, SERVER_NONCE_OCTETS},
    session::{
        Channel, KeysVerdict, MessageVerdict, Output, Question, RecipientVerdict, SenderVerdict,
        Session, SignInVerdict, Verdict,
    },
};
use proptest::prelude::*;

use crate::transcripts::bare;

/// Everything that a driver would see: octets sent, content handed on, and the end.
#[derive(Debug, Default, Eq, PartialEq)]
struct Seen {
    sent: Vec<u8>,
    messages: Vec<Vec<u8>>,
    content: Vec<u8>,
    closed: bool,
}

fn drain(session: &mut Session, now: Moment, seen: &mut Seen) {
    while let Some(output) = session.poll() {
        assert!(!seen.closed, "{output:?} after close");
        match output {
            Output::Send(reply) | Output::StartTls(reply) => reply.write(&mut seen.sent),
            Output::Content(octets) => seen.content.extend(octets),
            Output::CredentialsInClear | Output::Hint(_) => {}
            Output::ContentAbort => seen.content.clear(),
            Output::Close => seen.closed = true,
            Output::Ask(question) => {
                let verdict = match question {
                    Question::Keys(_) => Verdict::Keys(KeysVerdict::Given {
                        ring: Ring {
                            salt: Box::new([7; 16]),
                            iterations: 4_096,
                            keys: Vec::new(),
                        },
                        random: [9; SERVER_NONCE_OCTETS],
                    }),
                    Question::SignIn { .. } => Verdict::SignIn(SignInVerdict::Granted(Identity {
                        account: AccountId(1),
                        name: "alice".into(),
                        app_password: None,
                    })),
                    Question::Sender { .. } => Verdict::Sender(SenderVerdict::Granted),
                    Question::Recipient { .. } => Verdict::Recipient(RecipientVerdict::Granted),
                    Question::Message { .. } => {
                        seen.messages.push(std::mem::take(&mut seen.content));
                        let id = QueueId::new(ulid::Ulid(1));
                        Verdict::Message(MessageVerdict::Accepted(id))
                    }
                };
                session.answer(now, verdict);
            }
        }
    }
}

fn play(input: &[u8], sizes: &[usize]) -> Seen {
    let facts = TlsFacts {
        version: TlsVersion::V13,
        suite: "TLS_AES_128_GCM_SHA256",
        group: None,
        server_name: None,
        resumed: false,
    };
    let now = Moment(Duration::from_secs(5));
    let options = Arc::new(bare::options());
    let mut session = Session::new(Channel::Secure(facts.into()), options, now);
    let mut seen = Seen::default();
    drain(&mut session, now, &mut seen);
    let (mut at, mut turn) = (0, 0);
    while at < input.len() && !seen.closed {
        let size = sizes[turn % sizes.len()].clamp(1, input.len() - at);
        turn += 1;
        let mut piece = &input[at..at + size];
        at += size;
        while !piece.is_empty() && !seen.closed {
            let consumed = session.receive(now, piece);
            piece = &piece[consumed..];
            drain(&mut session, now, &mut seen);
        }
    }
    session.eof(now);
    drain(&mut session, now, &mut seen);
    assert!(seen.closed, "a session whose client is gone must close");
    seen
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        &b"EHLO x\r\n"[..],
        b"AUTH PLAIN AGEAYg==\r\n",
        b"AUTH LOGIN\r\n",
        b"YQ==\r\n",
        b"*\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\n..y\r\n",
        b".\r\n",
        b"BDAT 5\r\nabcde",
        b"BDAT 4 LAST\r\nab\r\n",
        b"BDAT 99999999\r\n",
        b"BDAT x\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"\n.\n",
        b"\r.\r",
        b"\0",
        b"STARTTLS\r\n",
        b"VRFY \xc3\xa9\r\n",
        b"GET / HTTP/1.0\r\n",
    ]);
    prop_oneof![
        6 => fixed.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    /// R3030-2i, R2920-3.2g: no input panics, and no cut of it changes what comes of it.
    #[test]
    fn any_split_gives_the_same_outputs(
        commands in prop::collection::vec(command(), 0..30),
        sizes in prop::collection::vec(1usize..23, 1..6),
    ) {
        let start = b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\n".to_vec();
        let input = [start, commands.concat()].concat();
        let whole = play(&input, &[usize::MAX]);
        prop_assert_eq!(&play(&input, &sizes), &whole);
        prop_assert_eq!(&play(&input, &[1]), &whole);
    }

    /// What is handed on never holds anything that a next hop could take for an end.
    #[test]
    fn content_is_clean_whatever_is_sent(
        body in prop::collection::vec(prop::sample::select(&b"a.\r\n\0"[..]), 0..80),
    ) {
        let start = b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.example>\r\n\
            RCPT TO:<c@d.example>\r\nDATA\r\n".to_vec();
        let input = [start, body, b"\r\n.\r\n".to_vec()].concat();
        for message in play(&input, &[usize::MAX]).messages {
            let text = String::from_utf8(message).unwrap();
            prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']));
        }
    }
}

/// One mebibyte of noise gets replies or an end, and no panic (R3030-2i).
#[test]
fn a_flood_of_noise_is_borne() {
    let mut state = 1u32;
    let noise: Vec<u8> = (0..1_048_576)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    let seen = play(&noise, &[1_460]);
    assert!(seen.messages.is_empty());
    assert!(seen.sent.starts_with(b"220 "));
}

/// The second call to `shutdown` does not wait for a transaction (R5321-3.8c).
#[test]
fn a_stopping_server_says_so() {
    let now = Moment::default();
    let options = Arc::new(bare::options());
    let last = |session: &mut Session| {
        let mut seen = Seen::default();
        drain(session, now, &mut seen);
        (String::from_utf8(seen.sent).unwrap(), seen.closed)
    };
    let mut idle = Session::new(Channel::Plain, options.clone(), now);
    last(&mut idle);
    idle.shutdown(now);
    let (sent, closed) = last(&mut idle);
    assert!(
        sent.starts_with("421 4.3.2 mail.example.org ") && closed,
        "{sent}"
    );

    let mut busy = Session::new(Channel::Plain, options, now);
    last(&mut busy);
    assert_eq!(busy.receive(now, b"NOO"), 3);
    busy.shutdown(now);
    let (sent, closed) = last(&mut busy);
    assert!(sent.starts_with("421 4.3.2 ") && closed, "{sent}");
}

/// Ten thousand idle sessions must not cost more than they need: beside the TLS record buffer a
/// session is a few hundred octets, and it holds no buffer between commands.
#[test]
fn an_idle_session_is_small() {
    assert!(
        size_of::<Session>() <= 448,
        "{} octets",
        size_of::<Session>()
    );
}
