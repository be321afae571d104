//! The client tied to our own server half, in memory: what goes in at one end comes out at the
//! other, however the octets between them are cut.

use std::{sync::Arc, time::Duration};

use gatepost::{
    client::{self, Client, Credentials, Fate, Message, Options, Output as Said, Recipient},
    envelope::{AccountId, BodyType, Identity, Moment, QueueId, TlsFacts, TlsVersion},
    sasl::Claim,
    session::{
        self, MessageVerdict, Output, Question, RecipientVerdict, SenderVerdict, Session,
        SignInVerdict, Verdict,
    },
    smtp::{Mailbox, ReversePath},
};
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::player::options;
use crate::transcripts::bare;

const PASSWORD: &str = "tulips-and-4-onions";

fn facts() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::V13,
        suite: "TLS_AES_128_GCM_SHA256",
        group: None,
        server_name: None,
        resumed: false,
    }
}

/// Both ends and what lies between them.
struct Pair {
    client: Client,
    session: Session,
    now: Moment,
    to_client: Vec<u8>,
    to_session: Vec<u8>,
    /// Pieces into which everything is cut, in turn.
    sizes: Vec<usize>,
    turn: usize,
    /// Messages still to be sent, and their content.
    messages: Vec<(Message, Vec<u8>)>,
    content: Vec<u8>,
    fates: Vec<Vec<Fate>>,
    /// At the server.
    draft: Vec<u8>,
    received: Vec<(usize, Vec<u8>)>,
    failures: Vec<client::Failure>,
    client_closed: bool,
    session_closed: bool,
}

impl Pair {
    fn new(begins: client::Channel, options: Options, sizes: Vec<usize>) -> Self {
        let now = Moment(Duration::from_secs(50));
        let channel = match begins {
            client::Channel::Plain => session::Channel::Plain,
            _ => session::Channel::Secure(facts().into()),
        };
        Pair {
            client: Client::new(begins, Arc::new(options), [7; 24], now),
            session: Session::new(channel, Arc::new(bare::options()), now),
            now,
            to_client: Vec::new(),
            to_session: Vec::new(),
            sizes,
            turn: 0,
            messages: Vec::new(),
            content: Vec::new(),
            fates: Vec::new(),
            draft: Vec::new(),
            received: Vec::new(),
            failures: Vec::new(),
            client_closed: false,
            session_closed: false,
        }
    }

    fn size(&mut self) -> usize {
        self.turn += 1;
        self.sizes[self.turn % self.sizes.len()].max(1)
    }

    /// Until both have closed; a standstill is a failure.
    fn run(&mut self) {
        for _ in 0..1_000_000 {
            self.drain_client();
            self.drain_session();
            if self.client_closed && self.session_closed {
                return;
            }
            self.now = self.now + Duration::from_millis(1);
            let before = (self.to_client.len(), self.to_session.len());
            if !self.to_session.is_empty() && !self.session_closed {
                let size = self.size().min(self.to_session.len());
                let taken = self.session.receive(self.now, &self.to_session[..size]);
                self.to_session.drain(..taken);
            }
            self.drain_session();
            if !self.to_client.is_empty() && !self.client_closed {
                let size = self.size().min(self.to_client.len());
                let taken = self.client.receive(self.now, &self.to_client[..size]);
                self.to_client.drain(..taken);
            }
            let after = (self.to_client.len(), self.to_session.len());
            let idle = before == after && self.client.deadline().is_some();
            assert!(!idle || self.session_closed, "both wait for each other");
            if self.session_closed && self.to_client.is_empty() {
                self.client.eof(self.now);
            }
        }
        panic!("it never ends");
    }

