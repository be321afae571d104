//! Connections that wait for another message, for as long as their route lets them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, interval};

use crate::{
    deliver::smtp::{Connection, Standing},
    policy::routes::Host,
};

/// Connections that wait at most, over all next hops.
const IDLE_MOST: usize = 512;
/// How often those that waited long enough are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// For whom a connection may be used again: those who would have opened one just like it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    /// The route, whose trust and protocol it has.
    pub(super) route: Box<str>,
    pub(super) host: Host,
    /// As whom it signed in.
    pub(super) login: Option<Box<str>>,
}

/// Connections that wait.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    idle: HashMap<Key, Vec<Idle>>,
    count: usize,
    /// Somebody looks for those that waited long enough.
    is_watched: bool,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
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
            retire(idle.connection);
        }
    }

    /// Keeps a connection for the next message, or ends it.
    pub(super) fn put(&self, key: Key, connection: Connection, wait: Duration) {
        if connection.standing() == Standing::Closed {
            return;
        }
        let mut state = self.state();
        if wait.is_zero() || state.count >= IDLE_MOST {
            drop(state);
            return retire(connection);
        }
        let until = Instant::now() + wait;
        state.count += 1;
        let idle = state.idle.entry(key).or_default();
        idle.push(Idle { connection, until });
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(&self.0)));
        }
    }

    /// Ends every connection that waits.
    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        self.state().count = 0;
        let mut ends = tokio::task::JoinSet::new();
        for idle in idle.into_values().flatten() {
            ends.spawn(idle.connection.quit());
        }
        while ends.join_next().await.is_some() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says goodbye; nobody waits for it.
fn retire(connection: Connection) {
    tokio::spawn(connection.quit());
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
        state.idle.retain(|_, waiting| {
            over.extend(waiting.extract_if(.., |idle| idle.until <= now));
            !waiting.is_empty()
        });
        state.count -= over.len();
        state.is_watched = !state.idle.is_empty();
        let goes_on = state.is_watched;
        drop(state);
        for idle in over {
            retire(idle.connection);
        }
        if !goes_on {
            return;
        }
    }
}
