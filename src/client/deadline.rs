//! How long is waited for what (RFC 5321 §4.5.3.2).

use std::time::Duration;

use crate::envelope::Moment;

use super::{Cause, Client, Phase, hello, transaction::Command, verdict};

impl Client {
    /// When `timeout` is to be called unless something else happens first.
    ///
    /// None while the driver has the next word: `Ready`, or a key being worked out.
    pub fn deadline(&self) -> Option<Moment> {
        let at = self.since + self.patience()?;
        let transaction = match &self.phase {
            Phase::Envelope(transaction)
            | Phase::Rewinding(transaction)
            | Phase::Verdict(transaction) => transaction,
            Phase::Content(content) => &content.transaction,
            _ => return Some(at),
        };
        // Where the end is said only the answer tells whether the message is taken: that is waited
        // for whatever came before.
        if matches!(self.phase, Phase::Verdict(_)) {
            return Some(at);
        }
        Some(at.min(transaction.began + self.options.timeouts.transaction))
    }

    /// A deadline may have passed: if so the connection is given up.
    pub fn timeout(&mut self, now: Moment) {
        let Some(at) = self.deadline() else { return };
        if at > now {
            return;
        }
        if matches!(self.phase, Phase::Quitting) {
            return self.close();
        }
        let detail = if matches!(self.phase, Phase::Greeting) {
            1
        } else {
            2
        };
        let silent = now.since(self.since);
        let accident = if self.patience().is_some_and(|most| most <= silent) {
            format!("nothing for {} s", silent.as_secs())
        } else {
            let whole = self.options.timeouts.transaction.as_secs();
            format!("the message took longer than {whole} s")
        };
        let text = self.waiting_text(&accident);
        self.fail(Cause::Timeout, verdict::ours(4, detail, text));
    }

    fn patience(&self) -> Option<Duration> {
        let timeouts = &self.options.timeouts;
        Some(match &self.phase {
            Phase::Greeting => timeouts.greeting,
            Phase::Hello(_) | Phase::StartTls | Phase::Resetting | Phase::Rewinding(_) => {
                timeouts.hello
            }
            Phase::Upgrading => timeouts.handshake,
            Phase::SignIn(sign_in) if sign_in.is_deriving() => return None,
            Phase::SignIn(_) => timeouts.sign_in,
            Phase::Envelope(transaction) => match transaction.next_answer() {
                Some(Command::Rcpt(_)) => timeouts.rcpt,
                Some(Command::Data) => timeouts.data,
                Some(Command::Mail) | None => timeouts.mail,
            },
            Phase::Content(content) if content.waits_for_answer() => timeouts.end_of_data,
            Phase::Content(_) => timeouts.block,
            Phase::Verdict(_) => timeouts.end_of_data,
            Phase::Quitting => timeouts.quit,
            Phase::Ready | Phase::Closed => return None,
        })
    }

    /// An accident in words, with what was waited for.
    pub(super) fn waiting_text(&self, accident: &str) -> String {
        let what = match &self.phase {
            Phase::Greeting => "the greeting",
            Phase::Hello(hello::Word::Ehlo) => "the answer to EHLO",
            Phase::Hello(hello::Word::Helo) => "the answer to HELO",
            Phase::Hello(hello::Word::Lhlo) => "the answer to LHLO",
            Phase::StartTls => "the answer to STARTTLS",
            Phase::Upgrading => "the TLS handshake",
            Phase::SignIn(_) => "the answer to AUTH",
            Phase::Envelope(transaction) => match transaction.next_answer() {
                Some(Command::Mail) | None => "the answer to MAIL",
                Some(Command::Rcpt(_)) => "the answer to RCPT",
                Some(Command::Data) => "the answer to DATA",
            },
            Phase::Content(content) if content.waits_for_answer() => "the answer to BDAT",
            Phase::Content(_) => return format!("{accident} while sending the message"),
            // It may have been taken all the same, and come twice.
            Phase::Verdict(_) => "the answer to the end of the message",
            Phase::Resetting | Phase::Rewinding(_) => "the answer to RSET",
            Phase::Quitting => "the answer to QUIT",
            Phase::Ready | Phase::Closed => return format!("{accident} between messages"),
        };
        format!("{accident} while waiting for {what}")
    }
}
