//! How much room the file system has: asked for off the reactor and remembered (S37).

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    CustodyError,
    disk::{Disk, Free},
};

/// Between looks while mail arrives, or while there is no room.
const BUSY: Duration = Duration::from_millis(200);

/// Between looks while nothing happens.
const IDLE: Duration = Duration::from_secs(2);

/// The last known room, less what was accepted since.
#[derive(Debug)]
pub(super) struct Room {
    octets: AtomicU64,
    inodes: AtomicU64,
    reserve: Free,
    /// Somebody asked since the last look.
    asked: AtomicBool,
}

impl Room {
    /// Remembers a first look.
    pub(super) fn new(free: Free, reserve: Free) -> Self {
        Room {
            octets: AtomicU64::new(free.octets),
            inodes: AtomicU64::new(free.inodes),
            reserve,
            asked: AtomicBool::new(false),
        }
    }

    /// Whether so many octets fit beside the reserve.
    pub(super) fn has(&self, octets: u64) -> Result<(), CustodyError> {
        self.asked.store(true, Relaxed);
        self.fits(octets)
    }

    fn fits(&self, octets: u64) -> Result<(), CustodyError> {
        let wanted = octets.saturating_add(self.reserve.octets);
        if self.octets.load(Relaxed) < wanted || self.inodes.load(Relaxed) < self.reserve.inodes {
            return Err(CustodyError::NoRoom);
        }
        Ok(())
    }

    /// As last seen, less what was accepted since.
    pub(super) fn free_octets(&self) -> u64 {
        self.octets.load(Relaxed)
    }

    /// Counts what was accepted until the next look.
    pub(super) fn take(&self, octets: u64) {
        let less = |free: u64| Some(free.saturating_sub(octets));
        let _ = self.octets.fetch_update(Relaxed, Relaxed, less);
    }

    fn look(&self, disk: &dyn Disk) {
        match disk.free() {
            Ok(free) => {
                self.octets.store(free.octets, Relaxed);
                self.inodes.store(free.inodes, Relaxed);
            }
            // Whether the disk takes the message, the commit will tell.
            Err(error) => tracing::debug!(%error, "free space unknown"),
        }
    }

    /// Looks again and again until the spool is gone.
    pub(super) async fn keep_looking(room: Weak<Room>, disk: Arc<dyn Disk>) {
        let mut wait = BUSY;
        loop {
            tokio::time::sleep(wait).await;
            let Some(room) = room.upgrade() else { return };
            let disk = disk.clone();
            let look = tokio::task::spawn_blocking(move || {
                room.look(disk.as_ref());
                room.asked.swap(false, Relaxed) || room.fits(0).is_err()
            });
            // A blocking task ends early only when the runtime does.
            let Ok(busy) = look.await else { return };
            wait = if busy { BUSY } else { IDLE };
        }
    }
}
