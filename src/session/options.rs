//! How a session is set up.

use std::{sync::Arc, time::Duration};

use crate::{
    envelope::TlsFacts,
    sasl::{Bindings, ClientCertificate, Mechanism, TokenAdvice},
    smtp::{Domain, Mailbox, Tolerance},
};

/// How the connection stands as the session begins.
#[derive(Clone, Debug)]
pub enum Channel {
    /// Port 587 before STARTTLS.
    Plain,
    /// Port 465 after its handshake, or port 587 after STARTTLS.
    Secure(Secured),
}

/// A channel after its handshake.
#[derive(Clone, Debug)]
pub struct Secured {
    /// What is told of it.
    pub facts: TlsFacts,
    /// What a sign-in can be bound to.
    pub bindings: Arc<Bindings>,
    /// What the client proved to be.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The port that it came to, where there is one.
    pub port: Option<u16>,
}

impl From<TlsFacts> for Secured {
    /// A channel that nothing can be bound to.
    fn from(facts: TlsFacts) -> Self {
        Secured {
            facts,
            bindings: Arc::default(),
            certificate: None,
            port: None,
        }
    }
}

/// Settings of a session, the same for every connection until a reload.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our own name in the greeting, the answer to EHLO, 221 and 421 (RFC 5321 §4.2).
    pub hostname: Domain,
    /// Octets of a message at most, said in EHLO (RFC 1870); at least 65,536.
    pub message_size: u64,
    /// RCPT commands in one transaction at most, refused ones counted (RFC 9422 §4.2); at least 100.
    pub recipients: usize,
    /// MAIL commands in one session at most, refused ones counted (RFC 9422 §4.1); 1 to 999,999.
    pub messages: u32,
    /// Unknown, misplaced and malformed commands that are borne; the next one ends the session.
    pub errors: u32,
    /// Failed sign-ins that are borne; a further AUTH ends the session (RFC 4954 §9: not below 3).
    pub sign_in_failures: u32,
    /// Mechanisms on offer, as far as the channel bears them; PLAIN always is (RFC 4954 §4).
    pub mechanisms: Vec<Mechanism>,
    /// What a refused bearer of a token is told (RFC 7628 §3.2.2).
    pub advice: TokenAdvice,
    /// How far off mail may be put by its sender (RFC 4865); zero: not at all.
    pub future_release: Duration,
    /// What is done with a bare LF and with long lines in content.
    pub tolerance: Tolerance,
    /// Where mail for `<Postmaster>` goes (RFC 5321 §4.5.1).
    pub postmaster: Mailbox,
    /// Text behind the host name in the greeting.
    pub greeting: String,
    /// How a person reaches the operator; shown by HELP.
    pub contact: String,
    /// Silence between commands (RFC 5321 §4.5.3.2.7 asks for at least 300 s).
    ///
    /// Counted anew from each command line, not from each octet.
    pub idle: Duration,
    /// From the first octet of a command line to its end.
    pub line: Duration,
    /// Silence inside mail data.
    pub data: Duration,
    /// Octets a second that mail data must reach, counted over the whole of it beyond one
    /// `data`; 0 asks for none.
    pub data_rate: u32,
    /// From AUTH to its last response.
    pub sign_in: Duration,
    /// A whole session, but for content under way.
    pub session: Duration,
}

impl Options {
    /// The mechanisms that EHLO lists on such a channel, in order.
    pub(super) fn offered<'a>(
        &'a self,
        secured: &'a Secured,
    ) -> impl Iterator<Item = Mechanism> + 'a {
        // On TLS 1.2 there is no exporter that both ends agree upon, so nothing is bound at all
        // (RFC 9266 §3, RFC 7677 §4).
        let can_bind = secured.bindings.exporter.is_some();
        let is_borne = move |mechanism: &Mechanism| match mechanism {
            Mechanism::ScramSha256Plus => can_bind,
            Mechanism::External => secured.certificate.is_some(),
            _ => true,
        };
        Mechanism::ALL
            .into_iter()
            .filter(move |it| self.mechanisms.contains(it) && is_borne(it))
    }
}
