//! How many connections one mail host takes from us at once, whatever domains it serves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hosts remembered before those without a connection are forgotten.
const KEPT: usize = 4096;

/// Places at mail hosts.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<Arc<str>, Arc<Semaphore>>>);

/// A place at a host; free again when it is dropped.
pub(in crate::deliver) struct Seat {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Seats {
    /// Waits for one of `most` places at this host: those who came first go first.
    ///
    /// Whoever has one gives it back, for every step of an attempt has a limit of its own.
    pub(super) async fn take(&self, host: &Arc<str>, most: usize) -> Seat {
        let places = {
            let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.len() >= KEPT {
                hosts.retain(|_, places| Arc::strong_count(places) > 1);
            }
            let places = hosts.entry(host.clone());
            places
                .or_insert_with(|| Arc::new(Semaphore::new(most.max(1))))
                .clone()
        };
        Seat {
            // Never closed.
            _permit: places.acquire_owned().await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_more_than_there_are_places_waits_and_other_hosts_do_not_matter() {
        let seats = Seats::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = seats.take(&a, 2).await;
        let _second = seats.take(&a, 2).await;
        let patience = Duration::from_secs(60);
        assert!(timeout(patience, seats.take(&a, 2)).await.is_err());
        assert!(timeout(patience, seats.take(&b, 2)).await.is_ok());
        drop(first);
        assert!(timeout(patience, seats.take(&a, 2)).await.is_ok());
    }

    /// A permit holds its semaphore, so a host in use is never forgotten.
    #[tokio::test]
    async fn hosts_without_a_connection_are_forgotten() {
        let seats = Seats::default();
        let kept: Arc<str> = "kept".into();
        let _seat = seats.take(&kept, 1).await;
        for n in 0..KEPT {
            drop(seats.take(&Arc::from(n.to_string()), 1).await);
        }
        let hosts = seats.0.lock().unwrap();
        assert!(hosts.len() < KEPT && hosts.contains_key(&kept));
    }
}
