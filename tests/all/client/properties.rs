//! What holds for the bare client whatever a next hop sends and whenever.

use std::{sync::Arc, time::Duration};

use gatepost::{
    client::{Channel, Client, Credentials, Fate, Message, Options, Output, Recipient, Security},
    envelope::{BodyType, Moment},
    smtp::{Mailbox, ReversePath},
};
use proptest::prelude::*;

use super::player::options;

const CONTENT: &[u8] = b"Subject: secret-subject\r\n\r\n.body\r\n";

/// Everything that a driver would see.
#[derive(Debug, Default)]
struct Seen {
    sent: Vec<u8>,
    /// What was sent before the channel was encrypted.
    sent_in_clear: Vec<u8>,
    begun: usize,
    done: Vec<Vec<Fate>>,
    failed: usize,
    outputs: usize,
    closed: bool,
}

fn message(recipients: usize) -> Message {
    let mailbox = Mailbox::parse("c@d.example").unwrap();
    Message {
        sender: ReversePath::parse("secret-sender@b.example").unwrap(),
        recipients: vec![Recipient::from(mailbox); recipients],
        size_octets: CONTENT.len() as u64,
        body: BodyType::SevenBit,
        utf8_header: false,
        ret: None,
        envid: None,
        requiretls: false,
        by: None,
        priority: None,
    }
}

fn drain(client: &mut Client, now: Moment, given: &mut usize, seen: &mut Seen) {
    while let Some(output) = client.poll() {
        assert!(!seen.closed, "{output:?} after close");
        seen.outputs += 1;
        assert!(seen.outputs < 100_000, "it never ends");
        match output {
            Output::Send(octets) => seen.sent.extend(octets),
            Output::SendSecret(octets) => seen.sent.extend_from_slice(&octets),
            Output::StartTls => {
                seen.sent_in_clear = std::mem::take(&mut seen.sent);
                client.secured(now, Channel::Proved);
            }
            Output::Derive(derivation) => {
                if derivation.iterations() < 5_000 {
                    client.derived(now, &derivation.run());
                } else {
                    client.abort(now, "too slow for a test");
                }
            }
            Output::Ready if seen.begun < 3 => {
                seen.begun += 1;
                *given = 0;
                client.begin(now, message(seen.begun)).unwrap();
            }
            Output::Ready => client.quit(now),
            Output::NeedContent => {
                let end = (*given + 5).min(CONTENT.len());
                let piece = CONTENT[*given..end].to_vec();
                *given = end;
                client.content(now, &piece);
            }
            Output::Done(fates) => {
                assert_eq!(fates.len(), seen.begun, "one fate for each recipient");
                seen.done.push(fates);
            }
            Output::Failed(_) => seen.failed += 1,
            Output::Close => seen.closed = true,
        }
    }
}

