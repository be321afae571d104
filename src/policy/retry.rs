//! When to try a recipient again, and when to stop trying by oneself (RFC 5321 §4.5.4.1).
//!
//! A table in the form of a rule: the waits double from the first to the longest, so they go from
//! minutes to hours. Pure: the time and the random octets of the jitter are arguments.
//!
//! There are two clocks. [`Schedule`] and [`Notices`] are those of ordinary trouble. [`Unprotected`]
//! is that of mail whose next hops are not protected as they must be: its sender hears within
//! minutes, for nothing but a word from somebody may ever mend it, and it is given up sooner.

use std::time::{Duration, SystemTime};

/// The waits between attempts, and their end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// Wait after the first attempt; default one minute.
    pub first: Duration,
    /// No wait is longer than this; default four hours.
    pub longest: Duration,
    /// Age of a message from which a recipient still deferred is given up; default five days
    /// (RFC 5321 §4.5.4.1 asks for at least four to five).
    pub give_up_after: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            first: Duration::from_secs(60),
            longest: Duration::from_secs(4 * 3600),
            give_up_after: Duration::from_secs(5 * 24 * 3600),
        }
    }
}

/// When the sender of a message that is deferred hears of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notices {
    /// Age of a message from which its sender hears of the delay; default one hour.
    pub first: Duration,
    /// Time between a notice and the next one; default one day.
    pub every: Duration,
}

impl Default for Notices {
    fn default() -> Self {
        Notices {
            first: Duration::from_secs(3600),
            every: Duration::from_secs(24 * 3600),
        }
    }
}

impl Notices {
    /// Whether an attempt that was deferred at `now` is to be told of.
    ///
    /// A notice from the future (the clock was stepped back) counts as just sent.
    pub fn is_due(
        &self,
        received_at: SystemTime,
        told_at: Option<SystemTime>,
        now: SystemTime,
    ) -> bool {
        let since = |then| now.duration_since(then).unwrap_or_default();
        match told_at {
            None => since(received_at) >= self.first,
            Some(told_at) => since(told_at) >= self.every,
        }
    }
}

/// What follows a deferred attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Again {
    /// Another attempt at this time, which is never in the past.
    At(SystemTime),
    /// The message has grown too old: no further attempt without an operator's word.
    GiveUp,
}

impl Schedule {
    /// What follows an attempt that was deferred at `now`.
    ///
    /// `attempts` counts the attempts made so far, this one included. The wait is shortened by up
    /// to a quarter in proportion to `random`, so that messages deferred together part, and never
    /// grows beyond [`Schedule::longest`]. The last attempt falls on the day of giving up itself.
    /// A message from the future (the clock was stepped back) counts as fresh.
    pub fn after(
        &self,
        received_at: SystemTime,
        attempts: u32,
        now: SystemTime,
        random: u16,
    ) -> Again {
        let age = now.duration_since(received_at).unwrap_or_default();
        if age >= self.give_up_after {
            return Again::GiveUp;
        }
        let left = self.give_up_after - age;
        let full = self.full_wait(attempts);
        let wait = full - full / 4 * u32::from(random) / u32::from(u16::MAX);
        Again::At(now + wait.max(Duration::from_secs(1)).min(left))
    }

    /// The wait after so many attempts, before jitter.
    fn full_wait(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// The clock of mail that waits for a next hop to be protected as it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unprotected {
    /// Time from the first such attempt after which the sender hears of it; default 15 minutes.
    ///
    /// Where one attempt finds more than one host unprotected, the sender hears at once.
    pub notice: Duration,
    /// No wait between attempts is longer than this; default one hour.
    pub longest: Duration,
    /// Time from the first such attempt after which mail that must be verified is given up; default
    /// 24 hours.
    pub give_up_strict: Duration,
    /// The same for other mail; default three days.
    pub give_up: Duration,
}

impl Default for Unprotected {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(3600 * n);
        Unprotected {
            notice: Duration::from_secs(15 * 60),
            longest: hours(1),
            give_up_strict: hours(24),
            give_up: hours(72),
        }
    }
}

