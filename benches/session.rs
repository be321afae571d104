//! What the words and the session cost: content framing, and one whole transaction.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatepost::{
    envelope::{AccountId, Identity, Moment, QueueId, TlsFacts, TlsVersion},
    sasl::Mechanism,
    session::{
        Channel, KeysVerdict, MessageVerdict, Options, Output, Question, RecipientVerdict,
        SenderVerdict, Session, SignInVerdict, Verdict,
    },
    smtp::{ContentDecoder, Domain, Mailbox, Tolerance, write_data},
};

fn message(octets: usize) -> Vec<u8> {
    let mut content = b"From: alice@example.org\r\nSubject: x\r\n\r\n".to_vec();
    while content.len() < octets {
        content
            .extend_from_slice(b".A line of text as people write them, seventy octets or so.\r\n");
    }
    content
}

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing");
    for octets in [4_096, 1_048_576] {
        let mut sent = Vec::new();
        write_data(&message(octets), &mut sent);
        group.throughput(Throughput::Bytes(sent.len() as u64));
        group.bench_function(format!("decode {octets} octets"), |b| {
            let mut out = Vec::with_capacity(sent.len());
            b.iter(|| {
                out.clear();
                let mut decoder = ContentDecoder::for_data(Tolerance::default());
                for piece in sent.chunks(16_384) {
                    decoder.decode(black_box(piece), &mut out);
                }
                assert!(decoder.has_ended());
            });
        });
    }
    group.finish();
}

fn options() -> Options {
    Options {
        hostname: Domain::parse("mail.example.org").expect("a domain"),
        message_size: 50_000_000,
        recipients: 100,
        messages: 1_000,
        errors: 20,
        sign_in_failures: 5,
        mechanisms: Mechanism::ALL.into(),
        future_release: Duration::from_secs(7 * 86_400),
        advice: gatepost::sasl::TokenAdvice::default(),
        tolerance: Tolerance::default(),
        postmaster: Mailbox::parse("alice@example.org").expect("a mailbox"),
        greeting: "ESMTP Gatepost ready".into(),
        contact: String::new(),
        idle: Duration::from_secs(300),
        line: Duration::from_secs(60),
        data: Duration::from_secs(300),
        data_rate: 500,
        sign_in: Duration::from_secs(120),
        session: Duration::from_secs(3_600),
    }
}

fn drain(session: &mut Session, now: Moment, out: &mut Vec<u8>) {
    while let Some(output) = session.poll() {
        match output {
            Output::Send(reply) | Output::StartTls(reply) => reply.write(out),
            Output::Content(octets) => drop(black_box(octets)),
            Output::ContentAbort | Output::CredentialsInClear | Output::Hint(_) | Output::Close => {
            }
            Output::Ask(question) => session.answer(
                now,
                match question {
                    Question::Keys(_) => Verdict::Keys(KeysVerdict::Unavailable),
                    Question::SignIn { .. } => Verdict::SignIn(SignInVerdict::Granted(Identity {
                        account: AccountId(1),
                        name: "alice".into(),
                        app_password: None,
                    })),
                    Question::Sender { .. } => Verdict::Sender(SenderVerdict::Granted),
                    Question::Recipient { .. } => Verdict::Recipient(RecipientVerdict::Granted),
                    Question::Message { .. } => {
                        Verdict::Message(MessageVerdict::Accepted(QueueId::new(ulid::Ulid(1))))
                    }
                },
            ),
        }
    }
}

fn transaction(c: &mut Criterion) {
    let facts = TlsFacts {
        version: TlsVersion::V13,
        suite: "TLS_AES_128_GCM_SHA256",
        group: None,
        server_name: None,
        resumed: false,
    };
    let now = Moment::default();
    let options = Arc::new(Options {
        messages: 999_999,
        ..options()
    });
    let mut data = Vec::new();
    write_data(&message(4_096), &mut data);
    let mut group = c.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one transaction of 4 KiB", |b| {
        let new = || {
            let mut session =
                Session::new(Channel::Secure(facts.clone().into()), options.clone(), now);
            let mut out = Vec::new();
            drain(&mut session, now, &mut out);
            session.receive(now, b"EHLO client.example\r\n");
            drain(&mut session, now, &mut out);
            session.receive(now, b"AUTH PLAIN AGEAYg==\r\n");
            drain(&mut session, now, &mut out);
            session
        };
        let mut session = new();
        let mut count = 0;
        let mut out = Vec::new();
        b.iter(|| {
            count += 1;
            if count == 900_000 {
                (session, count) = (new(), 0);
            }
            out.clear();
            for piece in [
                &b"MAIL FROM:<alice@example.org> SIZE=4096\r\n"[..],
                b"RCPT TO:<bob@example.org>\r\n",
                b"DATA\r\n",
                &data,
            ] {
                let mut rest = piece;
                while !rest.is_empty() {
                    rest = &rest[session.receive(now, black_box(rest))..];
                    drain(&mut session, now, &mut out);
                }
            }
            assert!(out.ends_with(b"\r\n"));
        });
    });
    group.finish();
}

criterion_group!(benches, framing, transaction);
criterion_main!(benches);
