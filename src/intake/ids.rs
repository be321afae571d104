//! Queue ids that never sort before an earlier one of this process.

use std::sync::{Mutex, PoisonError};

use ulid::Ulid;

use crate::envelope::QueueId;

/// Hands out queue ids.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<u128>);

impl Ids {
    /// The next id: of this moment, or directly behind the last where the clock did not advance.
    pub(super) fn next(&self) -> QueueId {
        self.after(Ulid::generate())
    }

    fn after(&self, fresh: Ulid) -> QueueId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = fresh.0.max(last.saturating_add(1));
        QueueId::new(Ulid(*last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_runs_backwards() {
        let ids = Ids::default();
        let first = ids.after(Ulid(1 << 90));
        let second = ids.after(Ulid(1 << 80));
        let third = ids.after(Ulid(1 << 91));
        assert!(first < second && second < third);
    }
}
