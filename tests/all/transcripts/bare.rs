//! Plays a transcript against a session alone, with a clock turned by hand.
//!
//! The world behind the questions is the one that the running server's test configuration makes:
//! alice may send as herself and as anything at wonder.example; example.org holds accounts only;
//! any.example takes everything; nowhere.example has no route.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use gatepost::{
    envelope::{AccountId, Identity, Moment, QueueId, TlsFacts, TlsVersion},
    sasl::{
        Bindings, Claim, ClientCertificate, Derivation, LabelledKeys, Mechanism, Ring,
        SERVER_NONCE_OCTETS, TokenAdvice,
    },
    session::{
        Channel, KeysVerdict, MessageVerdict, Options, Output, Question, RecipientVerdict, Secured,
        SenderVerdict, Session, SignInVerdict, Verdict,
    },
    smtp::{Domain, Mailbox, Priority, Reply, Tolerance},
};
use secrecy::ExposeSecret;

use super::script::{Script, Start, Step, matches};

pub const SIGN_IN: &str = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHR1bGlwcy1hbmQtNC1vbmlvbnM=\r\n";
/// 2026-11-27T12:00:00Z.
const DATE: Duration = Duration::from_secs(1_795_780_800);
const PASSWORD: &str = "tulips-and-4-onions";

pub fn options() -> Options {
    Options {
        hostname: Domain::parse("mail.example.org").unwrap(),
        message_size: 100_000,
        recipients: 100,
        messages: 1_000,
        errors: 25,
        sign_in_failures: 5,
        mechanisms: vec![
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha256,
            Mechanism::Plain,
            Mechanism::Login,
        ],
        advice: TokenAdvice {
            scope: "mail".to_owned(),
            discovery: String::new(),
        },
        future_release: Duration::from_secs(7 * 86_400),
        tolerance: Tolerance::default(),
        postmaster: Mailbox::parse("alice@example.org").unwrap(),
        greeting: "ESMTP Gatepost ready".into(),
        contact: "postmaster@example.org".into(),
        idle: Duration::from_secs(300),
        line: Duration::from_secs(60),
        data: Duration::from_secs(300),
        data_rate: 500,
        sign_in: Duration::from_secs(120),
        session: Duration::from_secs(3_600),
    }
}

/// A channel that a sign-in can be bound to, to octets that no client knows.
fn secured() -> Secured {
    Secured {
        facts: TlsFacts {
            version: TlsVersion::V13,
            suite: "TLS_AES_256_GCM_SHA384",
            group: Some("X25519MLKEM768"),
            server_name: None,
            resumed: false,
        },
        bindings: Arc::new(Bindings {
            exporter: Some([5; 32]),
            server_end_point: None,
        }),
        port: None,
        certificate: Some(Arc::new(ClientCertificate {
            fingerprint: [7; 32],
            addresses: Vec::new(),
        })),
    }
}

struct Player<'a> {
    session: Session,
    now: Moment,
    pieces: usize,
    replies: VecDeque<Vec<String>>,
    last_reply: Vec<String>,
    /// Answers that the transcript gives itself, to come.
    answers: VecDeque<(&'a str, &'a str)>,
    content: Vec<u8>,
    /// The 220 to STARTTLS, said only if nothing follows the command.
    upgrade: Option<Reply>,
    upgrading: bool,
    closed: bool,
}

pub fn play(script: &Script, pieces: usize) -> Result<(), String> {
    let channel = match script.start {
        Start::Plain => Channel::Plain,
        Start::Tls | Start::Ready => Channel::Secure(secured()),
    };
    let mut options = options();
    if script.bare_only.is_some() {
        // What the running server is not set up for.
        options.mechanisms = Mechanism::ALL.into();
    }
    let now = Moment(Duration::from_secs(1_000));
    let mut player = Player {
        session: Session::new(channel, Arc::new(options), now).dated(UNIX_EPOCH + DATE),
        now,
        pieces,
        replies: VecDeque::new(),
        last_reply: Vec::new(),
        answers: VecDeque::new(),
        content: Vec::new(),
        upgrade: None,
        upgrading: false,
        closed: false,
    };
    player.drain()?;
    player.expect("220 mail.example.org")?;
    if script.start == Start::Ready {
        player.send(b"EHLO client.example\r\n")?;
        player.expect("250")?;
        player.send(SIGN_IN.as_bytes())?;
        player.expect("235 2.7.0")?;
    }
    for (at, (line, step)) in script.steps.iter().enumerate() {
        // Questions belong to what was sent before them.
        if let Step::Send(octets) = step {
            let following = script.steps[at + 1..]
                .iter()
                .take_while(|(_, s)| !matches!(s, Step::Send(_)));
            player.answers = following
                .filter_map(|(_, step)| match step {
                    Step::Question { asked, answer } => Some((asked.as_str(), answer.as_str())),
                    _ => None,
                })
                .collect();
            player
                .send(octets)
                .map_err(|why| format!("line {line}: {why}"))?;
            if let Some((asked, _)) = player.answers.front() {
                return Err(format!("line {line}: never asked: {asked}"));
            }
            continue;
        }
        player
            .step(step)
            .map_err(|why| format!("line {line}: {why}"))?;
    }
    match player.replies.pop_front() {
        Some(reply) => Err(format!("one reply too many: {reply:?}")),
        None => Ok(()),
    }
}

