//! Recipients that wait behind an open question (RFC 2920): their domains are told early, so that they
//! can be looked up side by side. Answers stay in order.

use std::collections::HashSet;

use super::{Asking, Output, Phase, Session};
use crate::smtp::{Domain, ForwardPath, PathArgument, Verb};

/// Domains that are told at most, for one transaction.
const HINTS_MOST: usize = 32;

impl Session {
    /// Looks once for each transaction at what waits behind its first question: all of a client that
    /// pipelines, as a rule.
    pub(super) fn hint(&mut self, waiting: &[u8]) {
        let Phase::Asking(asking) = &mut self.phase else {
            return;
        };
        let (Asking::Sender(transaction) | Asking::Recipient(transaction, _)) = &mut **asking
        else {
            return;
        };
        if waiting.is_empty() || std::mem::replace(&mut transaction.hinted, true) {
            return;
        }
        // Before the question, which is the last thing said.
        let at = self.outputs.len().saturating_sub(1);
        for (n, domain) in domains(waiting).into_iter().enumerate() {
            self.outputs.insert(at + n, Output::Hint(domain));
        }
    }
}

/// The domains of RCPT commands that are whole, each once.
fn domains(waiting: &[u8]) -> Vec<Domain> {
    let mut seen = HashSet::new();
    let mut domains = Vec::new();
    for line in waiting.split_inclusive(|octet| *octet == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            break;
        };
        let (Verb::Rcpt, argument) = Verb::split(line) else {
            // Behind anything else may be content.
            break;
        };
        let Ok(argument) = std::str::from_utf8(argument) else {
            break;
        };
        let path = PathArgument::parse(argument, "TO").map(|it| ForwardPath::parse(it.path));
        if let Some(Ok(ForwardPath::Mailbox(mailbox))) = path
            && seen.insert(mailbox.domain().canonical())
        {
            domains.push(mailbox.domain().clone());
        }
        if domains.len() >= HINTS_MOST {
            break;
        }
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_whole_rcpt_commands_are_found_once() {
        let found = |text: &str| -> Vec<String> {
            let domains = domains(text.as_bytes()).into_iter();
            domains.map(|domain| domain.as_str().to_owned()).collect()
        };
        assert_eq!(
            found(
                "RCPT TO:<a@one.example>\r\nrcpt to: <b@two.example> NOTIFY=NEVER\r\n\
                 RCPT TO:<c@ONE.example>\r\nRCPT TO:<bad\r\nRCPT TO:<d@three.example>\r\n"
            ),
            ["one.example", "two.example", "three.example"]
        );
        // Not whole, and behind the end of the envelope.
        assert!(found("RCPT TO:<a@one.example>").is_empty());
        assert!(found("RCPT TO:<a@one.example>\n").is_empty());
        assert!(found("DATA\r\nRCPT TO:<a@one.example>\r\n").is_empty());
        let many: String = (0..100)
            .map(|n| format!("RCPT TO:<a@d{n}.example>\r\n"))
            .collect();
        assert_eq!(found(&many).len(), HINTS_MOST);
    }
}
