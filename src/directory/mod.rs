//! Other people's lists of users: whether a name and a password belong together.
//!
//! A directory is asked and never written to. It knows passwords; what an account may do is the
//! business of our own store. Three kinds: Dovecot's authentication socket, LDAP (RFC 4511), and a
//! service that answers over HTTPS. A password leaves this process only to a Unix socket, over TLS
//! whose other end proved its name, or to this machine itself.

mod dovecot;
mod https;
mod ldap;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::AbortOnDropHandle;

pub use dovecot::Conversation;
pub use https::Https;
pub use ldap::{BindDn, FilterPattern, Ldap, Search, ldap_url};

use crate::{smtp::Mailbox, tls::TlsError};

/// Which directory is asked, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is there.
    pub service: Service,
    /// Whether a first good sign-in makes an account.
    pub creates: bool,
    /// The domain of names that have none; empty: they have no address.
    pub domain: String,
    /// How long its word is remembered.
    pub remember: Duration,
    /// How long it may take to answer.
    pub limit: Duration,
    /// Questions at once; a quarter of them is kept for those who come from where they are known.
    pub at_once: usize,
}

/// The kinds.
#[derive(Clone, Debug)]
pub enum Service {
    /// Dovecot's authentication socket for clients.
    Dovecot(PathBuf),
    /// An LDAP server.
    Ldap(Ldap),
    /// A service of the operator's own.
    Https(Https),
}

/// Who wants to be whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// Login name, prepared and folded.
    pub name: String,
    /// As typed, prepared.
    pub password: SecretString,
    /// From where.
    pub peer: IpAddr,
    /// Whose turn it takes.
    pub turn: Turn,
}

/// Who asks: however many strangers guess, those who are known find a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Somebody from where the account is known.
    Known,
    /// Anybody else.
    Stranger,
}

/// Somebody the directory knows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The address that it has for them, where it has one.
    pub address: Option<Mailbox>,
}

/// Why there is no word. Never holds a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

impl Trouble {
    fn of(what: &str, error: impl std::fmt::Display) -> Self {
        Trouble(format!("{what}: {error}"))
    }
}

/// A directory in use.
pub struct Directory {
    asked: Asked,
    turns: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    limit: Duration,
}

#[derive(Clone)]
enum Asked {
    Dovecot(PathBuf),
    Ldap(Arc<ldap::Client>),
    Https(Arc<https::Client>),
}

impl Directory {
    /// Reads the authorities to trust; connects to nothing yet. Blocks.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(options: &Options) -> Result<Self, TlsError> {
        let asked = match &options.service {
            Service::Dovecot(socket) => Asked::Dovecot(socket.clone()),
            Service::Ldap(ldap) => Asked::Ldap(Arc::new(ldap::Client::open(ldap, options.limit)?)),
            Service::Https(https) => {
                Asked::Https(Arc::new(https::Client::open(https, options.limit)?))
            }
        };
        Ok(Directory {
            asked,
            turns: Arc::new(Semaphore::new(options.at_once.max(1))),
            strangers: Arc::new(Semaphore::new(
                (options.at_once - options.at_once / 4).max(1),
            )),
            limit: options.limit,
        })
    }

    /// Asks. `None`: it does not know this name with this password.
    ///
    /// # Errors
    /// [`Trouble`]: it gave no word, in time or at all.
    pub async fn check(&self, question: Question) -> Result<Option<Found>, Trouble> {
        // To LDAP a bind without a password is one of nobody, and succeeds (RFC 4513 §5.1.2).
        if question.password.expose_secret().is_empty() {
            return Ok(None);
        }
        let asked = self.asked.clone();
        self.in_turn(question.turn, async move {
            match asked {
                Asked::Dovecot(socket) => dovecot::check(&socket, &question).await,
                Asked::Ldap(client) => client.check(&question).await,
                Asked::Https(client) => client.check(&question).await,
            }
        })
        .await
    }

    /// Begins SCRAM-SHA-256 with a client's first message (RFC 5802 §7); gives the answer to it. `None`:
    /// nobody can prove that name there.
    ///
    /// # Errors
    /// [`Trouble`], as with [`Directory::check`].
    pub async fn begin(
        &self,
        peer: IpAddr,
        turn: Turn,
        first: &[u8],
    ) -> Result<Option<(Conversation, Vec<u8>)>, Trouble> {
        let Asked::Dovecot(socket) = &self.asked else {
            return Ok(None);
        };
        let (socket, first) = (socket.clone(), first.to_vec());
        self.in_turn(
            turn,
            async move { dovecot::begin(&socket, peer, &first).await },
        )
        .await
    }

    /// Ends it with the client's last message; gives the proof that the client is to see. `None`: the
    /// client's own proof is wrong.
    ///
    /// # Errors
    /// [`Trouble`], as with [`Directory::check`].
    pub async fn finish(
        &self,
        conversation: Conversation,
        turn: Turn,
        response: &[u8],
    ) -> Result<Option<(Found, Vec<u8>)>, Trouble> {
        let response = response.to_vec();
        self.in_turn(turn, async move { conversation.finish(&response).await })
            .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl Future<Output = Result<T, Trouble>> + Send + 'static,
    ) -> Result<T, Trouble> {
        let turns = Arc::clone(&self.turns);
        let strangers = (turn == Turn::Stranger).then(|| Arc::clone(&self.strangers));
        // A task of its own: what a strange server says may make a library panic (S19).
        let work = tokio::spawn(async move {
            let closed = |_| Trouble("closed".to_owned());
            let _among_strangers = match strangers {
                Some(strangers) => Some(strangers.acquire_owned().await.map_err(closed)?),
                None => None,
            };
            let _turn = turns.acquire_owned().await.map_err(closed)?;
            work.await
        });
        match timeout(self.limit, AbortOnDropHandle::new(work)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Trouble("its answer made no sense".to_owned())),
            Err(_) => Err(Trouble("no answer in time".to_owned())),
        }
    }
}