impl<'a> Player<'a> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(_) | Step::Question { .. } => Ok(()),
            Step::Reply(expected) => self.expect(expected),
            Step::ReplyHas(start) => self.last_reply_line(start, true),
            Step::ReplyLacks(start) => self.last_reply_line(start, false),
            Step::Handshake => {
                if !std::mem::take(&mut self.upgrading) {
                    return Err("no 220 to STARTTLS".into());
                }
                self.session.secured(self.now, secured());
                self.drain()
            }
            Step::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(*seconds);
                if self
                    .session
                    .deadline()
                    .is_some_and(|deadline| deadline <= self.now)
                {
                    self.session.timeout(self.now);
                }
                self.drain()
            }
            Step::HalfClose => {
                self.session.eof(self.now);
                self.drain()
            }
            Step::Closed if self.closed => Ok(()),
            Step::Closed => Err("still open".into()),
        }
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        self.last_reply = self
            .replies
            .pop_front()
            .ok_or(format!("no reply; due: {expected}"))?;
        matches(&self.last_reply, expected)
    }

    fn last_reply_line(&self, start: &str, wanted: bool) -> Result<(), String> {
        let found = self
            .last_reply
            .iter()
            .any(|line| line[4..].starts_with(start));
        if found == wanted {
            return Ok(());
        }
        Err(format!(
            "{start:?} in the reply is {found}: {:?}",
            self.last_reply
        ))
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), String> {
        for mut piece in octets.chunks(self.pieces.min(octets.len()).max(1)) {
            while !piece.is_empty() && !self.closed {
                let consumed = self.session.receive(self.now, piece);
                piece = &piece[consumed..];
                let before = self.replies.len();
                self.drain()?;
                if consumed == 0 && self.replies.len() == before && !self.closed {
                    return Err("the session is stuck".into());
                }
            }
        }
        if let Some(reply) = self.upgrade.take().filter(|_| !self.closed) {
            self.keep(&reply);
            self.upgrading = true;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        while let Some(output) = self.session.poll() {
            if self.closed {
                return Err(format!("after close: {output:?}"));
            }
            match output {
                Output::Send(reply) => self.keep(&reply),
                Output::StartTls(reply) => self.upgrade = Some(reply),
                Output::Content(octets) => self.content.extend(octets),
                Output::CredentialsInClear | Output::Hint(_) => {}
                Output::ContentAbort => self.content.clear(),
                Output::Close => self.closed = true,
                Output::Ask(question) => {
                    let verdict = self.decide(question)?;
                    self.session.answer(self.now, verdict);
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, reply: &Reply) {
        let mut octets = Vec::new();
        reply.write(&mut octets);
        let text = String::from_utf8_lossy(&octets).into_owned();
        self.replies
            .push_back(text.split_terminator("\r\n").map(str::to_string).collect());
    }

    fn decide(&mut self, question: Question) -> Result<Verdict, String> {
        let (asked, usual) = match &question {
            Question::Keys(lookup) => (format!("keys {}", lookup.authcid), "keys"),
            Question::SignIn {
                claim: Claim::Password(credentials),
                ..
            } => {
                let good = credentials.authcid == "alice@example.org"
                    && credentials.password.expose_secret() == PASSWORD
                    && credentials
                        .authzid
                        .as_deref()
                        .is_none_or(|id| id == credentials.authcid);
                let usual = if good { "grant" } else { "refuse" };
                (format!("sign-in {}", credentials.authcid), usual)
            }
            Question::SignIn { claim, .. } => {
                let usual = match claim {
                    Claim::Proof(_) => "grant",
                    _ => "refuse",
                };
                (format!("sign-in {}", claim.authcid()), usual)
            }
            Question::Sender { sender, .. } => {
                let own = sender.mailbox().is_none_or(|mailbox| {
                    let key = mailbox.folded_key();
                    key == "alice@example.org" || key.ends_with("@wonder.example")
                });
                (
                    format!("sender {sender}"),
                    if own { "grant" } else { "refuse" },
                )
            }
            Question::Recipient { recipient, .. } => {
                let usual = match recipient.domain().canonical().as_str() {
                    "example.org" => match recipient.folded_key().as_str() {
                        "alice@example.org" | "bob@example.org" => "grant",
                        _ => "unknown",
                    },
                    "any.example" => "grant",
                    _ => "no-route",
                };
                (format!("recipient {recipient}"), usual)
            }
            Question::Message { envelope, .. } => {
                let usual = if self.content.is_empty() {
                    "554 5.6.0 Empty"
                } else {
                    "accept"
                };
                (format!("message to {}", envelope.recipients.len()), usual)
            }
        };
        let answer = match self.answers.pop_front() {
            None => usual,
            Some((expected, answer)) => {
                if expected != asked {
                    return Err(format!("asked {asked:?}, expected {expected:?}"));
                }
                answer
            }
        };
        Ok(match question {
            Question::Keys(lookup) => Verdict::Keys(match answer {
                "keys" => keys(&lookup.authcid),
                _ => KeysVerdict::Unavailable,
            }),
            Question::SignIn { claim, .. } => Verdict::SignIn(match answer {
                "grant" => SignInVerdict::Granted(Identity {
                    account: AccountId(1),
                    name: claim.authcid().into(),
                    app_password: None,
                }),
                "refuse" => SignInVerdict::Refused,
                "throttle" => SignInVerdict::Throttled,
                _ => SignInVerdict::Unavailable,
            }),
            Question::Sender { priority, .. } => Verdict::Sender(match answer {
                "grant" if priority > Some(Priority::default()) => {
                    SenderVerdict::GrantedAt(Priority::default())
                }
                "grant" => SenderVerdict::Granted,
                "refuse" => SenderVerdict::NotYours,
                "no-room" => SenderVerdict::NoRoom,
                _ => SenderVerdict::Unavailable,
            }),
            Question::Recipient { .. } => Verdict::Recipient(match answer {
                "grant" => RecipientVerdict::Granted,
                "unknown" => RecipientVerdict::NoSuchMailbox,
                "no-route" => RecipientVerdict::NoRoute,
                "no-domain" => RecipientVerdict::NoSuchDomain,
                "not-allowed" => RecipientVerdict::NotAllowed,
                "null-mx" => RecipientVerdict::NullMx,
                "unprotected" => {
                    RecipientVerdict::CannotBeProtected("verified TLS is missing".into())
                }
                "undetermined" => RecipientVerdict::Undetermined,
                _ => RecipientVerdict::Unavailable,
            }),
            Question::Message { .. } => {
                self.content.clear();
                Verdict::Message(match answer {
                    "accept" => MessageVerdict::Accepted(QueueId::new(ulid::Ulid(7))),
                    refusal => MessageVerdict::Refused(refusal_of(refusal)),
                })
            }
        })
    }
}

/// Alice's keys, or ones that nobody has; the server's part of the nonce is always the same.
pub fn keys(name: &str) -> KeysVerdict {
    let password = match name {
        "alice@example.org" => PASSWORD,
        _ => "nobody's",
    };
    let salt = [7; 16];
    let derived = Derivation::new(password.into(), salt.into(), 4_096).run();
    KeysVerdict::Given {
        ring: Ring {
            salt: salt.into(),
            iterations: 4_096,
            keys: vec![LabelledKeys {
                label: 0,
                keys: derived.keys(),
            }],
        },
        random: [9; SERVER_NONCE_OCTETS],
    }
}

fn refusal_of(text: &str) -> Reply {
    let code = text[..3].parse().unwrap();
    let mut parts = text[4..].splitn(2, ' ');
    let enhanced: Vec<u16> = parts
        .next()
        .unwrap()
        .split('.')
        .map(|n| n.parse().unwrap())
        .collect();
    Reply::new(
        code,
        enhanced[1],
        enhanced[2],
        parts.next().unwrap_or("").to_string(),
    )
}