/// What is known of a recipient whose next hops were found unprotected at `now`.
#[derive(Clone, Copy, Debug)]
pub struct Plight {
    /// When custody of the message was taken.
    pub received_at: SystemTime,
    /// The first such attempt since the last one that failed otherwise: this one, or one before.
    pub since: SystemTime,
    /// When its sender last heard of a delay.
    pub told_at: Option<SystemTime>,
    /// Attempts made so far, this one included.
    pub attempts: u32,
    /// Hosts found unprotected in this attempt.
    pub hosts: u32,
    /// Whether the mail must be verified.
    pub is_strict: bool,
    /// The end of this attempt.
    pub now: SystemTime,
}

impl Unprotected {
    /// When it is given up, unless it is protected by then; never later than other mail.
    pub fn until(&self, schedule: &Schedule, plight: &Plight) -> SystemTime {
        let own = match plight.is_strict {
            true => self.give_up_strict,
            false => self.give_up,
        };
        let last = plight.received_at + schedule.give_up_after;
        (plight.since + own).min(last)
    }

    /// Whether the sender is told of this attempt: within minutes first, then as often as of other
    /// delays. A notice from before all this told of something else.
    pub fn is_due(&self, notices: &Notices, plight: &Plight) -> bool {
        let passed = |then| plight.now.duration_since(then).unwrap_or_default();
        match plight.told_at.filter(|told_at| *told_at >= plight.since) {
            None => plight.hosts > 1 || passed(plight.since) >= self.notice,
            Some(told_at) => passed(told_at) >= notices.every,
        }
    }

