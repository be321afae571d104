//! Connections that wait for another message, for as long as their route lets them.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, interval, timeout_at},
};

use super::way::Lane;
use crate::{
    deliver::smtp::{Connection, Standing},
    policy::routes::Route,
};

/// Connections that wait at most, over all next hops.
const IDLE_MOST: usize = 512;
/// How often those that waited long enough are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long a new connection waits for the farewell of one whose place it takes.
const FAREWELL: Duration = Duration::from_secs(2);

/// For whom a connection may be used again: those who would have opened one just like it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    /// The route, whose trust, protocol and passwords it has.
    pub(super) route: OfRoute,
    /// Whose share of connections it counts to: the route's, or one mail host's.
    pub(super) share: Arc<str>,
    pub(super) lane: Lane,
    /// As whom it signed in.
    pub(super) login: Option<Box<str>>,
}

/// A route as one reading of the configuration made it: a connection of an earlier one is nobody's.
#[derive(Clone, Debug)]
pub(super) struct OfRoute(pub(super) Arc<Route>);

impl PartialEq for OfRoute {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OfRoute {}

impl Hash for OfRoute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Connections that wait.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    idle: HashMap<Key, Vec<Idle>>,
    count: usize,
    /// By the name of the share.
    shares: HashMap<Arc<str>, Share>,
    /// Somebody looks for those that waited long enough.
    is_watched: bool,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

/// What a route, or a mail host, has open beside the connections that wait.
#[derive(Default)]
struct Share {
    /// Attempts under way, each with one connection at most.
    attempts: usize,
    /// Connections that say goodbye.
    leaving: Vec<JoinHandle<()>>,
}

/// An attempt under way; counted until it is dropped.
pub(in crate::deliver) struct Place {
    pool: Pool,
    share: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if let Some(share) = state.shares.get_mut(&self.share) {
            share.attempts = share.attempts.saturating_sub(1);
            share.leaving.retain(|farewell| !farewell.is_finished());
            if share.attempts == 0 && share.leaving.is_empty() {
                state.shares.remove(&self.share);
            }
        }
    }
}

impl Pool {
    /// Begins an attempt that counts to this share.
    pub(super) fn enter(&self, share: &Arc<str>) -> Place {
        self.state()
            .shares
            .entry(share.clone())
            .or_default()
            .attempts += 1;
        Place {
            pool: self.clone(),
            share: share.clone(),
        }
    }

    /// Makes room for a connection of an attempt that has begun: of a share's connections, those
    /// that wait for others' mail are ended where `most` would be exceeded, the oldest first.
    ///
    /// Hosts that limit connections count those that say goodbye too, so they are waited for.
    pub(super) async fn make_room(&self, name: &Arc<str>, most: usize) {
        let farewells = {
            let mut state = self.state();
            let share = state.shares.entry(name.clone()).or_default();
            share.leaving.retain(|farewell| !farewell.is_finished());
            let (attempts, leaving) = (share.attempts, share.leaving.len());
            let mut waiting: usize = state.of(name).map(|(_, waiting)| waiting.len()).sum();
            if attempts + waiting + leaving <= most {
                return;
            }
            while attempts + waiting > most
                && let Some(oldest) = state.take_oldest(name)
            {
                waiting -= 1;
                state.retire(name, oldest);
            }
            let share = state.shares.entry(name.clone()).or_default();
            std::mem::take(&mut share.leaving)
        };
        let give_up = Instant::now() + FAREWELL;
        for mut farewell in farewells {
            if timeout_at(give_up, &mut farewell).await.is_err() {
                // Closes it.
                farewell.abort();
            }
        }
    }

    /// A connection that is still good; the one used last, for its host is most likely awake.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let mut state = self.state();
        loop {
            let mut idle = state.idle.get_mut(key)?.pop()?;
            state.count -= 1;
            if state.idle.get(key).is_some_and(Vec::is_empty) {
                state.idle.remove(key);
            }
            if idle.until > Instant::now() && idle.connection.is_idle_alive() {
                return Some(idle.connection);
            }
            state.retire(&key.share, idle.connection);
        }
    }

    /// Keeps a connection for the next message, or ends it.
    pub(super) fn put(&self, key: Key, connection: Connection, wait: Duration) {
        if connection.standing() == Standing::Closed {
            return;
        }
        let mut state = self.state();
        if wait.is_zero() || state.count >= IDLE_MOST {
            return state.retire(&key.share, connection);
        }
        let until = Instant::now() + wait;
        state.count += 1;
        let idle = state.idle.entry(key).or_default();
        idle.push(Idle { connection, until });
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(&self.0)));
        }
    }

    /// Ends a connection that has carried its share.
    pub(super) fn retire(&self, share: &Arc<str>, connection: Connection) {
        self.state().retire(share, connection);
    }

    /// Ends every connection that waits.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.state();
            state.count = 0;
            std::mem::take(&mut state.idle)
        };
        let mut ends = JoinSet::new();
        for idle in idle.into_values().flatten() {
            ends.spawn(idle.connection.quit());
        }
        while ends.join_next().await.is_some() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connections of a share that wait.
    fn of(&self, share: &str) -> impl Iterator<Item = (&Key, &Vec<Idle>)> {
        self.idle
            .iter()
            .filter(move |(key, _)| *key.share == *share)
    }

    /// Of the connections of a share that wait, the one that has waited longest.
    fn take_oldest(&mut self, share: &str) -> Option<Connection> {
        let first = |waiting: &Vec<Idle>| waiting.first().map(|idle| idle.until);
        let oldest = self.of(share).min_by_key(|(_, waiting)| first(waiting));
        let key = oldest?.0.clone();
        let waiting = self.idle.get_mut(&key)?;
        if waiting.is_empty() {
            return None;
        }
        let idle = waiting.remove(0);
        if waiting.is_empty() {
            self.idle.remove(&key);
        }
        self.count -= 1;
        Some(idle.connection)
    }

    /// Has a connection say goodbye.
    fn retire(&mut self, share: &Arc<str>, connection: Connection) {
        let farewell = tokio::spawn(connection.quit());
        let share = self.shares.entry(share.clone()).or_default();
        share.leaving.retain(|farewell| !farewell.is_finished());
        share.leaving.push(farewell);
    }
}

/// Ends connections that waited long enough, until none waits.
async fn watch(pool: std::sync::Weak<Mutex<State>>) {
    let mut ticks = interval(LOOK);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut over = Vec::new();
        state.idle.retain(|key, waiting| {
            let expired = waiting.extract_if(.., |idle| idle.until <= now);
            over.extend(expired.map(|idle| (key.share.clone(), idle.connection)));
            !waiting.is_empty()
        });
        state.count -= over.len();
        state.is_watched = !state.idle.is_empty();
        for (share, connection) in over {
            state.retire(&share, connection);
        }
        if !state.is_watched {
            return;
        }
    }
}
