//! A connection that is ready for mail, until it is of no use any more.

use tokio::time::Instant;

use super::{
    driver::{Driver, Pause},
    opening::Shown,
    pieces::Pieces,
    transient,
};
use crate::{
    client::{Channel, Extensions, Fate, Message, NeedsSevenBit},
    envelope::Link,
    spool::Content,
};

/// A connection to one host of a next hop.
pub struct Connection {
    /// None once it is of no use. Taken while something is under way: a future that is dropped
    /// takes the connection with it.
    driver: Option<Driver>,
    link: Link,
    extensions: Extensions,
    transactions: u32,
    last_used: Instant,
}

/// What came of a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Sent {
    /// One for each recipient, in their order.
    pub fates: Vec<Fate>,
    /// Whether the connection takes another message.
    pub standing: Standing,
    /// Whether the hop can have the message at all.
    pub reach: Reach,
}

/// Whether a connection is of further use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It may carry another message.
    Ready,
    /// It is closed.
    Closed,
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// No octet of the content was written: on a fresh connection the message may be sent again
    /// without fear that it comes twice.
    NoContent,
    /// Some of it may have been.
    SomeContent,
}

impl Connection {
    pub(super) fn new(driver: Driver, link: Link) -> Self {
        Connection {
            extensions: driver.machine.extensions().clone(),
            driver: Some(driver),
            link,
            transactions: 0,
            last_used: Instant::now(),
        }
    }

    /// Sends a message whose content has exactly the octets that it says; one of another length, or
    /// one that cannot be read, is deferred and its end never said.
    ///
    /// Where the connection is of no use any more everybody is deferred. Dropping the future closes
    /// the connection.
    ///
    /// # Errors
    /// [`NeedsSevenBit`] where the hop takes no octets above 127: nothing was sent, and the
    /// connection is ready for the message in a 7-bit form.
    pub async fn send(
        &mut self,
        message: Message,
        content: Content,
    ) -> Result<Sent, NeedsSevenBit> {
        let count = message.recipients.len();
        let nothing_said = |text: &str| vec![Fate::Deferred(transient(4, 2, text)); count];
        let Some(mut driver) = self.driver.take() else {
            return Ok(Sent {
                fates: nothing_said("the connection was closed before"),
                standing: Standing::Closed,
                reach: Reach::NoContent,
            });
        };
        if let Err(needs) = driver.begin(message) {
            self.driver = Some(driver);
            return Err(needs);
        }
        self.transactions = self.transactions.saturating_add(1);
        let pause = driver.drive(&mut Pieces::of(content)).await;
        self.last_used = Instant::now();
        let fates = driver.fates.take();
        let reach = driver.reach;
        let standing = match pause {
            Pause::Ready => {
                self.driver = Some(driver);
                Standing::Ready
            }
            Pause::StartTls | Pause::Closed => {
                driver.close().await;
                Standing::Closed
            }
        };
        Ok(Sent {
            fates: fates.unwrap_or_else(|| nothing_said("internal error while sending")),
            standing,
            reach,
        })
    }

    /// Says QUIT, waits for the answer as long as the options have it, and closes.
    pub async fn quit(mut self) {
        if let Some(mut driver) = self.driver.take() {
            driver.machine.quit(driver.now());
            let _ = driver.drive(&mut Pieces::none()).await;
            driver.close().await;
        }
    }

    /// Whether the hop has neither said anything nor closed since the last message, as far as can
    /// be told without waiting. If it has, the connection is closed.
    pub fn is_idle_alive(&mut self) -> bool {
        let is_silent = |driver: &mut Driver| driver.stream.is_silent();
        let alive = self.driver.as_mut().is_some_and(is_silent);
        if !alive {
            self.driver = None;
        }
        alive
    }

    /// Whether it may carry another message, as far as is known.
    pub fn standing(&self) -> Standing {
        match self.driver {
            Some(_) => Standing::Ready,
            None => Standing::Closed,
        }
    }

    /// Whom it leads to, and how it is encrypted.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What the hop offers.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether REQUIRETLS is offered where it means something: on a channel whose other end has proved
    /// to be the one that was meant (RFC 8689 §2, §4.2.1).
    pub fn passes_requiretls_on(&self) -> bool {
        let is_proved = |driver: &Driver| driver.machine.channel() == Channel::Proved;
        // A link within this machine may be good enough for its route; the keyword belongs to TLS.
        self.extensions.requiretls
            && self.link.tls.is_some()
            && self.driver.as_ref().is_some_and(is_proved)
    }

    /// What the hop has shown of itself.
    pub fn shown(&self) -> Shown {
        self.driver.as_ref().map(Driver::shown).unwrap_or_default()
    }

    /// Transactions begun so far.
    pub fn transactions(&self) -> u32 {
        self.transactions
    }

    /// When it was opened or the last transaction ended.
    pub fn last_used(&self) -> Instant {
        self.last_used
    }
}