    /// What follows this attempt. One of the next ones falls on the time of the first notice, and
    /// the last one on the time of giving up.
    pub fn after(&self, schedule: &Schedule, plight: &Plight, random: u16) -> Again {
        let until = self.until(schedule, plight);
        if plight.now >= until {
            return Again::GiveUp;
        }
        let waits = Schedule {
            longest: schedule.longest.min(self.longest),
            ..schedule.clone()
        };
        let at = match waits.after(plight.received_at, plight.attempts, plight.now, random) {
            Again::At(at) => at.min(until),
            Again::GiveUp => return Again::GiveUp,
        };
        let notice = plight.since + self.notice;
        let is_told = plight.told_at.is_some_and(|told| told >= plight.since) || plight.hosts > 1;
        match !is_told && plight.now < notice {
            true => Again::At(at.min(notice)),
            false => Again::At(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    /// R5321-4.5.4b, R5321-4.5.4c.
    #[test]
    fn waits_grow_from_a_minute_to_four_hours() {
        for (attempts, minutes) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (4, 8),
            (5, 16),
            (6, 32),
            (7, 64),
            (8, 128),
            (9, 240),
            (10, 240),
            (u32::MAX, 240),
        ] {
            assert_eq!(
                Schedule::default().after(at(0), attempts, at(0), 0),
                Again::At(at(minutes * 60)),
                "after attempt {attempts}"
            );
        }
    }

    #[test]
    fn jitter_takes_off_a_quarter_at_most() {
        for (random, seconds) in [(0, 14_400), (u16::MAX / 2, 12_600), (u16::MAX, 10_800)] {
            let Again::At(time) = Schedule::default().after(at(0), 20, at(0), random) else {
                panic!("given up at once");
            };
            let wait = time.duration_since(at(0)).unwrap();
            assert!(
                wait.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(1),
                "{random}"
            );
        }
    }

    /// R5321-4.5.4d.
    #[test]
    fn the_last_attempt_falls_on_the_end_of_five_days() {
        let day = 24 * 3600;
        for (age, expected) in [
            (5 * day - 3600, Again::At(at(5 * day))),
            (5 * day - 1, Again::At(at(5 * day))),
            (5 * day, Again::GiveUp),
            (50 * day, Again::GiveUp),
        ] {
            let again = Schedule::default().after(at(0), 40, at(age), 0);
            assert_eq!(again, expected, "at age {age}");
        }
    }

    #[test]
    fn the_first_notice_comes_after_an_hour_and_then_one_a_day() {
        let (hour, day) = (3600, 24 * 3600);
        for (told, now, due) in [
            (None, hour - 1, false),
            (None, hour, true),
            (Some(hour), hour + 1, false),
            (Some(hour), hour + day - 1, false),
            (Some(hour), hour + day, true),
            // The clock was stepped back.
            (Some(2 * day), hour, false),
        ] {
            let told_at = told.map(at);
            let found = Notices::default().is_due(at(0), told_at, at(now));
            assert_eq!(found, due, "{told:?} {now}");
        }
    }

    #[test]
    fn a_message_from_the_future_counts_as_fresh() {
        let again = Schedule::default().after(at(9_999), 1, at(0), 0);
        assert_eq!(again, Again::At(at(60)));
    }

    proptest! {
        #[test]
        fn the_next_attempt_lies_ahead_and_within_the_longest_wait(
            age in 0_u64..6 * 24 * 3600, attempts: u32, random: u16,
        ) {
            let schedule = Schedule::default();
            match schedule.after(at(0), attempts, at(age), random) {
                Again::At(time) => {
                    prop_assert!(time > at(age));
                    prop_assert!(time <= at(age) + schedule.longest);
                    prop_assert!(time <= at(0) + schedule.give_up_after);
                }
                Again::GiveUp => prop_assert!(age >= 5 * 24 * 3600),
            }
        }
    }

    fn plight(now: u64) -> Plight {
        Plight {
            received_at: at(0),
            since: at(0),
            told_at: None,
            attempts: 1,
            hosts: 1,
            is_strict: false,
            now: at(now),
        }
    }

    #[test]
    fn the_sender_of_unprotected_mail_hears_within_minutes_and_then_daily() {
        let (minute, day) = (60, 24 * 3600);
        let due = |plight| Unprotected::default().is_due(&Notices::default(), &plight);
        let of = |now, since, told: Option<u64>, hosts| Plight {
            since: at(since),
            told_at: told.map(at),
            hosts,
            ..plight(now)
        };
        for (what, plight, expected) in [
            ("the first attempt", of(1, 1, None, 1), false),
            ("two hosts at once", of(1, 1, None, 2), true),
            ("just before", of(15 * minute - 1, 0, None, 1), false),
            ("15 minutes", of(15 * minute, 0, None, 1), true),
            (
                "told just now",
                of(16 * minute, 0, Some(15 * minute), 2),
                false,
            ),
            (
                "a day later",
                of(15 * minute + day, 0, Some(15 * minute), 1),
                true,
            ),
            (
                "told of something else",
                of(3 * day, 2 * day, Some(day), 1),
                true,
            ),
            (
                "the same, just begun",
                of(2 * day, 2 * day, Some(day), 1),
                false,
            ),
        ] {
            assert_eq!(due(plight), expected, "{what}");
        }
    }

    #[test]
    fn strict_mail_is_given_up_after_a_day_and_other_mail_after_three() {
        let day = 24 * 3600;
        let clock = Unprotected::default();
        for (is_strict, since, now, expected) in [
            (true, 0, day - 1, Again::At(at(day))),
            (true, 0, day, Again::GiveUp),
            (false, 0, day, Again::At(at(day + 3600))),
            (false, 0, 3 * day, Again::GiveUp),
            // It counts from the first such attempt, though never beyond the end of other mail.
            (true, 2 * day, 2 * day + 1, Again::At(at(2 * day + 3601))),
            (false, 4 * day, 5 * day - 1, Again::At(at(5 * day))),
            (false, 4 * day, 5 * day, Again::GiveUp),
        ] {
            let plight = Plight {
                since: at(since),
                told_at: Some(at(since)),
                attempts: 20,
                is_strict,
                ..plight(now)
            };
            let again = clock.after(&Schedule::default(), &plight, 0);
            assert_eq!(again, expected, "{is_strict} {since} {now}");
        }
    }

    #[test]
    fn an_attempt_falls_on_the_time_of_the_first_notice() {
        let clock = Unprotected::default();
        let mut now = 0;
        for attempts in 1.. {
            let plight = Plight {
                attempts,
                ..plight(now)
            };
            if clock.is_due(&Notices::default(), &plight) {
                break;
            }
            let Again::At(next) = clock.after(&Schedule::default(), &plight, 9_999) else {
                panic!("given up");
            };
            now = next.duration_since(at(0)).unwrap().as_secs();
        }
        assert_eq!(now, 15 * 60);
    }
}
