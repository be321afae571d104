//! The jobs of one next hop.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::{Class, Ticket, Urgency};
use crate::smtp::Priority;

/// A job that found its next hop crowded comes again no sooner than this, while the hop does not
/// move.
pub(super) const SOONEST_IDLE: Duration = Duration::from_secs(5);
/// The same while it moves, or while its first attempts have yet to show whether it does.
const SOONEST: Duration = Duration::from_secs(1);
/// However crowded it is, the job comes again by then.
const LATEST: Duration = Duration::from_secs(15 * 60);
/// A line that is not through within this keeps others waiting for room.
const PROMPT: Duration = Duration::from_secs(2);
/// Of so many jobs one is taken from those tried before, however many fresh ones wait.
const TURNS: u32 = 4;
const SPACING_LEAST: Duration = Duration::from_millis(1);
const SPACING_MOST: Duration = Duration::from_secs(10);

pub(super) struct Line<J> {
    fresh: Waiting<J>,
    again: Waiting<J>,
    turn: u32,
    pub(super) active: usize,
    pub(super) at_once: usize,
    /// Its place in the round of its class, while it stands there.
    pub(super) ticket: Option<Ticket>,
    pub(super) class: Class,
    /// The last time that was given to a job which found the line crowded.
    slot: Option<SystemTime>,
    /// How far apart its jobs finish, on the average.
    spacing: Duration,
    /// When a job last finished, or the first one began.
    moved_at: Option<SystemTime>,
}

/// Jobs in the order in which they go.
struct Waiting<J>(VecDeque<(Priority, J)>);

impl<J> Waiting<J> {
    fn new() -> Self {
        Waiting(VecDeque::new())
    }

    /// Behind all that are as urgent.
    fn push(&mut self, priority: Priority, job: J) {
        let at = self.0.partition_point(|(other, _)| *other >= priority);
        self.0.insert(at, (priority, job));
    }

    fn most_urgent(&self) -> Option<Priority> {
        self.0.front().map(|(priority, _)| *priority)
    }
}

impl<J> Line<J> {
    pub(super) fn new(class: Class) -> Self {
        Line {
            fresh: Waiting::new(),
            again: Waiting::new(),
            turn: 0,
            active: 0,
            at_once: 1,
            ticket: None,
            class,
            slot: None,
            spacing: SPACING_LEAST,
            moved_at: None,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.fresh.0.len() + self.again.0.len()
    }

    /// Whether no further job may begin. Who did not answer lately is tried with one.
    pub(super) fn is_full(&self) -> bool {
        let most = match self.class {
            Class::Suspect => 1,
            Class::Proven | Class::Unproven => self.at_once.max(1),
        };
        self.active >= most
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active == 0 && self.waiting() == 0
    }

    pub(super) fn push(&mut self, urgency: Urgency, priority: Priority, job: J) {
        match urgency {
            Urgency::Fresh => self.fresh.push(priority, job),
            Urgency::Again => self.again.push(priority, job),
        }
    }

    /// How urgent the next job is, where there is one.
    pub(super) fn most_urgent(&self) -> Option<Priority> {
        self.fresh.most_urgent().max(self.again.most_urgent())
    }

    /// Begins the next one: the most urgent, and of those fresh ones first, though not for ever.
    pub(super) fn take(&mut self, now: SystemTime) -> Option<J> {
        if self.active == 0 {
            self.moved_at = Some(now);
        }
        self.turn = self.turn.wrapping_add(1);
        let again = match self.again.most_urgent().cmp(&self.fresh.most_urgent()) {
            Ordering::Less => false,
            Ordering::Equal => self.turn.is_multiple_of(TURNS),
            Ordering::Greater => true,
        };
        let (_, job) = match again {
            true => self.again.0.pop_front()?,
            false => self.fresh.0.pop_front()?,
        };
        self.active += 1;
        Some(job)
    }

    pub(super) fn finished(&mut self, now: SystemTime) {
        self.active = self.active.saturating_sub(1);
        let before = self.moved_at.replace(now);
        if let Some(apart) = before.and_then(|before| now.duration_since(before).ok()) {
            let average = self.spacing * 4 / 5 + apart.min(SPACING_MOST) / 5;
            self.spacing = average.clamp(SPACING_LEAST, SPACING_MOST);
        }
    }

    /// Whether what waits here will wait for long.
    pub(super) fn is_slow(&self, now: SystemTime) -> bool {
        let waiting = u32::try_from(self.waiting()).unwrap_or(u32::MAX);
        self.spacing.saturating_mul(waiting) > PROMPT || self.is_stuck(now)
    }

    /// Whether jobs are under way and none has finished for long.
    pub(super) fn is_stuck(&self, now: SystemTime) -> bool {
        let since = self
            .moved_at
            .and_then(|moved| now.duration_since(moved).ok());
        self.active > 0 && since.is_some_and(|since| since > PROMPT)
    }

    /// Whether its first attempts are yet to show what it is, and have not hung for long.
    pub(super) fn is_undecided(&self, now: SystemTime) -> bool {
        self.class == Class::Unproven && !self.is_stuck(now)
    }

    pub(super) fn drain(&mut self) -> Vec<J> {
        let jobs = self.fresh.0.drain(..).chain(self.again.0.drain(..));
        jobs.map(|(_, job)| job).collect()
    }

    /// When a job that is one too many will find a place: behind those told before it, as fast as
    /// the line moves.
    pub(super) fn later(&mut self, now: SystemTime) -> SystemTime {
        let latest = now + LATEST;
        let slot = self.slot.map_or(now, |slot| slot + self.spacing);
        // A slot far ahead was given under another clock.
        let slot = slot.max(now + self.half_through(now)).min(latest);
        self.slot = Some(slot);
        slot
    }

    /// When about half of what waits here will have begun: what comes then finds room, and the
    /// line has not run dry before.
    fn half_through(&self, now: SystemTime) -> Duration {
        if self.class == Class::Suspect || self.is_stuck(now) {
            return SOONEST_IDLE;
        }
        let waiting = u32::try_from(self.waiting()).unwrap_or(u32::MAX);
        let half = self.spacing.saturating_mul(waiting) / 2;
        half.clamp(SOONEST, LATEST)
    }
}
