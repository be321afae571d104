//! Who waits for which next hop, and who is next.
//!
//! Pure. Next hops that have both work and a free place stand in the round of their class; each
//! turn takes one job. Those who answer are served first, and neither those who never did nor those
//! who lately did not can take all places: ten thousand dead next hops leave the living theirs.
//! What is more urgent comes first, among the jobs of a next hop and among next hops (RFC 6710 §5.1).
//! Classes come before that: urgent mail gets no sooner where nobody answers.

mod line;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use self::line::Line;
use super::reputation::Class;
use crate::smtp::Priority;

/// A place in a round: what is more urgent before, and then who came first.
type Ticket = (Reverse<Priority>, u64);

/// Jobs by next hop.
pub(super) struct Board<J> {
    lines: HashMap<Arc<str>, Line<J>>,
    /// By class, as in [`Class::ALL`]: next hops in order of the tickets that their lines hold.
    rounds: [BTreeMap<Ticket, Arc<str>>; 3],
    /// The last ticket given.
    ticket: u64,
    active: [usize; 3],
    /// Jobs not begun, by class.
    waiting: [usize; 3],
}

/// A job on its way to the board.
pub(super) struct Entry<J> {
    pub(super) job: J,
    pub(super) urgency: Urgency,
    pub(super) priority: Priority,
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
            ticket: 0,
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

    /// Whether a further job for this next hop is to come again later, in a room of so many places:
    /// it, or all that move slowly or never answered together, have their share already.
    pub(super) fn is_crowded(&self, hop: &str, class: Class, room: usize, now: SystemTime) -> bool {
        let line = self.lines.get(hop);
        let is_slow = line.is_some_and(|line| line.is_slow(now));
        if class == Class::Proven && !is_slow {
            return false;
        }
        let own = line.map_or(0, Line::waiting);
        let jobs = self.sluggish(now).map(Line::waiting).sum::<usize>();
        if line.is_some_and(|line| line.is_undecided(now)) && own == jobs {
            return own >= (room * 3 / 4).max(1);
        }
        match own {
            // A newcomer gets a chance, unless there are as many others.
            0 => self.sluggish(now).filter(|line| line.waiting() > 0).count() >= (room / 2).max(1),
            own => own >= (room / 4).max(1) || jobs >= (room / 2).max(1),
        }
    }

    /// Jobs that wait for next hops which move: those whose places are soon free.
    ///
    /// A newcomer counts with them while its first attempts are under way and nobody else is in
    /// doubt. Otherwise looks would go on without knowing, and most of what they find be too much.
    pub(super) fn brisk(&self, now: SystemTime) -> usize {
        let jobs = self.sluggish(now).map(Line::waiting).sum::<usize>();
        let mut lines = self.sluggish(now);
        let is_begun = |line: &Line<J>| line.is_undecided(now) && line.active > 0;
        match lines.any(|line| is_begun(line) && line.waiting() == jobs) {
            true => self.waiting(),
            false => self.waiting() - jobs,
        }
    }

    /// Next hops that move slowly, or have not answered yet or lately.
    fn sluggish(&self, now: SystemTime) -> impl Iterator<Item = &Line<J>> {
        let lines = self.lines.values();
        lines.filter(move |line| line.class != Class::Proven || line.is_slow(now))
    }

    /// When a job that finds its next hop crowded is to come again.
    pub(super) fn later(&mut self, hop: &str, now: SystemTime) -> SystemTime {
        match self.lines.get_mut(hop) {
            Some(line) => line.later(now),
            None => now + line::SOONEST_IDLE,
        }
    }

    /// Puts a job into its next hop's line.
    pub(super) fn push(&mut self, hop: &Arc<str>, entry: Entry<J>) {
        let line = self
            .lines
            .entry(hop.clone())
            .or_insert_with(|| Line::new(entry.class));
        line.at_once = entry.at_once;
        line.push(entry.urgency, entry.priority, entry.job);
        self.waiting[line.class as usize] += 1;
        self.enter_round(hop);
    }

