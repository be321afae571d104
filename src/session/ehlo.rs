//! EHLO and HELO (RFC 5321 §4.1.1.1), and the list of what is offered.

use std::{borrow::Cow, time::SystemTime};

use crate::{
    sasl,
    smtp::{Reply, date_time},
};

use super::{Channel, Hello, Options, Session, replies};

/// Which of the two commands came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Greeting {
    Ehlo,
    Helo,
}

/// Octets of a client's name that are kept; the rest is of use to nobody.
const NAME_MAX: usize = 255;

impl Session {
    /// Clears the transaction as RSET does, and keeps the sign-in (RFC 5321 §4.1.4). A refused
    /// command changes nothing.
    ///
    /// Odd names are taken: real clients send what their system calls itself.
    pub(super) fn ehlo(&mut self, argument: &str, greeting: Greeting) {
        let name = argument.split_ascii_whitespace().next();
        let Some(name) = name.filter(|_| argument.bytes().all(|b| (b' '..=b'~').contains(&b)))
        else {
            return self.refuse(replies::hello_needs_name());
        };
        let name = &name[..name.len().min(NAME_MAX)];
        self.reset();
        let line = format!("{} Hello {name}", self.options.hostname);
        let mut lines: Vec<Cow<'static, str>> = vec![line.into()];
        if greeting == Greeting::Ehlo {
            lines.extend(keywords(&self.channel, &self.options, self.calendar()));
        }
        self.hello = Some(Hello {
            name: name.into(),
            extended: greeting == Greeting::Ehlo,
        });
        self.send(Reply {
            code: 250,
            enhanced: None,
            lines,
        });
    }
}

/// What is offered on this channel. Before TLS only what a client may want to know by then:
/// nothing that would need a sign-in (RFC 4954 §4, 3207 §4.2).
fn keywords(
    channel: &Channel,
    options: &Options,
    now: Option<SystemTime>,
) -> Vec<Cow<'static, str>> {
    let size = format!("SIZE {}", options.message_size).into();
    let common = [
        "PIPELINING".into(),
        size,
        "8BITMIME".into(),
        "ENHANCEDSTATUSCODES".into(),
    ];
    let mut list = Vec::from(common);
    match channel {
        Channel::Plain => list.push("STARTTLS".into()),
        Channel::Secure(secured) => {
            let offered = options.offered(secured);
            let names: Vec<&str> = offered.map(sasl::Mechanism::name).collect();
            let (mails, recipients) = (options.messages, options.recipients);
            list.push("SMTPUTF8".into());
            list.push("CHUNKING".into());
            list.push("BINARYMIME".into());
            list.push("DSN".into());
            list.push("REQUIRETLS".into());
            list.push("DELIVERBY".into());
            list.push("MT-PRIORITY".into());
            let longest = options.future_release;
            if let Some(last) = now.and_then(|now| now.checked_add(longest)) {
                let (seconds, last) = (longest.as_secs(), date_time(last));
                list.push(format!("FUTURERELEASE {seconds} {last}").into());
            }
            list.push(format!("LIMITS MAILMAX={mails} RCPTMAX={recipients}").into());
            list.push(format!("AUTH {}", names.join(" ")).into());
            list.push("HELP".into());
        }
    }
    list
}
