//! What header editing costs: a typical section of 1.5 KiB from splitting to the finished form.

use std::{hint::black_box, time::SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use gatepost::{
    envelope::QueueId,
    message::{Fixup, Header, Limits, Splitter, Trace, date},
    smtp::{Domain, Mailbox},
};

fn typical() -> Vec<u8> {
    let mut header = b"From: Alice Example <alice@ours.example>\r\n\
        To: Bob Example <bob@theirs.example>, carol@theirs.example\r\n\
        Cc: Dave <dave@theirs.example>\r\n\
        Subject: Re: Minutes of the meeting on Tuesday\r\n\
        Date: Thu, 28 May 2026 20:26:40 +0000\r\n\
        Message-ID: <2f6d2a60-7f0e-4ac8-93a4-1c1f0f7b2f11@ours.example>\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8; format=flowed\r\n\
        Content-Transfer-Encoding: 8bit\r\n\
        User-Agent: Mozilla Thunderbird\r\n\
        References:"
        .to_vec();
    while header.len() < 1_500 {
        header.extend_from_slice(b"\r\n <0123456789abcdef0123456789abcdef@theirs.example>");
    }
    header.extend_from_slice(b"\r\n\r\n");
    header
}

fn edit(criterion: &mut Criterion) {
    let content = typical();
    let hostname = Domain::parse("mail.ours.example").expect("a domain");
    let own = Mailbox::parse("alice@ours.example").expect("a mailbox");
    let id = QueueId::new(ulid::Ulid(1));
    let limits = Limits {
        octets: 100 << 10,
        fields: 1_000,
    };
    criterion.bench_function("edit a header of 1.5 KiB", |bencher| {
        bencher.iter(|| {
            let mut splitter = Splitter::new(limits);
            let body = splitter.push(black_box(&content)).expect("within limits");
            assert!(body.is_empty());
            let section = splitter.finish().expect("a section");
            let header = Header::read(section, 100).expect("a good header");
            let now = SystemTime::UNIX_EPOCH;
            let date = date(now);
            let trace = Trace {
                hostname: &hostname,
                client: None,
                tls: None,
                smtputf8: false,
                id: &id,
                only_recipient: Some(&own),
                date: &date,
            };
            let fixup = Fixup {
                now,
                random: [7; 16],
                hostname: &hostname,
                own: &own,
                smtputf8: false,
            };
            fixup.apply(&header, &trace).expect("nothing to refuse")
        });
    });
}

criterion_group!(benches, edit);
criterion_main!(benches);