    /// Begins the next job, if `in_all` places allow one.
    ///
    /// Places where nothing moves do not count against those who do: up to as many again are theirs.
    pub(super) fn take(&mut self, in_all: usize, now: SystemTime) -> Option<(Arc<str>, J)> {
        let in_all = in_all.max(1);
        let places = match self.active() >= in_all {
            true => in_all + self.stuck(now).min(in_all),
            false => in_all,
        };
        for class in Class::ALL {
            while self.active() < places && self.active[class as usize] < self.share(class, places)
            {
                let Some((_, name)) = self.rounds[class as usize].pop_first() else {
                    break;
                };
                let Some(line) = self.lines.get_mut(&name) else {
                    continue;
                };
                line.ticket = None;
                let is_beyond = self.active.iter().sum::<usize>() >= in_all;
                // Enters again when one of its jobs finishes.
                if line.is_full() || (is_beyond && line.is_stuck(now)) {
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

    /// Places of next hops where nothing moves.
    fn stuck(&self, now: SystemTime) -> usize {
        let lines = self.lines.values();
        lines
            .filter(|line| line.is_stuck(now))
            .map(|line| line.active)
            .sum()
    }

    /// How many of all places a class may fill.
    fn share(&self, class: Class, in_all: usize) -> usize {
        let others = self.rounds[Class::Unproven as usize].len()
            + self.rounds[Class::Suspect as usize].len();
        match class {
            Class::Proven if others == 0 || in_all == 1 => in_all,
            Class::Proven => in_all - (in_all / 8).max(1),
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
        if line.class != class
            && let Some(ticket) = line.ticket.take()
        {
            self.rounds[line.class as usize].remove(&ticket);
        }
        let old = std::mem::replace(&mut line.class, class);
        let (waiting, active) = (line.waiting(), line.active);
        self.waiting[old as usize] -= waiting;
        self.waiting[class as usize] += waiting;
        self.active[old as usize] = self.active[old as usize].saturating_sub(active);
        self.active[class as usize] += active;
        self.enter_round(name);
    }

    /// Whoever did not answer is as good as never tried.
    pub(super) fn forgive(&mut self) {
        let suspects = self
            .lines
            .iter()
            .filter(|(_, line)| line.class == Class::Suspect);
        let names: Vec<_> = suspects.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.reclass(&name, Class::Unproven);
        }
    }

    /// Takes out all that wait for one next hop.
    pub(super) fn drain_one(&mut self, name: &str) -> Vec<J> {
        let Some(line) = self.lines.get_mut(name) else {
            return Vec::new();
        };
        if let Some(ticket) = line.ticket.take() {
            self.rounds[line.class as usize].remove(&ticket);
        }
        let jobs = line.drain();
        self.waiting[line.class as usize] -= jobs.len();
        if line.is_idle() {
            self.lines.remove(name);
        }
        jobs
    }

    /// Takes out all that wait.
    pub(super) fn drain(&mut self) -> Vec<J> {
        self.rounds.iter_mut().for_each(BTreeMap::clear);
        let mut jobs = Vec::new();
        self.lines.retain(|_, line| {
            line.ticket = None;
            jobs.append(&mut line.drain());
            !line.is_idle()
        });
        self.waiting = [0; 3];
        jobs
    }

    fn enter_round(&mut self, name: &str) {
        let Some((name, _)) = self.lines.get_key_value(name) else {
            return;
        };
        let name = name.clone();
        let Some(line) = self.lines.get_mut(&name) else {
            return;
        };
        let Some(priority) = line.most_urgent() else {
            return;
        };
        let round = &mut self.rounds[line.class as usize];
        match line.ticket {
            Some((held, _)) if held <= Reverse(priority) => return,
            // Something more urgent has joined the line.
            Some(ticket) => drop(round.remove(&ticket)),
            None => {}
        }
        self.ticket += 1;
        let ticket = (Reverse(priority), self.ticket);
        line.ticket = Some(ticket);
        round.insert(ticket, name);
    }
}

#[cfg(test)]
mod tests;
