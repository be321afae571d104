//! Hand-off to hosts that speak SMTP or LMTP, by the routes `relay` and `lmtp`.
//!
//! One attempt takes the hosts of its next hop in turn until one can be spoken to; connections are
//! kept between messages, and hosts that fail are left alone for a time that grows. Whatever the
//! host says of the message is its word, and no other host is asked then. Security is that of the
//! route: without the encryption and the proof that it names nothing of a message is said.

mod backoff;
mod carry;
mod outbound;
mod pool;
mod probe;
mod setup;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use backoff::Waits;
pub use probe::{Answered, probe};

use self::{
    backoff::{Backoff, Suspect},
    carry::{Carried, Carry},
    pool::{Key, OfRoute, Pool},
    setup::Setups,
};
use super::{
    Attempt, Attempted, RecipientResult, Standing, deferred,
    smtp::{Connection, OpenCause, OpenFailure, Shown},
};
use crate::{
    client::{Cause, Protocol, Timeouts},
    envelope::{Link, Outcome, Status},
    policy::routes::{Credential, Hop, Host, Origin, Place},
    smtp::Domain,
    spool::Try,
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
}

/// Every next hop that speaks SMTP or LMTP.
pub(super) struct Hops {
    options: Options,
    setups: Setups,
    pool: Pool,
    backoff: Backoff,
}