fn play(channel: Channel, options: Options, input: &[u8], sizes: &[usize]) -> Seen {
    let mut now = Moment(Duration::from_secs(5));
    let mut client = Client::new(channel, Arc::new(options), [7; 24], now);
    let (mut seen, mut given) = (Seen::default(), 0);
    drain(&mut client, now, &mut given, &mut seen);
    let (mut at, mut turn) = (0, 0);
    while at < input.len() && !seen.closed {
        let size = sizes[turn % sizes.len()].clamp(1, input.len() - at);
        turn += 1;
        let consumed = client.receive(now, &input[at..at + size]);
        at += consumed;
        drain(&mut client, now, &mut given, &mut seen);
        assert!(consumed == size || seen.closed, "octets left behind");
    }
    // A hop that falls silent: every wait has an end.
    for _ in 0..10 {
        if let Some(deadline) = client.deadline() {
            now = deadline;
            client.timeout(now);
            drain(&mut client, now, &mut given, &mut seen);
        }
    }
    assert!(seen.closed, "a client whose hop is silent must close");
    assert_eq!(seen.done.len(), seen.begun, "each message ends once");
    assert!(seen.failed <= 1);
    seen
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        &b"220 hop\r\n"[..],
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"250-hop\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
        b"250-hop\r\n250-CHUNKING\r\n250-LIMITS RCPTMAX=1 MAILMAX=2\r\n250 AUTH SCRAM-SHA-256\r\n",
        b"250-hop\r\n250-SIZE 20\r\n250 AUTH PLAIN\r\n",
        b"235 in\r\n",
        b"334 \r\n",
        b"334 cj1CdWNIQndjSEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSEI=\r\n",
        b"354 go\r\n",
        b"354 go\r\n",
        b"421 bye\r\n",
        b"450 4.2.1 busy\r\n",
        b"452 too many\r\n",
        b"500 what\r\n",
        b"550-5.1.1 no\r\n550 5.1.1 no\r\n",
        b"650 x\r\n",
        b"221 bye\r\n",
        b"\r\n",
        b"250-",
        b"25",
    ]);
    prop_oneof![
        12 => fixed.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn credentials() -> Option<Credentials> {
    Some(Credentials {
        name: "secret-name".into(),
        password: "secret-password".into(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// S12: no octets of a hop make the client panic, loop, wait for ever or forget a recipient.
    #[test]
    fn no_hop_confuses_the_client(
        replies in prop::collection::vec(reply(), 0..30),
        greeted in any::<bool>(),
        signs_in in any::<bool>(),
        chunk_octets in prop::sample::select(vec![0, 3, 1 << 20]),
        sizes in prop::collection::vec(1usize..200, 1..6),
    ) {
        let options = Options {
            credentials: credentials().filter(|_| signs_in),
            chunk_octets,
            ..options()
        };
        let start: &[u8] = if greeted { b"220 hop\r\n250-hop\r\n" } else { b"" };
        let input = [start, &replies.concat()].concat();
        play(Channel::Proved, options, &input, &sizes);
    }

    /// Every recipient that is told to be accepted was answered behind a whole message: its end
    /// was sent once for each transaction with somebody accepted in it.
    #[test]
    fn nothing_is_accepted_that_was_not_sent(
        replies in prop::collection::vec(reply(), 0..40),
        sizes in prop::collection::vec(1usize..60, 1..6),
    ) {
        let input = [&b"220 hop\r\n250 hop\r\n"[..], &replies.concat()].concat();
        let options = Options { chunk_octets: 0, ..options() };
        let seen = play(Channel::Proved, options, &input, &[sizes, vec![9]].concat());
        let taken = seen.done.iter().filter(|fates| {
            fates.iter().any(|fate| matches!(fate, Fate::Accepted(_)))
        });
        let text = String::from_utf8_lossy(&seen.sent).into_owned();
        let whole = text.matches("\r\n\r\n..body\r\n.\r\n").count();
        prop_assert!(taken.count() <= whole, "{:?} {}", seen.done, text);
    }

    /// No credential and no octet of a message goes over an unproved link (S9, R4954-14a).
    #[test]
    fn nothing_of_worth_goes_in_the_clear(
        replies in prop::collection::vec(reply(), 0..20),
        encrypted in any::<bool>(),
        sizes in prop::collection::vec(1usize..60, 1..6),
    ) {
        let options = Options {
            security: if encrypted { Security::Encrypted } else { Security::Proved },
            credentials: credentials(),
            ..options()
        };
        let seen = play(Channel::Plain, options.clone(), &replies.concat(), &sizes);
        let upgraded = !seen.sent_in_clear.is_empty();
        let clear = if upgraded { &seen.sent_in_clear } else { &seen.sent };
        for line in String::from_utf8_lossy(clear).lines() {
            let harmless = ["EHLO client.example", "STARTTLS", "QUIT"];
            prop_assert!(harmless.contains(&line), "{line}");
        }
        let seen = play(Channel::Unproved, options, &replies.concat(), &sizes);
        for line in String::from_utf8_lossy(&seen.sent).lines() {
            let harmless = ["EHLO client.example", "QUIT"];
            prop_assert!(harmless.contains(&line), "{line}");
        }
    }
}

/// One mebibyte of noise ends the connection, and costs little.
#[test]
fn a_flood_of_noise_is_borne() {
    let mut state = 1u32;
    let noise: Vec<u8> = (0..1_048_576)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    let seen = play(Channel::Proved, options(), &noise, &[1_460]);
    assert_eq!((seen.begun, seen.failed), (0, 1));
}

/// However many recipients there are, no more than a hundred commands wait for answers, so that a
/// hop that writes while we write comes to no standstill (R2920-3.1d).
#[test]
fn pipelined_commands_are_few_enough_to_be_answered() {
    let now = Moment::default();
    let mut client = Client::new(Channel::Proved, Arc::new(options()), [7; 24], now);
    let (mut sent, mut answered, mut fates) = (0, 0, Vec::new());
    let mut drain = |client: &mut Client, sent: &mut usize| {
        while let Some(output) = client.poll() {
            match output {
                Output::Send(octets) => {
                    let text = String::from_utf8(octets).unwrap();
                    let named = ["MAIL ", "RCPT ", "DATA"];
                    *sent += usize::from(named.iter().any(|name| text.starts_with(name)));
                }
                Output::Done(all) => fates = all,
                _ => {}
            }
        }
    };
    client.receive(now, b"220 hop\r\n");
    drain(&mut client, &mut sent);
    client.receive(now, b"250-hop\r\n250 PIPELINING\r\n");
    drain(&mut client, &mut sent);
    client.begin(now, message(1_000)).unwrap();
    drain(&mut client, &mut sent);
    while answered < 1_001 {
        assert!(sent - answered <= 100, "{} wait", sent - answered);
        assert!(sent > answered, "a standstill");
        let reply: &[u8] = if answered == 0 {
            b"250 ok\r\n"
        } else {
            b"550 5.1.1 no\r\n"
        };
        client.receive(now, reply);
        answered += 1;
        drain(&mut client, &mut sent);
    }
    client.receive(now, b"503 nobody\r\n");
    drain(&mut client, &mut sent);
    assert_eq!(sent, 1_002);
    assert_eq!(fates.len(), 1_000);
}

/// A hop that takes the content crumb by crumb, each in time, does not keep its place for ever.
#[test]
fn a_crawling_hop_is_left_after_four_hours() {
    let begin = Moment::default();
    let mut now = begin;
    let mut client = Client::new(Channel::Proved, Arc::new(options()), [7; 24], now);
    for reply in [&b"220 hop\r\n"[..], b"250 hop\r\n"] {
        client.receive(now, reply);
    }
    while client.poll().is_some() {}
    let mut message = message(1);
    message.size_octets = 1_000;
    client.begin(now, message).unwrap();
    for reply in [&b"250 ok\r\n"[..], b"250 ok\r\n", b"354 go\r\n"] {
        client.receive(now, reply);
    }
    while !client.is_closed() {
        while client.poll().is_some() {}
        let crumb = now + Duration::from_secs(170);
        now = client.deadline().unwrap().min(crumb);
        client.timeout(now);
        client.content(now, b"x");
    }
    assert_eq!(now.since(begin), Duration::from_secs(4 * 3_600));
    let Some(Output::Done(fates)) = client.poll() else {
        panic!("no fates");
    };
    let Fate::Deferred(status) = &fates[0] else {
        panic!("{fates:?}");
    };
    assert!(status.text.contains("took longer than 14400 s"), "{status}");
}

/// A hop that answers for ever, each time in time, is left in the end.
#[test]
fn an_endless_exchange_is_bounded() {
    let challenges = b"334 \r\n".repeat(1_000);
    let options = Options {
        credentials: credentials(),
        ..options()
    };
    let start = b"220 hop\r\n250-hop\r\n250 AUTH LOGIN\r\n";
    let seen = play(
        Channel::Proved,
        options,
        &[&start[..], &challenges].concat(),
        &[3],
    );
    assert!(seen.sent.len() < 200, "{}", seen.sent.len());
    assert_eq!(seen.failed, 1);
}

/// No password and nothing made of one appears in what a log could show.
#[test]
fn debug_shows_no_password() {
    let options = Options {
        credentials: credentials(),
        ..options()
    };
    let now = Moment::default();
    let mut client = Client::new(Channel::Proved, Arc::new(options), [7; 24], now);
    client.receive(now, b"220 hop\r\n");
    while client.poll().is_some() {}
    client.receive(now, b"250-hop\r\n250 AUTH PLAIN\r\n");
    let shown = format!("{client:?} {:?}", client.poll());
    // The base64 of the response begins so.
    assert!(
        !shown.contains("secret-password") && !shown.contains("AUTH PLAIN AH"),
        "{shown}"
    );
    assert!(shown.contains("Secret"), "{shown}");
}
