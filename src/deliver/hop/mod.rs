//! Hand-off to hosts that speak SMTP or LMTP, by the routes `relay` and `lmtp`.
//!
//! One attempt takes the hosts of its next hop in turn until one can be spoken to; connections are
//! kept between messages, and hosts that fail are left alone for a time that grows. Whatever the
//! host says of the message is its word, and no other host is asked then. Security is that of the
//! route: without the encryption and the proof that it names nothing of a message is said.

mod backoff;
mod carry;
mod opened;
mod outbound;
mod pool;
mod probe;
mod seats;
mod setup;
mod tour;
mod way;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use backoff::Waits;
pub use probe::{Answered, probe};

use self::{
    backoff::Backoff,
    pool::Pool,
    seats::{Seat, Seats},
    setup::Setups,
};
pub(super) use self::{
    opened::{Ended, Opened},
    outbound::SevenBit,
    tour::{Terms, Tour},
    way::{Channel, Lane, Proving, Way},
};
use super::{Attempt, Attempted};
use crate::{
    client::{Protocol, Timeouts},
    dkim::Dkim,
    envelope::{Level, Outcome},
    policy::{
        routes::{Hop, Origin},
        security::Requirement,
    },
    smtp::Domain,
    spool::Content,
};

/// How hosts of next hops are spoken to; all of it may change while the server runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our own name in EHLO and LHLO.
    pub hello_name: Domain,
    /// How long one address may take to answer a connection.
    pub connect: Duration,
    /// How long a connection may take until it is ready for mail.
    pub opening: Duration,
    /// How long is waited for each answer.
    pub timeouts: Timeouts,
    /// How long hosts that fail are left alone.
    pub waits: Waits,
    /// Where copies of large messages for hosts without 8BITMIME are made.
    pub scratch: PathBuf,
    /// Ports that we listen on, by which a connection that comes back to us is known.
    pub own_ports: Arc<[u16]>,
}

/// Every next hop that speaks SMTP or LMTP.
pub(super) struct Hops {
    options: Options,
    dkim: Arc<Dkim>,
    setups: Setups,
    pool: Pool,
    backoff: Backoff,
    seats: Seats,
}

impl Hops {
    pub(super) fn new(options: Options, dkim: Arc<Dkim>) -> Self {
        Hops {
            setups: Setups::default(),
            pool: Pool::default(),
            backoff: Backoff::new(options.waits),
            seats: Seats::default(),
            dkim,
            options,
        }
    }

    /// Removes what a process before this one left behind. Blocks.
    pub(super) fn sweep(&self) {
        outbound::sweep(&self.options.scratch);
    }

    /// Hosts that failed are tried again at once.
    pub(super) fn forgive(&self) {
        self.backoff.forgive();
    }

    /// Ends the connections that wait for mail.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Waits for a place at a mail host that takes so many connections at once; it holds until it is
    /// dropped.
    pub(super) async fn seat(&self, share: &Arc<str>, most: usize) -> (Seat, pool::Place) {
        let seat = self.seats.take(share, most).await;
        (seat, self.pool.enter(share))
    }

    /// A copy in lines, where the content may be others; else what becomes of its recipients.
    pub(super) async fn in_lines(&self, content: &Content) -> Result<SevenBit, Outcome> {
        let copy = outbound::seven_bit(content, self).await;
        copy.map_err(|error| carry::unconverted(&error))
    }

    /// Makes one attempt.
    pub(super) async fn attempt(
        &self,
        hop: &Hop,
        protocol: Protocol,
        attempt: &Attempt,
    ) -> Attempted {
        let origin = Origin::new(&attempt.sender, attempt.account.as_deref());
        let terms = Terms {
            protocol,
            credential: hop.credential(&origin),
            connections: hop.connections,
            messages_per_connection: hop.messages_per_connection,
            idle: hop.idle,
            several: hop.hosts.len() > 1,
        };
        let share: Arc<str> = attempt.route.name.as_str().into();
        let _place = self.pool.enter(&share);
        let mut tour = Tour::new(self, terms, attempt);
        // The route says what a host must prove, whatever is asked; with REQUIRETLS the message asks.
        let asks = attempt.must_pass_requiretls_on();
        let required = asks.then(|| Requirement::of(attempt.protection, Level::default(), None));
        for host in hop.in_turn(random) {
            let way = Way {
                required,
                ..Way::to(hop, host)
            };
            tour.visit(&way, &share).await;
            if tour.is_over() {
                break;
            }
        }
        tour.end()
    }
}

/// A number below `below`; without randomness the first host is taken.
pub(super) fn random(below: u32) -> u32 {
    getrandom::u32().map_or(0, |number| number % below.max(1))
}