    fn drain_client(&mut self) {
        while let Some(said) = self.client.poll() {
            assert!(!self.client_closed);
            match said {
                Said::Send(octets) => self.to_session.extend(octets),
                Said::SendSecret(octets) => self.to_session.extend_from_slice(&octets),
                Said::StartTls => {
                    assert!(self.to_client.is_empty());
                    self.session.secured(self.now, facts().into());
                    self.client.secured(self.now, client::Channel::Proved);
                }
                Said::Derive(derivation) => self.client.derived(self.now, &derivation.run()),
                Said::Ready if self.messages.is_empty() => self.client.quit(self.now),
                Said::Ready => {
                    let (message, content) = self.messages.remove(0);
                    self.content = content;
                    self.client.begin(self.now, message).unwrap();
                }
                Said::NeedContent => {
                    let size = self.size().min(self.content.len());
                    let piece: Vec<u8> = self.content.drain(..size).collect();
                    self.client.content(self.now, &piece);
                }
                Said::Done(fates) => self.fates.push(fates),
                Said::Failed(failure) => self.failures.push(failure),
                Said::Close => self.client_closed = true,
            }
        }
    }

    fn drain_session(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(reply) | Output::StartTls(reply) => reply.write(&mut self.to_client),
                Output::Content(octets) => self.draft.extend(octets),
                Output::ContentAbort => self.draft.clear(),
                Output::Hint(_) => {}
                Output::CredentialsInClear => panic!("credentials in the clear"),
                Output::Close => self.session_closed = true,
                Output::Ask(question) => {
                    let verdict = self.decide(question);
                    self.session.answer(self.now, verdict);
                }
            }
        }
    }

    fn decide(&mut self, question: Question) -> Verdict {
        match question {
            Question::Keys(lookup) => Verdict::Keys(bare::keys(&lookup.authcid)),
            Question::SignIn { claim, .. } => {
                let good = match &claim {
                    Claim::Password(credentials) => {
                        credentials.password.expose_secret() == PASSWORD
                    }
                    Claim::Proof(_) => true,
                    Claim::Unproved { .. }
                    | Claim::Relayed { .. }
                    | Claim::Token(_)
                    | Claim::External { .. } => false,
                };
                Verdict::SignIn(if good {
                    SignInVerdict::Granted(Identity {
                        account: AccountId(1),
                        name: claim.authcid().into(),
                        app_password: None,
                    })
                } else {
                    SignInVerdict::Refused
                })
            }
            Question::Sender { .. } => Verdict::Sender(SenderVerdict::Granted),
            Question::Recipient { recipient, .. } => {
                let refused = recipient.local_part().starts_with("no");
                Verdict::Recipient(if refused {
                    RecipientVerdict::NoSuchMailbox
                } else {
                    RecipientVerdict::Granted
                })
            }
            Question::Message { envelope, .. } => {
                let content = std::mem::take(&mut self.draft);
                self.received.push((envelope.recipients.len(), content));
                Verdict::Message(MessageVerdict::Accepted(QueueId::new(ulid::Ulid(7))))
            }
        }
    }
}

fn with_credentials(password: &str, chunk_octets: u64) -> Options {
    Options {
        credentials: Some(Credentials {
            name: "alice@example.org".into(),
            password: password.into(),
        }),
        chunk_octets,
        ..options()
    }
}

fn message(recipients: &[String], content: &[u8]) -> (Message, Vec<u8>) {
    let message = Message {
        sender: ReversePath::parse("alice@example.org").unwrap(),
        recipients: recipients
            .iter()
            .map(|text| Recipient::from(Mailbox::parse(text).unwrap()))
            .collect(),
        size_octets: content.len() as u64,
        body: if content.is_ascii() {
            BodyType::SevenBit
        } else {
            BodyType::EightBitMime
        },
        utf8_header: false,
        ret: None,
        envid: None,
        requiretls: false,
        by: None,
        priority: None,
    };
    (message, content.to_vec())
}

