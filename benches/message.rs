//! What header editing costs: a typical section of 1.5 KiB from splitting to the finished form; and
//! what the transfer encoding of 1 MB costs, in both passes.

use std::{hint::black_box, time::SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatepost::{
    envelope::QueueId,
    message::{Fixup, Goal, Header, Limits, Recoder, Splitter, Survey, Trace, date},
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
                priority: None,
                only_recipient: Some(&own),
                date: &date,
            };
            let fixup = Fixup {
                forces_from: false,
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

/// A text and an attachment in base64, 1 MB in all; the last line of the text is too long.
fn attachment() -> (Vec<u8>, Vec<u8>) {
    let header = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n";
    let mut body = b"--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n".to_vec();
    while body.len() < 300_000 {
        body.extend_from_slice(b"A line of a text with some words in it, of a usual length.\r\n");
    }
    body.extend_from_slice(&[b'x'; 999]);
    body.extend_from_slice(b"\r\n--=_b\r\nContent-Type: image/png\r\n");
    body.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
    while body.len() < 1_000_000 {
        body.extend_from_slice(&[b'B'; 76]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--=_b--\r\n");
    (header.to_vec(), body)
}

fn transfer(criterion: &mut Criterion) {
    let (header, body) = attachment();
    let survey = || {
        let mut survey = Survey::new(Goal::ShortLines, black_box(&header));
        body.chunks(256 << 10).for_each(|piece| survey.push(piece));
        survey
            .finish()
            .expect("nothing to refuse")
            .expect("something to encode")
    };
    let mut group = criterion.benchmark_group("transfer encoding of 1 MB");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("survey", |bencher| bencher.iter(survey));
    let recoding = survey();
    let mut out = Vec::with_capacity(2 * body.len());
    group.bench_function("write the copy", |bencher| {
        bencher.iter(|| {
            out.clear();
            let (copy, mut recoder) = Recoder::new(recoding.clone(), black_box(&header));
            body.chunks(256 << 10)
                .for_each(|piece| recoder.push(piece, &mut out));
            recoder.finish(&mut out);
            copy
        });
    });
    group.finish();
}

criterion_group!(benches, edit, transfer);
criterion_main!(benches);
