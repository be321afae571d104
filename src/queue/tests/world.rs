//! A queue with all its neighbours played, and a clock turned by hand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::memory::{Memory, State, content, locked};
use crate::{
    deliver::{Attempt, Attempted, Standing, Unprotected},
    envelope::{Level, Outcome, QueueId, Reporting, Status},
    policy::{
        routes::{
            DomainPattern, Encryption, Hop, Host, LocalRecipients, Mx, Place, Route, RouteTable,
            Transport, Trust,
        },
        security::Requirement,
    },
    queue::{
        Options, Queue, Surroundings,
        custody::{Arrivals, Carrier},
    },
    smtp::{Domain, EnhancedCode, Notify},
    spool::{Claim, DueRecipient},
};

pub(super) struct Channel(pub(super) mpsc::Receiver<Claim>);

impl Arrivals for Channel {
    async fn recv(&mut self) -> Option<Claim> {
        self.0.recv().await
    }
}

/// What the next hop does with one recipient.
pub(super) enum Reaction {
    Deliver,
    Defer,
    Refuse,
    Panic,
    Hang(Duration),
    DeferLate(Duration),
    RefuseLate(Duration),
    Relay(Reporting),
    /// So many hosts are not protected as strict mail, or other mail, asks for.
    Unprotected {
        hosts: u32,
        strict: bool,
    },
    /// The hop as a whole does not answer for so long, after it was waited for so long.
    Silent {
        after: Duration,
        until: Duration,
    },
}

pub(super) type Script = Box<dyn Fn(&str, &DueRecipient) -> Reaction + Send + Sync>;

/// The next hops; remembers each delivery and each attempt.
pub(super) struct Hops {
    pub(super) script: Script,
    pub(super) attempts: Mutex<Vec<Tried>>,
    pub(super) clock: Clock,
}

/// An attempt seen by a next hop.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    /// Seconds since the start.
    pub(super) at: u64,
    pub(super) id: QueueId,
    pub(super) hop: String,
    pub(super) recipients: Vec<u32>,
    pub(super) delivered: Vec<u32>,
}

impl Carrier for Arc<Hops> {
    /// Domains are served by the host behind their first dot; those of `unknown` by nobody knows whom.
    async fn site(&self, _route: &Route, domain: &Domain) -> Option<Box<str>> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (_, host) = domain.as_str().split_once('.')?;
        (host != "unknown").then(|| host.into())
    }

    async fn attempt(&self, attempt: Attempt) -> Attempted {
        let index = {
            let mut attempts = locked(&self.attempts);
            attempts.push(Tried {
                at: self.clock.seconds(),
                id: attempt.id.clone(),
                hop: attempt.route.name.clone(),
                recipients: attempt.recipients.iter().map(|r| r.number).collect(),
                delivered: Vec::new(),
            });
            attempts.len() - 1
        };
        let mut outcomes = Vec::new();
        let mut standing = Standing::Answers;
        let mut unprotected = None;
        for recipient in &attempt.recipients {
            let status = |class| Status::new(EnhancedCode::new(class, 2, 0), "says the script");
            outcomes.push(match (self.script)(&attempt.route.name, recipient) {
                Reaction::Deliver => {
                    Outcome::Delivered(Status::new(EnhancedCode::new(2, 0, 0), "here"))
                }
                Reaction::Defer => Outcome::Deferred(status(4)),
                Reaction::Refuse => Outcome::Failed(status(5)),
                Reaction::Panic => panic!("as the script wants it"),
                Reaction::DeferLate(time) => {
                    tokio::time::sleep(time).await;
                    Outcome::Deferred(status(4))
                }
                Reaction::RefuseLate(time) => {
                    tokio::time::sleep(time).await;
                    Outcome::Failed(status(5))
                }
                Reaction::Unprotected { hosts, strict } => {
                    unprotected = Some(Unprotected {
                        required: Some(Requirement {
                            level: if strict {
                                Level::Verified
                            } else {
                                Level::Encrypted
                            },
                            passed_on: false,
                            published_counts: true,
                        }),
                        hosts,
                    });
                    Outcome::Deferred(Status::new(EnhancedCode::new(4, 7, 5), "not protected"))
                }
                Reaction::Relay(reporting) => Outcome::Relayed(status(2), reporting),
                Reaction::Silent { after, until } => {
                    tokio::time::sleep(after).await;
                    standing = Standing::Silent(until);
                    Outcome::Deferred(status(4))
                }
                Reaction::Hang(time) => {
                    tokio::time::sleep(time).await;
                    Outcome::Delivered(Status::new(EnhancedCode::new(2, 0, 0), "late"))
                }
            });
            if matches!(outcomes.last(), Some(Outcome::Delivered(_))) {
                locked(&self.attempts)[index]
                    .delivered
                    .push(recipient.number);
            }
        }
        let mut attempted = Attempted::local(outcomes);
        for result in attempted.results.iter_mut().flatten() {
            result.unprotected = unprotected;
        }
        Attempted {
            standing,
            ..attempted
        }
    }
}

/// Simulated time that a test can step.
#[derive(Clone)]
pub(super) struct Clock {
    pub(super) start: Instant,
    pub(super) epoch: SystemTime,
    pub(super) stepped_back: Arc<Mutex<Duration>>,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            epoch: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            stepped_back: Arc::default(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.epoch + self.start.elapsed() - *locked(&self.stepped_back)
    }