fn is_taken(fate: &Fate) -> bool {
    matches!(fate, Fate::Accepted(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// S20, R2920-3.1b: octets in are octets out, and each recipient learns its own fate, by DATA
    /// and by BDAT, with STARTTLS and with implicit TLS, however everything is cut.
    #[test]
    fn what_is_sent_arrives(
        letters in prop::collection::vec((
            prop::collection::vec("(no|yes)[a-z]{1,4}@any\\.example", 1..6),
            prop::collection::vec("[.aü]{0,5}", 0..30),
        ), 1..4),
        begins_plain in any::<bool>(),
        chunk_octets in prop::sample::select(vec![0, 1, 2, 7, 64, 1 << 20]),
        sizes in prop::collection::vec(1usize..40, 1..8),
    ) {
        let begins = if begins_plain { client::Channel::Plain } else { client::Channel::Proved };
        let mut pair = Pair::new(begins, with_credentials(PASSWORD, chunk_octets), sizes);
        let mut due = Vec::new();
        for (recipients, lines) in &letters {
            let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            pair.messages.push(message(recipients, content.as_bytes()));
            let taken: std::collections::HashSet<_> =
                recipients.iter().filter(|r| r.starts_with("yes")).collect();
            if !taken.is_empty() {
                due.push((taken.len(), content.into_bytes()));
            }
        }
        pair.run();
        prop_assert_eq!(&pair.received, &due);
        prop_assert!(pair.failures.is_empty(), "{:?}", pair.failures);
        prop_assert_eq!(pair.fates.len(), letters.len());
        for (fates, (recipients, _)) in pair.fates.iter().zip(&letters) {
            for (fate, recipient) in fates.iter().zip(recipients) {
                prop_assert_eq!(is_taken(fate), recipient.starts_with("yes"));
                prop_assert!(is_taken(fate) || matches!(fate, Fate::Failed(_)));
            }
        }
    }
}

/// A hundred and fifty recipients where a hundred are taken: the rest is told to come again, and
/// does so on the same connection (R5321-4.5.3.1l).
#[test]
fn more_recipients_than_a_transaction_takes() {
    let mut pair = Pair::new(
        client::Channel::Proved,
        with_credentials(PASSWORD, 0),
        vec![999],
    );
    let recipients: Vec<_> = (0..150).map(|n| format!("yes{n}@any.example")).collect();
    let content = b"Subject: x\r\n\r\n.\r\n";
    pair.messages.push(message(&recipients, content));
    pair.messages.push(message(&recipients[100..], content));
    pair.run();
    let again = |fate: &Fate| matches!(fate, Fate::Again(_));
    assert!(pair.fates[0][..100].iter().all(is_taken));
    assert!(pair.fates[0][100..].iter().all(again));
    assert!(pair.fates[1].iter().all(is_taken));
    assert_eq!(
        pair.received,
        [(100, content.to_vec()), (50, content.to_vec())]
    );
}

#[test]
fn a_large_message_passes_without_being_held() {
    let content = b"0123456789.\r\n".repeat(7_000);
    for chunk_octets in [0, 10_000, u64::MAX] {
        let mut pair = Pair::new(
            client::Channel::Plain,
            with_credentials(PASSWORD, chunk_octets),
            vec![1_460, 4_096],
        );
        pair.messages
            .push(message(&["yes@any.example".into()], &content));
        pair.run();
        assert_eq!(pair.received, [(1, content.clone())]);
    }
}

#[test]
fn a_message_over_the_limit_is_not_begun() {
    let content = vec![b'x'; 100_001];
    let mut pair = Pair::new(
        client::Channel::Proved,
        with_credentials(PASSWORD, 0),
        vec![500],
    );
    pair.messages
        .push(message(&["yes@any.example".into()], &content));
    pair.run();
    let shown = format!("{:?}", pair.fates);
    assert!(
        matches!(&pair.fates[0][0], Fate::Failed(status) if status.code.to_string() == "5.3.4"),
        "{shown}"
    );
    assert!(pair.received.is_empty());
}

#[test]
fn a_wrong_password_sends_nothing() {
    let mut pair = Pair::new(
        client::Channel::Plain,
        with_credentials("guess", 0),
        vec![5, 50],
    );
    pair.messages
        .push(message(&["yes@any.example".into()], b"x\r\n"));
    pair.run();
    assert_eq!(pair.failures.len(), 1);
    assert_eq!(pair.failures[0].cause, client::Cause::SignIn);
    assert!(pair.fates.is_empty() && pair.received.is_empty());
}
