//! Who waits for which next hop, and who is next.
//!
//! Pure. Next hops that have both work and a free place stand in the round of their class; each
//! turn takes one job. Those who answer are served first, and neither those who never did nor those
//! who lately did not can take all places: ten thousand dead next hops leave the living theirs.

mod line;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use self::line::Line;
use super::reputation::Class;

/// Jobs by next hop.
pub(super) struct Board<J> {
    lines: HashMap<Arc<str>, Line<J>>,
    /// By class, as in [`Class::ALL`]; a name stands in one of them at most.
    rounds: [VecDeque<Arc<str>>; 3],
    active: [usize; 3],
    /// Jobs not begun, by class.
    waiting: [usize; 3],
}

/// A job on its way to the board.
pub(super) struct Entry<J> {
    pub(super) job: J,
    pub(super) urgency: Urgency,
    /// Of its next hop.
    pub(super) class: Class,
    /// How many jobs its next hop takes at once.
    pub(super) at_once: usize,
}

/// Which of the jobs of a next hop goes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Urgency {
    /// Never tried.
    Fresh,
    /// Tried before: a little later is no matter.
    Again,
}

impl<J> Board<J> {
    pub(super) fn new() -> Self {
        Board {
            lines: HashMap::new(),
            rounds: Default::default(),
            active: [0; 3],
            waiting: [0; 3],
        }
    }

    /// Jobs not begun.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    /// Jobs begun and not finished.
    pub(super) fn active(&self) -> usize {
        self.active.iter().sum()
    }

    /// Whether a further job for this next hop would wait for long, in a room of so many places of
    /// which it, or those that never answered together, have their share already.
    pub(super) fn is_crowded(&self, hop: &str, class: Class, room: usize, now: SystemTime) -> bool {
        let line = self.lines.get(hop);
        line.is_some_and(|line| line.waiting() >= (room / 4).max(1) && line.is_slow(now))
            || (class != Class::Proven && self.is_jammed(room, now))
    }

    /// Whether the room is full of jobs that will wait for long, so that others are to be let in.
    pub(super) fn is_blocked(&self, room: usize, now: SystemTime) -> bool {
        let crowded = |line: &Line<J>| line.waiting() >= (room / 4).max(1) && line.is_slow(now);
        self.waiting() >= room / 2
            && (self.is_jammed(room, now) || self.lines.values().any(crowded))
    }

    /// Whether so many of those that never answered, or did not lately, wait for one of them to move
    /// that others would find no room.
    fn is_jammed(&self, room: usize, now: SystemTime) -> bool {
        let of = |class: Class| self.waiting[class as usize];
        if of(Class::Unproven) + of(Class::Suspect) < (room / 2).max(1) {
            return false;
        }
        let (mut hops, mut is_stuck) = (0, false);
        for line in self
            .lines
            .values()
            .filter(|line| line.class != Class::Proven)
        {
            hops += usize::from(line.waiting() > 0);
            is_stuck |= line.is_stuck(now);
        }
        is_stuck && hops >= (room / 2).max(1)
    }

    /// When a job that finds its next hop crowded is to come again.
    pub(super) fn later(&mut self, hop: &str, now: SystemTime) -> SystemTime {
        match self.lines.get_mut(hop) {
            Some(line) => line.later(now),
            None => now + line::SOONEST,
        }
    }

    /// Puts a job into its next hop's line.
    pub(super) fn push(&mut self, hop: &Arc<str>, entry: Entry<J>) {
        let line = self
            .lines
            .entry(hop.clone())
            .or_insert_with(|| Line::new(entry.class));
        line.at_once = entry.at_once;
        line.push(entry.urgency, entry.job);
        self.waiting[line.class as usize] += 1;
        self.enter_round(hop);
    }

    /// Begins the next job, if `in_all` places allow one.
    pub(super) fn take(&mut self, in_all: usize, now: SystemTime) -> Option<(Arc<str>, J)> {
        let in_all = in_all.max(1);
        for class in Class::ALL {
            while self.active() < in_all && self.active[class as usize] < self.share(class, in_all)
            {
                let Some(name) = self.rounds[class as usize].pop_front() else {
                    break;
                };
                let Some(line) = self.lines.get_mut(&name) else {
                    continue;
                };
                line.in_round = false;
                if line.class != class {
                    self.enter_round(&name);
                    continue;
                }
                // Enters again when one of its jobs finishes.
                if line.is_full() {
                    continue;
                }
                let Some(job) = line.take(now) else {
                    continue;
                };
                self.active[class as usize] += 1;
                self.waiting[class as usize] -= 1;
                self.enter_round(&name);
                return Some((name, job));
            }
        }
        None
    }

    /// How many of all places a class may fill.
    fn share(&self, class: Class, in_all: usize) -> usize {
        let others = self.rounds[Class::Unproven as usize].len()
            + self.rounds[Class::Suspect as usize].len();
        match class {
            Class::Proven if others == 0 => in_all,
            Class::Proven => (in_all - in_all / 8).max(1),
            Class::Unproven => (in_all / 2).max(1),
            Class::Suspect => (in_all / 4).max(1),
        }
    }

    /// Ends a job that [`Board::take`] began at this hop.
    pub(super) fn finished(&mut self, name: &str, now: SystemTime) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        line.finished(now);
        let active = &mut self.active[line.class as usize];
        *active = active.saturating_sub(1);
        if line.is_idle() {
            self.lines.remove(name);
        } else {
            self.enter_round(name);
        }
    }

    /// A next hop is of another class from here on.
    pub(super) fn reclass(&mut self, name: &str, class: Class) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        let old = std::mem::replace(&mut line.class, class);
        let (waiting, active) = (line.waiting(), line.active);
        self.waiting[old as usize] -= waiting;
        self.waiting[class as usize] += waiting;
        self.active[old as usize] = self.active[old as usize].saturating_sub(active);
        self.active[class as usize] += active;
        self.enter_round(name);
    }

    /// Takes out all that wait for one next hop.
    pub(super) fn drain_one(&mut self, name: &str) -> Vec<J> {
        let Some(line) = self.lines.get_mut(name) else {
            return Vec::new();
        };
        let jobs = line.drain();
        self.waiting[line.class as usize] -= jobs.len();
        if line.is_idle() {
            self.lines.remove(name);
        }
        jobs
    }

    /// Takes out all that wait.
    pub(super) fn drain(&mut self) -> Vec<J> {
        let names: Vec<_> = self.lines.keys().cloned().collect();
        names.iter().flat_map(|name| self.drain_one(name)).collect()
    }

    fn enter_round(&mut self, name: &str) {
        let Some((name, _)) = self.lines.get_key_value(name) else {
            return;
        };
        let name = name.clone();
        if let Some(line) = self.lines.get_mut(&name)
            && !line.in_round
            && line.waiting() > 0
        {
            line.in_round = true;
            self.rounds[line.class as usize].push_back(name);
        }
    }
}

#[cfg(test)]
mod tests;