    pub(super) fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

/// A queue and everything around it.
pub(super) struct World {
    pub(super) custody: Arc<Memory>,
    pub(super) hops: Arc<Hops>,
    pub(super) fresh: mpsc::Sender<Claim>,
    pub(super) queue: Queue,
    pub(super) cancel: CancellationToken,
    pub(super) clock: Clock,
}

pub(super) fn table(domains: &[&str]) -> RouteTable {
    let routes = domains.iter().map(|domain| Route {
        name: (*domain).into(),
        domains: vec![DomainPattern::parse(domain).unwrap()],
        origins: Vec::new(),
        transport: Transport::Maildir {
            path: "/m/{address}".into(),
            recipients: LocalRecipients::Any,
            sent_folder: "Sent".into(),
        },
    });
    RouteTable::new(routes.collect()).unwrap()
}

/// Routes to next hops of other machines, one for each domain.
pub(super) fn relays(domains: &[&str]) -> Options {
    let routes = domains.iter().map(|domain| Route {
        name: (*domain).into(),
        domains: vec![DomainPattern::parse(domain).unwrap()],
        origins: Vec::new(),
        transport: Transport::Relay(Hop {
            hosts: vec![Host {
                place: Place::Unix("/nowhere".into()),
                encryption: Encryption::Plaintext,
                order: 10,
                weight: 1,
            }],
            trust: Trust::System,
            credentials: Vec::new(),
            connections: 1_000,
            messages_per_connection: 1,
            idle: Duration::ZERO,
        }),
    });
    Options {
        routes: RouteTable::new(routes.collect()).unwrap(),
        ..options()
    }
}

/// One route to the mail hosts of every domain.
pub(super) fn mail_hosts(connections: usize) -> Options {
    let route = Route {
        name: "mx".into(),
        domains: vec![DomainPattern::Any],
        origins: Vec::new(),
        transport: Transport::Mx(Mx {
            connections,
            ..Mx::default()
        }),
    };
    Options {
        routes: RouteTable::new(vec![route]).unwrap(),
        ..options()
    }
}

pub(super) fn options() -> Options {
    Options {
        routes: table(&["a.example", "b.example"]),
        ..Options::new(Domain::parse("mail.ours.example").unwrap())
    }
}

pub(super) fn id(number: usize) -> QueueId {
    QueueId::new(ulid::Ulid(number as u128))
}

impl World {
    pub(super) fn new(options: Options, script: Script) -> World {
        World::with(Arc::default(), options, script)
    }

    pub(super) fn with(custody: Arc<Memory>, options: Options, script: Script) -> World {
        let clock = Clock::new();
        let hops = Arc::new(Hops {
            script,
            attempts: Mutex::default(),
            clock: clock.clone(),
        });
        let (fresh, arrivals) = mpsc::channel(1_000);
        let cancel = CancellationToken::new();
        let ours = clock.clone();
        let surroundings = Surroundings {
            now: Box::new(move || ours.now()),
            random: Box::new(|| 0),
            octets: Box::new(|| [7; 16]),
            id: Box::new(|| ulid::Ulid(0xffff)),
            dkim: crate::dkim::Dkim::silent(),
        };
        let queue = Queue::start_with(
            options,
            hops.clone(),
            custody.clone(),
            Channel(arrivals),
            cancel.clone(),
            surroundings,
        );
        World {
            custody,
            hops,
            fresh,
            queue,
            cancel,
            clock,
        }
    }

    /// A message that intake hands over.
    pub(super) fn fresh(&self, number: usize, addresses: &[&str]) {
        self.custody
            .add(&id(number), addresses, self.clock.now(), State::Claimed);
        let claim = self.custody.claim_of(&id(number), Some(content()));
        self.fresh.try_send(claim).unwrap();
    }

    /// As [`World::fresh`], with NOTIFY.
    pub(super) fn fresh_asking(&self, number: usize, addresses: &[&str], notify: Option<Notify>) {
        self.custody
            .add(&id(number), addresses, self.clock.now(), State::Claimed);
        for ((other, _), row) in locked(&self.custody.rows).iter_mut() {
            if *other == id(number) {
                row.notify = notify;
            }
        }
        let claim = self.custody.claim_of(&id(number), Some(content()));
        self.fresh.try_send(claim).unwrap();
    }

    /// A message that lies in the spool.
    pub(super) fn due(&self, number: usize, addresses: &[&str], seconds: u64) {
        let now = self.clock.now();
        let due = State::Due(now + Duration::from_secs(seconds));
        self.custody.add(&id(number), addresses, now, due);
    }

    pub(super) fn attempts(&self) -> Vec<Tried> {
        locked(&self.hops.attempts).clone()
    }

    pub(super) async fn until(&self, what: &str, condition: impl Fn(&World) -> bool) {
        for _ in 0..1_000_000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("never: {what}; {:?}", self.custody.states());
    }

    pub(super) async fn until_all(&self, state: State) {
        self.until(&format!("all {state:?}"), |world| world.custody.all(state))
            .await;
    }

    pub(super) async fn stop(&self) {
        self.cancel.cancel();
        self.queue.stopped().await;
    }
}

/// Every recipient is delivered so many times.
pub(super) fn deliveries(attempts: &[Tried]) -> BTreeMap<(QueueId, u32), usize> {
    let mut counts = BTreeMap::new();
    for tried in attempts {
        for recipient in &tried.delivered {
            *counts.entry((tried.id.clone(), *recipient)).or_default() += 1;
        }
    }
    counts
}

/// Nobody got a second copy.
pub(super) fn assert_delivered_once(world: &World) {
    for (to, copies) in deliveries(&world.attempts()) {
        assert_eq!(copies, 1, "{to:?}");
    }
}

pub(super) fn always(make: fn() -> Reaction) -> Script {
    Box::new(move |_, _| make())
}
