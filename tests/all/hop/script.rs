//! What a scripted next hop is told to be: how it connects, what it offers, and where it goes wrong.
//!
//! A [`Behaviour`] is one connection. It is a good server until [`Behaviour::at`] and its relatives
//! put an [`Act`] in the place of a reply.

use std::time::Duration;

use super::{
    act::{Act, Phase},
    certificates::Certificate,
};

/// Who may sign in at a hop that was told nothing else.
pub const NAME: &str = "relay-user";
pub const PASSWORD: &str = "seven-quiet-lanterns";

/// One behaviour for each connection in turn; the last one stays.
#[derive(Clone, Debug)]
pub struct Script(Vec<Behaviour>);

impl Script {
    pub fn of(connections: impl IntoIterator<Item = Behaviour>) -> Script {
        let connections: Vec<_> = connections.into_iter().collect();
        assert!(!connections.is_empty(), "a script says something");
        Script(connections)
    }

    pub fn connection(&self, number: usize) -> &Behaviour {
        &self.0[number.min(self.0.len() - 1)]
    }
}

impl From<Behaviour> for Script {
    fn from(behaviour: Behaviour) -> Script {
        Script(vec![behaviour])
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Smtp,
    Lmtp,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tls {
    None,
    Starttls,
    Implicit,
}

/// One connection of a next hop.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub protocol: Protocol,
    pub tls: Tls,
    pub certificate: Certificate,
    pub hello: Hello,
    pub keywords: Vec<String>,
    pub account: (String, String),
    pub needs_sign_in: bool,
    pub recipients_max: usize,
    /// Ends the connection behind so many messages.
    pub messages_max: usize,
    /// Waited before each reply.
    pub delay: Duration,
    pub idle: Option<(Duration, Act)>,
    acts: Vec<Rule>,
    pub in_content: Option<(usize, Act)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hello {
    Extended,
    /// EHLO is an unknown command.
    HeloOnly,
}

#[derive(Clone, Debug)]
struct Rule {
    phase: Phase,
    nth: Option<usize>,
    /// Part of the recipient's address.
    recipient: Option<String>,
    act: Act,
}

impl Behaviour {
    fn new(protocol: Protocol, tls: Tls) -> Behaviour {
        let keywords = [
            "PIPELINING",
            "SIZE 50000000",
            "8BITMIME",
            "SMTPUTF8",
            "DSN",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
            "AUTH PLAIN LOGIN SCRAM-SHA-256",
        ];
        Behaviour {
            protocol,
            tls,
            certificate: Certificate::Good,
            hello: Hello::Extended,
            keywords: keywords.map(String::from).to_vec(),
            account: (NAME.to_owned(), PASSWORD.to_owned()),
            needs_sign_in: false,
            recipients_max: usize::MAX,
            messages_max: usize::MAX,
            delay: Duration::ZERO,
            idle: None,
            acts: Vec::new(),
            in_content: None,
        }
    }

    /// A good server that knows nothing of TLS.
    pub fn plain() -> Behaviour {
        Behaviour::new(Protocol::Smtp, Tls::None)
    }

    /// A good server with STARTTLS. It offers AUTH before that too, which nobody should take up.
    pub fn starttls() -> Behaviour {
        Behaviour::new(Protocol::Smtp, Tls::Starttls)
    }

    /// A good server with TLS from the first octet.
    pub fn implicit() -> Behaviour {
        Behaviour::new(Protocol::Smtp, Tls::Implicit)
    }

    /// A good server that speaks LMTP in the clear.
    pub fn lmtp() -> Behaviour {
        Behaviour::new(Protocol::Lmtp, Tls::None)
    }

    /// The same with another way into TLS.
    pub fn tls(mut self, tls: Tls) -> Behaviour {
        self.tls = tls;
        self
    }

    /// Shows this certificate.
    pub fn certificate(mut self, certificate: Certificate) -> Behaviour {
        self.certificate = certificate;
        self
    }

    /// Does not offer what this EHLO keyword stands for, and refuses it.
    pub fn without(mut self, keyword: &str) -> Behaviour {
        let before = self.keywords.len();
        self.keywords.retain(|line| word(line) != keyword);
        assert!(self.keywords.len() < before, "{keyword} is not offered");
        self
    }

    /// Offers this EHLO line, in the place of an earlier one of the same keyword.
    pub fn offers(mut self, line: &str) -> Behaviour {
        self.keywords.retain(|other| word(other) != word(line));
        self.keywords.push(line.to_owned());
        self
    }

    /// Knows HELO only, and so no extension.
    pub fn helo_only(mut self) -> Behaviour {
        self.hello = Hello::HeloOnly;
        self.keywords.clear();
        self
    }

    /// Lets this account sign in.
    pub fn account(mut self, name: &str, password: &str) -> Behaviour {
        self.account = (name.to_owned(), password.to_owned());
        self
    }

    /// Takes mail from those only who have signed in.
    pub fn needs_sign_in(mut self) -> Behaviour {
        self.needs_sign_in = true;
        self
    }

    /// 452 4.5.3 to every further recipient of a transaction.
    pub fn recipients_at_most(mut self, count: usize) -> Behaviour {
        self.recipients_max = count;
        self
    }

    /// Closes the connection behind its `count`th message.
    pub fn messages_at_most(mut self, count: usize) -> Behaviour {
        self.messages_max = count;
        self
    }

    /// Waits before each reply.
    pub fn slow(mut self, delay: Duration) -> Behaviour {
        self.delay = delay;
        self
    }

    /// Acts where no command has come for so long.
    pub fn when_idle(mut self, after: Duration, act: Act) -> Behaviour {
        self.idle = Some((after, act));
        self
    }

    /// Acts in the place of every reply to this phase.
    pub fn at(self, phase: Phase, act: Act) -> Behaviour {
        self.rule(phase, None, None, act)
    }

    /// Acts in the place of the `nth` reply to this phase; the first is 1.
    pub fn at_nth(self, phase: Phase, nth: usize, act: Act) -> Behaviour {
        self.rule(phase, Some(nth), None, act)
    }

    /// Acts in the place of a reply, at RCPT or behind LMTP's content, that is for a recipient
    /// whose address has this part.
    pub fn for_recipient(self, phase: Phase, part: &str, act: Act) -> Behaviour {
        self.rule(phase, None, Some(part.to_owned()), act)
    }

    /// Acts when so many octets of content have come; with 0, right behind the 354.
    pub fn in_content(mut self, after: usize, act: Act) -> Behaviour {
        self.in_content = Some((after, act));
        self
    }

    fn rule(
        mut self,
        phase: Phase,
        nth: Option<usize>,
        recipient: Option<String>,
        act: Act,
    ) -> Behaviour {
        self.acts.push(Rule {
            phase,
            nth,
            recipient,
            act,
        });
        self
    }

    /// What to do for the `nth` reply of a phase; the first rule that fits.
    pub fn act(&self, phase: Phase, nth: usize, recipient: &str) -> Option<Act> {
        let mut rules = self.acts.iter();
        let rule = rules.find(|rule| {
            let named = |part: &String| recipient.contains(part.as_str());
            rule.phase == phase
                && rule.nth.is_none_or(|wanted| wanted == nth)
                && rule.recipient.as_ref().is_none_or(named)
        })?;
        Some(rule.act.clone())
    }

    /// What follows a keyword, where it is offered.
    pub fn offered(&self, keyword: &str) -> Option<&str> {
        let line = self.keywords.iter().find(|line| word(line) == keyword)?;
        Some(line[keyword.len()..].trim_start())
    }

    /// The limit of SIZE.
    pub fn size_max(&self) -> usize {
        let limit = self.offered("SIZE").and_then(|limit| limit.parse().ok());
        limit.unwrap_or(usize::MAX)
    }
}

fn word(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}
