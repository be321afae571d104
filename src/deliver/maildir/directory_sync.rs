//! One sync of a directory for everybody who changed it meanwhile.
//!
//! Deliveries that end in the same directory at the same moment share syncs as commits share one
//! in the spool: while one thread syncs, the others gather, and the next sync serves them all.
//! There is no timer; who finds nobody at it begins at once.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::sync_directory;

/// The directories being synced.
#[derive(Debug, Default)]
pub(super) struct DirectorySyncs {
    groups: Mutex<HashMap<PathBuf, Arc<Group>>>,
}

/// The syncs of one directory, numbered from 1.
#[derive(Debug, Default)]
struct Group {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    /// The last one that failed.
    failed: Option<(u64, ErrorKind)>,
}

impl DirectorySyncs {
    /// Returns when every change made to `directory` before the call is on stable storage.
    ///
    /// # Errors
    /// The kind of a failure of a sync that was to serve this call.
    pub(super) fn sync(&self, directory: &Path) -> Result<(), ErrorKind> {
        self.sync_with(directory, |directory| {
            sync_directory(directory).map_err(|e| e.kind())
        })
    }

    fn sync_with(
        &self,
        directory: &Path,
        sync: impl FnOnce(&Path) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let group = locked(&self.groups)
            .entry(directory.to_owned())
            .or_default()
            .clone();
        let result = group.join(|| sync(directory));
        let mut groups = locked(&self.groups);
        // The map's and ours: nobody else is here, and nobody can come while the map is locked.
        if Arc::strong_count(&group) == 2 {
            groups.remove(directory);
        }
        result
    }
}

impl Group {
    /// Runs or awaits the first round that begins after this call.
    fn join(&self, sync: impl FnOnce() -> Result<(), ErrorKind>) -> Result<(), ErrorKind> {
        let mut rounds = locked(&self.rounds);
        let mine = rounds.begun + 1;
        while rounds.ended < mine {
            if rounds.begun == rounds.ended {
                rounds.begun += 1;
                let round = rounds.begun;
                drop(rounds);
                let result = sync();
                let mut rounds = locked(&self.rounds);
                rounds.ended = round;
                if let Err(kind) = result {
                    rounds.failed = Some((round, kind));
                }
                self.ended.notify_all();
                return result;
            }
            rounds = self
                .ended
                .wait(rounds)
                .unwrap_or_else(PoisonError::into_inner);
        }
        // A later round's failure counts too: the kernel may have dropped our change with it (S4).
        match rounds.failed {
            Some((round, kind)) if round >= mine => Err(kind),
            _ => Ok(()),
        }
    }
}

/// Nothing panics while one of these is held, so a poisoned one is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
    };

    use super::*;

    /// Waits until `count` callers hold the directory's group.
    fn gathered(syncs: &DirectorySyncs, directory: &Path, count: usize) {
        loop {
            let groups = locked(&syncs.groups);
            if groups
                .get(directory)
                .is_some_and(|group| Arc::strong_count(group) > count)
            {
                return;
            }
            drop(groups);
            thread::yield_now();
        }
    }

    /// Ten callers come while a first sync runs; returns the number of syncs and the ten results.
    fn ten_behind_one(second: Result<(), ErrorKind>) -> (usize, Vec<Result<(), ErrorKind>>) {
        let (syncs, count) = (DirectorySyncs::default(), AtomicUsize::new(0));
        let directory = Path::new("/d");
        let (release, blocked) = mpsc::channel::<()>();
        let results = thread::scope(|scope| {
            let (syncs, count) = (&syncs, &count);
            let first = scope.spawn(move || {
                syncs.sync_with(directory, |_| {
                    count.fetch_add(1, Ordering::SeqCst);
                    blocked.recv().unwrap();
                    Ok(())
                })
            });
            gathered(syncs, directory, 1);
            let late: Vec<_> = (0..10)
                .map(|_| {
                    scope.spawn(move || {
                        syncs.sync_with(directory, |_| {
                            count.fetch_add(1, Ordering::SeqCst);
                            second
                        })
                    })
                })
                .collect();
            gathered(syncs, directory, 11);
            release.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(()));
            late.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(locked(&syncs.groups).is_empty(), "a group was left behind");
        (count.load(Ordering::SeqCst), results)
    }

    #[test]
    fn those_who_come_during_a_sync_are_served_by_a_later_one() {
        let (syncs, results) = ten_behind_one(Ok(()));
        // One in whose shadow they gathered, then at least one that began after they came.
        assert!((2..=11).contains(&syncs), "{syncs} syncs");
        assert!(results.iter().all(Result::is_ok));
    }

    /// S4.
    #[test]
    fn a_failed_sync_fails_all_whom_it_served() {
        let (_, results) = ten_behind_one(Err(ErrorKind::StorageFull));
        assert!(results.iter().all(|r| *r == Err(ErrorKind::StorageFull)));
    }
}
