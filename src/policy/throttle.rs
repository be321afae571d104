//! Guess throttling: how many wrong passwords may come from an address, from its network, and for
//! a name (S28, S29). Nothing here locks an account or delays a reply: a sign-in is checked or not.
//!
//! | counter | key | who skips it |
//! |---|---|---|
//! | address | IPv4 address, IPv6 /64 | known places, exempt networks |
//! | network | IPv4 /24, IPv6 /48 | known places, exempt networks |
//! | name | the name that was tried, existing or not | known places, exempt networks |
//! | own | name and place together | all but known places |
//!
//! A known place has an allowance of its own, as large as an address's: whoever guesses from the
//! same address, or at the same name from elsewhere, does not keep its owner out.
//!
//! Only failures count, and the same wrong password of one name counts once, for the name and for
//! each place it comes from: a mail program that goes through all mechanisms, or retries all day
//! with an old password, is one mistake, but places without end that repeat one guess, each at the
//! price of a hash, are none. The driver
//! asks [`Throttle::allows`] when a sign-in arrives and again right before it hashes, and reports
//! with [`Throttle::failed`]; so what slips past a limit is at most one guess a hash worker.

mod network;
mod recent;

use std::{net::IpAddr, time::Duration};

use crate::envelope::Moment;

pub use network::{Network, NetworkError};
pub(crate) use recent::Recent;

/// Where a sign-in comes from, as far as its account is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Nothing is known.
    Stranger,
    /// The account signed in well from this place lately: only its own counter there applies.
    Known,
    /// The operator exempted the network: no counter applies.
    Exempt,
}

/// One sign-in, as the throttle sees it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// What is known about it.
    pub standing: Standing,
    /// The name that was tried, in the form in which names are looked up.
    pub name: &'a str,
}

/// Failures that each window may hold; the next attempt is not checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Within any minute.
    pub minute: u32,
    /// Within any hour.
    pub hour: u32,
    /// Within any day.
    pub day: u32,
}

/// The limits of the three counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Of one address.
    pub address: Limit,
    /// Of one network.
    pub network: Limit,
    /// Of one name.
    pub name: Limit,
}

impl Default for Limits {
    /// Ten typing mistakes in a row are nobody's attack; a dozen a minute is still far below two
    /// guesses a second.
    fn default() -> Self {
        let limit = |minute, hour, day| Limit { minute, hour, day };
        Limits {
            address: limit(12, 60, 200),
            network: limit(36, 180, 600),
            name: limit(24, 100, 300),
        }
    }
}

/// The counters.
#[derive(Debug)]
pub struct Throttle {
    limits: Limits,
    addresses: Recent<Network, Counter>,
    networks: Recent<Network, Counter>,
    names: Recent<Box<str>, Counter>,
    /// Of an account at a place where it is known.
    own: Recent<(Network, Box<str>), Counter>,
    /// Wrong guesses by keyed hash, and when each was counted for its name.
    guesses: Recent<u128, Moment>,
    /// The same, by the place that each came from.
    repeats: Recent<(u128, Network), Moment>,
}

impl Throttle {
    /// Nothing counted yet.
    pub fn new(limits: Limits) -> Self {
        Throttle {
            limits,
            addresses: Recent::new(ENTRIES),
            networks: Recent::new(ENTRIES),
            names: Recent::new(ENTRIES),
            own: Recent::new(ENTRIES),
            guesses: Recent::new(ENTRIES),
            repeats: Recent::new(ENTRIES),
        }
    }

    /// Changes the limits and keeps the counts.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether the password of this attempt may be checked.
    pub fn allows(&self, now: Moment, attempt: &Attempt<'_>) -> bool {
        let below = |counter: Option<&Counter>, limit| counter.is_none_or(|c| c.below(now, limit));
        let place = Network::place(attempt.address);
        let limits = &self.limits;
        match attempt.standing {
            Standing::Exempt => true,
            Standing::Known => below(self.own.peek(&(place, attempt.name.into())), limits.address),
            Standing::Stranger => {
                below(self.addresses.peek(&place), limits.address)
                    && below(self.networks.peek(&wider(attempt.address)), limits.network)
                    && below(self.names.peek(&attempt.name.into()), limits.name)
            }
        }
    }

