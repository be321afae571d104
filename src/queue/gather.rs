//! One report for a message and a kind of outcome: what is to be told of its recipients waits until
//! the last of its next hops has answered.
//!
//! Only records wait that would come out the same if they got lost, failures and delays; so a crash
//! in between costs an attempt and nothing else. They do not wait long: a next hop that hangs must
//! not keep the sender from hearing of another.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::aftermath::Decided;

/// How long something that is to be told waits for the other next hops of its message at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What waits, and for how many.
#[derive(Debug, Default)]
pub(super) struct Gather(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Jobs of the claim that are not over.
    open: usize,
    waiting: Vec<Decided>,
}

/// What a job that ends is to do with what is to be told.
#[must_use]
pub(super) enum Told {
    /// Tell it: it is the last one.
    These(Vec<Decided>),
    /// Others will, unless [`PATIENCE`] runs out first; nobody has begun to count.
    First,
    /// Others will.
    Later,
}

impl Gather {
    /// A further job of the claim begins.
    pub(super) fn open(&self) {
        self.state().open += 1;
    }

    /// A job of the claim ends with this to be told.
    pub(super) fn close(&self, mut to_tell: Vec<Decided>) -> Told {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        let is_first = state.waiting.is_empty() && !to_tell.is_empty();
        state.waiting.append(&mut to_tell);
        if state.open == 0 {
            Told::These(std::mem::take(&mut state.waiting))
        } else if is_first {
            Told::First
        } else {
            Told::Later
        }
    }

    /// Takes what waits, whoever is still out.
    pub(super) fn take(&self) -> Vec<Decided> {
        std::mem::take(&mut self.state().waiting)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
