//! Who waits for which next hop, and who is next.
//!
//! Pure. Next hops that have both work and a free place stand in one round; each turn takes one
//! job. A hop without either stands in no round, so ten thousand dead ones cost the living nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Jobs by next hop.
pub(super) struct Board<J> {
    hops: HashMap<Arc<str>, Hop<J>>,
    round: VecDeque<Arc<str>>,
    waiting: usize,
    active: usize,
}

struct Hop<J> {
    waiting: VecDeque<J>,
    active: usize,
    in_round: bool,
}

/// How many jobs may be active.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Over all next hops.
    pub(super) in_all: usize,
    /// At each next hop.
    pub(super) per_hop: usize,
}

impl<J> Board<J> {
    pub(super) fn new() -> Self {
        Board {
            hops: HashMap::new(),
            round: VecDeque::new(),
            waiting: 0,
            active: 0,
        }
    }

    /// Jobs not begun.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Jobs begun and not finished.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Puts a job at the end of its next hop's line.
    pub(super) fn push(&mut self, hop: &str, job: J) {
        if !self.hops.contains_key(hop) {
            let empty = Hop {
                waiting: VecDeque::new(),
                active: 0,
                in_round: false,
            };
            self.hops.insert(hop.into(), empty);
        }
        self.waiting += 1;
        if let Some(line) = self.hops.get_mut(hop) {
            line.waiting.push_back(job);
        }
        self.enter_round(hop);
    }

    /// Begins the next job, if the bounds allow one.
    pub(super) fn take(&mut self, bounds: Bounds) -> Option<(Arc<str>, J)> {
        while self.active < bounds.in_all.max(1) {
            let name = self.round.pop_front()?;
            let Some(hop) = self.hops.get_mut(&name) else {
                continue;
            };
            hop.in_round = false;
            if hop.active >= bounds.per_hop.max(1) {
                // Enters again when one of its jobs finishes.
                continue;
            }
            let Some(job) = hop.waiting.pop_front() else {
                continue;
            };
            hop.active += 1;
            self.active += 1;
            self.waiting -= 1;
            self.enter_round(&name);
            return Some((name, job));
        }
        None
    }

    /// Ends a job that [`Board::take`] began at this hop.
    pub(super) fn finished(&mut self, name: &str) {
        let Some(hop) = self.hops.get_mut(name) else {
            return;
        };
        hop.active = hop.active.saturating_sub(1);
        self.active = self.active.saturating_sub(1);
        if hop.active == 0 && hop.waiting.is_empty() {
            self.hops.remove(name);
        } else {
            self.enter_round(name);
        }
    }

    /// Takes out all that wait.
    pub(super) fn drain(&mut self) -> Vec<J> {
        self.round.clear();
        self.waiting = 0;
        let mut jobs = Vec::new();
        self.hops.retain(|_, hop| {
            hop.in_round = false;
            jobs.extend(hop.waiting.drain(..));
            hop.active > 0
        });
        jobs
    }

    fn enter_round(&mut self, name: &str) {
        let Some((name, _)) = self.hops.get_key_value(name) else {
            return;
        };
        let name = name.clone();
        if let Some(hop) = self.hops.get_mut(&name)
            && !hop.in_round
            && !hop.waiting.is_empty()
        {
            hop.in_round = true;
            self.round.push_back(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        in_all: 4,
        per_hop: 2,
    };

    fn taken(board: &mut Board<u32>) -> Vec<u32> {
        std::iter::from_fn(|| board.take(BOUNDS))
            .map(|(_, job)| job)
            .collect()
    }

    #[test]
    fn next_hops_take_turns_within_their_bounds() {
        let mut board = Board::new();
        for job in 0..5 {
            board.push("slow", job);
        }
        board.push("living", 10);
        board.push("other", 20);
        assert_eq!(taken(&mut board), [0, 10, 20, 1]);
        assert_eq!((board.waiting(), board.active()), (3, 4));
        board.finished("living");
        assert!(taken(&mut board).is_empty(), "slow is at its bound");
        board.push("living", 11);
        assert_eq!(taken(&mut board), [11]);
        board.finished("slow");
        assert_eq!(taken(&mut board), [2]);
    }

    #[test]
    fn every_job_is_taken_once() {
        let mut board = Board::new();
        for job in 0..100 {
            board.push(&format!("hop{}", job % 7), job);
        }
        let mut seen = Vec::new();
        while let Some((hop, job)) = board.take(BOUNDS) {
            seen.push(job);
            board.finished(&hop);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert!(board.hops.is_empty(), "a hop without work is remembered");
    }

    #[test]
    fn drained_jobs_wait_no_more() {
        let mut board = Board::new();
        for job in 0..4 {
            board.push("a", job);
        }
        assert_eq!(taken(&mut board), [0, 1]);
        assert_eq!(board.drain(), [2, 3]);
        assert_eq!((board.waiting(), board.active()), (0, 2));
        board.finished("a");
        board.finished("a");
        assert!(taken(&mut board).is_empty());
        assert!(board.hops.is_empty());
    }
}