    /// Counts a wrong password.
    ///
    /// `guess` is a keyed hash of name and password (never the password), by which a repeat is
    /// known; it counts again when [`REPEAT`] has passed, and once for each place.
    pub fn failed(&mut self, now: Moment, attempt: &Attempt<'_>, guess: u128) {
        if attempt.standing == Standing::Exempt {
            return;
        }
        let place = Network::place(attempt.address);
        let is_repeat =
            |counted: Option<&Moment>| counted.is_some_and(|&at| now.since(at) < REPEAT);
        if is_repeat(self.repeats.peek(&(guess, place))) {
            return;
        }
        self.repeats.insert((guess, place), now);
        self.addresses.touch(&place, Counter::default).add(now);
        if attempt.standing == Standing::Known {
            let key = (place, attempt.name.into());
            self.own.touch(&key, Counter::default).add(now);
            return;
        }
        self.networks
            .touch(&wider(attempt.address), Counter::default)
            .add(now);
        if !is_repeat(self.guesses.peek(&guess)) {
            self.guesses.insert(guess, now);
            self.names
                .touch(&attempt.name.into(), Counter::default)
                .add(now);
        }
    }
}

/// A counter that has counted something within a day.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counted {
    /// `address`, `network`, `name` or `known place`.
    pub counter: &'static str,
    /// Of what.
    pub key: String,
    /// Failures within a minute, an hour, a day, rounded up.
    pub failures: [u32; 3],
    /// Whether its attempts are put off.
    pub is_over: bool,
}

impl Throttle {
    /// Every counter that has something, those that put attempts off first.
    pub fn counted(&self, now: Moment) -> Vec<Counted> {
        let limits = &self.limits;
        let mut all = Vec::new();
        let mut add = |counter: &'static str, key: String, count: &Counter, limit: Limit| {
            let counted = Counted {
                counter,
                key,
                failures: count.failures(now),
                is_over: !count.below(now, limit),
            };
            if counted.failures[2] > 0 {
                all.push(counted);
            }
        };
        for (key, count) in self.addresses.iter() {
            add("address", key.to_string(), count, limits.address);
        }
        for (key, count) in self.networks.iter() {
            add("network", key.to_string(), count, limits.network);
        }
        for (key, count) in self.names.iter() {
            add("name", key.to_string(), count, limits.name);
        }
        for ((place, name), count) in self.own.iter() {
            add(
                "known place",
                format!("{name} at {place}"),
                count,
                limits.address,
            );
        }
        all.sort_by_key(|it| std::cmp::Reverse((it.is_over, it.failures[2])));
        all
    }

    /// Forgets what was counted, and with it which guesses would be repeats.
    pub fn clear(&mut self) {
        *self = Throttle::new(self.limits);
    }
}

/// How long a wrong password that comes again is the same mistake.
pub const REPEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys of each counter at most: some 10 MB for all of them, names at their longest not counted.
///
/// A flood of new keys pushes out those that failed longest ago. It needs a failure for each, and
/// its own address's counter stops it long before it has pushed out one that is under attack.
const ENTRIES: usize = 20_000;

/// The network whose addresses one attacker commonly has together.
fn wider(address: IpAddr) -> Network {
    Network::of(address, 24, 48)
}

/// Failures in three sliding windows.
#[derive(Clone, Copy, Debug, Default)]
struct Counter([Window; 3]);

const LENGTHS: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(24 * 60 * 60),
];

impl Counter {
    fn add(&mut self, now: Moment) {
        for (window, length) in self.0.iter_mut().zip(LENGTHS) {
            *window = window.at(now, length);
            window.current = window.current.saturating_add(1);
        }
    }

    fn failures(&self, now: Moment) -> [u32; 3] {
        let mut failures = [0; 3];
        for ((count, window), length) in failures.iter_mut().zip(&self.0).zip(LENGTHS) {
            *count = window.count(now, length).ceil() as u32;
        }
        failures
    }

    fn below(&self, now: Moment, limit: Limit) -> bool {
        self.0
            .iter()
            .zip(LENGTHS)
            .zip([limit.minute, limit.hour, limit.day])
            .all(|((window, length), most)| window.count(now, length) < f64::from(most))
    }
}

/// A sliding window told by two fixed ones: all of the current, and of the previous one the share
/// that the sliding one still covers. Costs a few octets however much is counted.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    number: u64,
    current: u32,
    previous: u32,
}

impl Window {
    fn at(self, now: Moment, length: Duration) -> Self {
        let number = now.0.as_secs() / length.as_secs();
        match number.saturating_sub(self.number) {
            0 => self,
            1 => Window {
                number,
                current: 0,
                previous: self.current,
            },
            _ => Window {
                number,
                current: 0,
                previous: 0,
            },
        }
    }

    fn count(self, now: Moment, length: Duration) -> f64 {
        let window = self.at(now, length);
        let into = now.0.as_secs_f64() / length.as_secs_f64() - window.number as f64;
        f64::from(window.current) + f64::from(window.previous) * (1.0 - into.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests;