impl Hops {
    pub(super) fn new(options: Options) -> Self {
        Hops {
            setups: Setups::default(),
            pool: Pool::default(),
            backoff: Backoff::new(options.waits),
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

    /// Makes one attempt.
    pub(super) async fn attempt(
        &self,
        hop: &Hop,
        protocol: Protocol,
        attempt: &Attempt,
    ) -> Attempted {
        let origin = Origin::new(&attempt.sender, attempt.account.as_deref());
        let credential = hop.credential(&origin);
        let _place = self.pool.enter(&attempt.route.name);
        let mut tour = Tour {
            hops: self,
            hop,
            protocol,
            attempt,
            credential,
            carry: Carry::new(attempt, protocol, &self.options.scratch),
            in_vain: Vec::new(),
            passed_over: None,
            silence: None,
            answered: false,
            paused: false,
        };
        for host in hop.in_turn(random) {
            tour.visit(host).await;
            if tour.carry.is_done() || tour.paused {
                break;
            }
        }
        tour.end()
    }
}

/// One attempt on its way from host to host.
struct Tour<'a> {
    hops: &'a Hops,
    hop: &'a Hop,
    protocol: Protocol,
    attempt: &'a Attempt,
    credential: Option<&'a Credential>,
    carry: Carry<'a>,
    in_vain: Vec<Try>,
    /// A host that was not tried, and why; of several the last one.
    passed_over: Option<(Arc<Link>, Status)>,
    /// The shortest time after which one of the hosts may be tried again.
    silence: Option<Duration>,
    /// A host could be spoken to.
    answered: bool,
    /// Whoever is left is to be tried anew at once.
    paused: bool,
}

impl Tour<'_> {
    /// Hands over to this host whatever it takes.
    async fn visit(&mut self, host: &Host) {
        let suspects = self.suspects(host);
        for suspect in &suspects {
            if let Some((left, why)) = self.hops.backoff.left(suspect) {
                let text = format!("left alone for {} s more: {}", left.as_secs() + 1, why.text);
                let status = Status { text, ..why };
                self.passed_over = Some((link_to(host), status));
                self.is_silent(suspect, left);
                return;
            }
        }
        let key = Key {
            route: OfRoute(self.attempt.route.clone()),
            host: host.clone(),
            login: self.login(),
        };
        let mut kept = self.hops.pool.take(&key);
        loop {
            let was_kept = kept.is_some();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match self.open(host, &key).await {
                    Ok(connection) => connection,
                    Err(failure) => return self.not_open(host, &failure),
                },
            };
            let origin = if was_kept { "kept" } else { "opened" };
            metrics::counter!("gatepost_hop_connections_total", "route_kind" => self.attempt.route.transport.kind(), "origin" => origin)
                .increment(1);
            for suspect in &suspects {
                self.hops.backoff.answered(suspect);
            }
            self.answered = true;
            let carried = self.carry.with(&mut connection).await;
            if connection.transactions() < self.hop.messages_per_connection {
                self.hops.pool.put(key.clone(), connection, self.hop.idle);
            } else {
                self.hops.pool.retire(key.route.name(), connection);
            }
            match carried {
                Carried::Through => return,
                Carried::Turn => {
                    self.paused = true;
                    return;
                }
                // It had been closed behind our back, or takes no further transaction: nothing of
                // the message was said on it that a new one could say twice.
                Carried::Anew => {}
                Carried::Lost(_, _) if was_kept => {}
                Carried::Lost(link, status) => return self.in_vain(link, status),
                Carried::Broke(status) => {
                    // The next attempt is another host's, where there is one.
                    if self.hop.hosts.len() > 1 {
                        let [place, _] = suspects;
                        self.hops.backoff.failed_with(place, &status);
                    }
                    return;
                }
            }
        }
    }

    async fn open(&self, host: &Host, key: &Key) -> Result<Connection, Box<OpenFailure>> {
        let most = self.hop.connections;
        self.hops.pool.make_room(key.route.name(), most).await;
        let setups = &self.hops.setups;
        let setup = setups.of(
            self.hop,
            host,
            self.protocol,
            self.credential,
            &self.hops.options,
        );
        match setup.await {
            Ok((target, setup)) => Connection::open(&target, &setup).await,
            Err(error) => Err(Box::new(OpenFailure {
                cause: OpenCause::Hop(Cause::Local),
                status: Status::new(crate::smtp::EnhancedCode::new(4, 3, 5), error.to_string()),
                link: link_to(host).as_ref().clone(),
                shown: Shown::default(),
            })),
        }
    }

    fn not_open(&mut self, host: &Host, failure: &OpenFailure) {
        let [place, login] = self.suspects(host);
        // A login that is refused is no word on the host: others may sign in there.
        let (suspect, answers) = match failure.cause {
            OpenCause::Hop(Cause::SignIn) => (login, true),
            _ => (place, false),
        };
        tracing::warn!(
            route = self.attempt.route.name,
            host = %host.place,
            login = suspect.login.as_deref(),
            cause = ?failure.cause,
            reason = failure.status.text,
            "next hop cannot be used"
        );
        metrics::counter!("gatepost_hop_failures_total", "route_kind" => self.attempt.route.transport.kind())
            .increment(1);
        let wait = self
            .hops
            .backoff
            .failed_with(suspect.clone(), &failure.status);
        self.answered |= answers;
        self.is_silent(&suspect, wait);
        self.in_vain(Arc::new(failure.link.clone()), failure.status.clone());
    }

    fn is_silent(&mut self, suspect: &Suspect, wait: Duration) {
        if suspect.login.is_some() {
            self.answered = true;
        }
        let wait = self.silence.map_or(wait, |other| other.min(wait));
        self.silence = Some(wait);
    }

    fn in_vain(&mut self, link: Arc<Link>, status: Status) {
        self.in_vain.push(Try {
            link,
            ended_at: std::time::SystemTime::now(),
            status,
        });
    }

    fn login(&self) -> Option<Box<str>> {
        self.credential
            .map(|credential| credential.name.as_str().into())
    }

    /// The host, and the login there.
    fn suspects(&self, host: &Host) -> [Suspect; 2] {
        [None, self.login().or(Some("".into()))].map(|login| Suspect {
            route: self.attempt.route.name.as_str().into(),
            place: host.place.clone(),
            login,
        })
    }

    /// Whoever is not decided is deferred, for the reason of the last host that was tried.
    fn end(mut self) -> Attempted {
        let last = match self.carry.is_done() || self.paused {
            true => None,
            false => self.in_vain.pop(),
        };
        let last = last.map(|last| (last.link, last.status));
        let rest = match last.or(self.passed_over) {
            Some((link, status)) => RecipientResult {
                outcome: Outcome::Deferred(status),
                link: Some(link),
            },
            None => RecipientResult {
                outcome: deferred(4, 4, "the route has no host"),
                link: None,
            },
        };
        Attempted {
            results: self.carry.results((!self.paused).then_some(&rest)),
            in_vain: self.in_vain.into(),
            standing: match self.silence {
                Some(wait) if !self.answered => Standing::Silent(wait),
                _ => Standing::Answers,
            },
        }
    }
}

/// Nothing is known of it but what the route says.
fn link_to(host: &Host) -> Arc<Link> {
    let name = match &host.place {
        Place::Tcp { host, .. } => host.clone(),
        Place::Unix(path) => path.display().to_string(),
    };
    Arc::new(Link {
        host: name.into(),
        address: None,
        tls: None,
    })
}

/// A number below `below`; without randomness the first host is taken.
fn random(below: u32) -> u32 {
    getrandom::u32().map_or(0, |number| number % below.max(1))
}
