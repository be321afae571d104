//! The brake: what tells a stolen password from its owner's habits, and what follows.
//!
//! Nobody is judged before the account has been seen for a while, and only mail to domains that are
//! not ours counts. Each signal gives points, and their sum the step:
//!
//! | signal | one point | two | three |
//! |---|---|---|---|
//! | recipients within an hour or a day, beside the most that was usual | twice | four times | eight times |
//! | recipients never written to before within an hour, beside the most that was usual | twice | four times | |
//! | recipients that failed within a day | 10, and a fifth | 25, and two fifths | |
//! | signed in from a network that is new, and another signal | new | | |
//!
//! Slow mail waits before its first attempt, so that what turns out to be a thief's can still be held
//! when the next step comes. Held mail waits for the operator. Every step names its signals.

use std::{fmt, time::Duration};

use super::allowance::{Counts, DAY};

/// Settings of the brake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Whether anybody is judged.
    pub enabled: bool,
    /// How long an account is watched before it is judged (7 days).
    pub learn: Duration,
    /// Recipients within an hour that are usual for everybody (20).
    pub usual_hour: u64,
    /// Recipients within a day that are usual for everybody (50).
    pub usual_day: u64,
    /// New recipients within an hour that are usual for everybody (10).
    pub usual_new: u64,
    /// How long slow mail waits (10 minutes).
    pub delay: Duration,
    /// Points from which mail is slow (2), held (3), refused (6).
    pub steps: [u32; 3],
}

impl Default for Options {
    fn default() -> Self {
        Options {
            enabled: true,
            learn: Duration::from_secs(7 * 86_400),
            usual_hour: 20,
            usual_day: 50,
            usual_new: 10,
            delay: Duration::from_secs(600),
            steps: [2, 3, 6],
        }
    }
}

/// How far the brake is pulled.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Step {
    /// Not at all.
    #[default]
    Free,
    /// Mail waits a little.
    Slow,
    /// Mail is accepted and held.
    Hold,
    /// Mail is put off.
    Refuse,
}

impl Step {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Free => "free",
            Step::Slow => "slow",
            Step::Hold => "hold",
            Step::Refuse => "refuse",
        }
    }

    /// The step of a word that the store keeps.
    pub fn parse(word: &str) -> Option<Self> {
        [Step::Hold, Step::Refuse]
            .into_iter()
            .find(|step| step.as_str() == word)
    }
}

/// The most that an account sent before the last day.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Habits {
    /// Recipients outside within an hour.
    pub hour: u64,
    /// Recipients outside within a day.
    pub day: u64,
    /// New ones within an hour.
    pub new: u64,
}

impl Habits {
    /// From what was sent by slot; the last day before `now` is what is judged, and `unlike` tells
    /// which slots are no measure.
    pub fn of(slots: &[(u32, Counts)], now: u32, unlike: impl Fn(u32) -> bool) -> Self {
        let mut habits = Habits::default();
        let (mut hour, mut day) = ((0, Counts::default()), (0, Counts::default()));
        for (slot, counts) in slots {
            if slot + DAY >= now || unlike(*slot) {
                continue;
            }
            for (span, length) in [(&mut hour, super::allowance::HOUR), (&mut day, DAY)] {
                if span.0 != slot / length {
                    *span = (slot / length, Counts::default());
                }
                span.1.add(counts);
            }
            habits.hour = habits.hour.max(hour.1.outside);
            habits.new = habits.new.max(hour.1.first_time);
            habits.day = habits.day.max(day.1.outside);
        }
        habits
    }
}

/// What an account does now, the message in question included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Doing {
    /// Within the last hour.
    pub hour: Counts,
    /// Within the last day.
    pub day: Counts,
    /// It signed in from a network that is new to it.
    pub new_network: bool,
}

/// One signal with its numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// So many recipients, where so many are usual, within an hour or a day.
    Volume(u64, u64, &'static str),
    /// So many new recipients within an hour, where so many are usual.
    NewRecipients(u64, u64),
    /// So many recipients failed, of so many.
    Failures(u64, u64),
    /// A new network.
    NewNetwork,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Volume(number, usual, span) => {
                write!(f, "{number} recipients within {span} ({usual} are usual)")
            }
            Signal::NewRecipients(number, usual) => write!(
                f,
                "{number} recipients never written to before within an hour ({usual} are usual)"
            ),
            Signal::Failures(failed, of) => write!(f, "{failed} of {of} recipients failed"),
            Signal::NewNetwork => f.write_str("sign-in from a new network"),
        }
    }
}

/// What the signals come to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Judgement {
    /// The step.
    pub step: Step,
    /// Why, the strongest first.
    pub signals: Vec<Signal>,
}

impl Judgement {
    /// The signals in words.
    pub fn reason(&self) -> String {
        let words: Vec<String> = self.signals.iter().map(Signal::to_string).collect();
        words.join("; ")
    }
}

/// Judges what an account does by its habits.
pub fn judge(habits: Habits, doing: &Doing, options: &Options) -> Judgement {
    let times = |number: u64, usual: u64, most: u32| {
        let times = number / usual.max(1);
        times.checked_ilog2().unwrap_or(0).min(most)
    };
    let mut found: Vec<(u32, Signal)> = Vec::new();
    let usual_hour = habits.hour.max(options.usual_hour);
    let usual_day = habits.day.max(options.usual_day);
    let (hour, day) = (doing.hour.outside, doing.day.outside);
    let by_hour = (
        times(hour, usual_hour, 3),
        Signal::Volume(hour, usual_hour, "an hour"),
    );
    let by_day = (
        times(day, usual_day, 3),
        Signal::Volume(day, usual_day, "a day"),
    );
    found.push(if by_day.0 > by_hour.0 {
        by_day
    } else {
        by_hour
    });
    let usual_new = habits.new.max(options.usual_new);
    let new = doing.hour.first_time;
    found.push((
        times(new, usual_new, 2),
        Signal::NewRecipients(new, usual_new),
    ));
    let failed = doing.day.failed;
    let failures = match failed * 100 / day.max(1) {
        40.. if failed >= 25 => 2,
        20.. if failed >= 10 => 1,
        _ => 0,
    };
    found.push((failures, Signal::Failures(failed, day)));
    found.retain(|(points, _)| *points > 0);
    if doing.new_network && !found.is_empty() {
        found.push((1, Signal::NewNetwork));
    }
    found.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
    let points: u32 = found.iter().map(|(points, _)| points).sum();
    let [slow, hold, refuse] = options.steps;
    let step = match points {
        0 => Step::Free,
        points if points >= refuse => Step::Refuse,
        points if points >= hold => Step::Hold,
        points if points >= slow => Step::Slow,
        _ => Step::Free,
    };
    Judgement {
        step,
        signals: found.into_iter().map(|(_, signal)| signal).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::allowance::{HOUR, Ledger};

    fn doing(hour: u64, new: u64, day: u64, failed: u64, new_network: bool) -> Doing {
        Doing {
            hour: Counts {
                outside: hour,
                first_time: new,
                ..Counts::default()
            },
            day: Counts {
                outside: day,
                failed,
                ..Counts::default()
            },
            new_network,
        }
    }

    #[test]
    fn signals_add_up_to_steps_and_say_their_numbers() {
        let habits = Habits {
            hour: 30,
            day: 100,
            new: 12,
        };
        for (now, step, reason) in [
            (doing(59, 23, 199, 9, true), Step::Free, ""),
            (
                doing(60, 0, 100, 0, false),
                Step::Free,
                "60 recipients within an hour (30 are usual)",
            ),
            (
                doing(60, 0, 100, 0, true),
                Step::Slow,
                "60 recipients within an hour (30 are usual); sign-in from a new network",
            ),
            (
                doing(60, 24, 100, 0, true),
                Step::Hold,
                "60 recipients within an hour (30 are usual); 24 recipients never written to before \
                 within an hour (12 are usual); sign-in from a new network",
            ),
            (
                doing(0, 0, 400, 0, false),
                Step::Slow,
                "400 recipients within a day (100 are usual)",
            ),
            (
                doing(10, 5, 50, 25, false),
                Step::Slow,
                "25 of 50 recipients failed",
            ),
            (
                doing(10, 5, 200, 25, false),
                Step::Free,
                "200 recipients within a day (100 are usual)",
            ),
        ] {
            let judged = judge(habits, &now, &Options::default());
            assert_eq!((judged.step, &*judged.reason()), (step, reason), "{now:?}");
        }
        let all = judge(habits, &doing(240, 48, 240, 100, true), &Options::default());
        assert_eq!(all.step, Step::Refuse);
    }

    #[test]
    fn habits_are_the_most_of_the_days_before() {
        let counts = |outside, first_time| Counts {
            outside,
            first_time,
            ..Counts::default()
        };
        let now = 100 * DAY;
        let slots = [
            (10 * DAY, counts(5, 1)),
            (10 * DAY + 1, counts(5, 2)),
            (10 * DAY + 7, counts(5, 0)),
            (20 * DAY, counts(900, 900)),
            (99 * DAY, counts(500, 500)),
        ];
        let habits = Habits::of(&slots, now, |slot| slot == 20 * DAY);
        let expected = Habits {
            hour: 10,
            day: 15,
            new: 3,
        };
        assert_eq!(habits, expected);
    }

    /// One account's month, and then a thief.
    struct Account {
        slots: Vec<(u32, Counts)>,
        ledger: Ledger,
        habits: (u32, Habits),
        held: bool,
    }

    impl Account {
        fn send(&mut self, slot: u32, recipients: u64, new: u64, failed: u64, thief: bool) -> Step {
            let counts = Counts {
                messages: 1,
                recipients,
                outside: recipients,
                first_time: new,
                failed,
            };
            self.ledger.add(slot, &counts);
            let now = Doing {
                hour: self.ledger.within(slot, HOUR),
                day: self.ledger.within(slot, DAY),
                new_network: thief,
            };
            let options = Options::default();
            if self.habits.0 != slot {
                self.habits = (slot, Habits::of(&self.slots, slot, |_| false));
            }
            let judged = judge(self.habits.1, &now, &options);
            match self.slots.last_mut() {
                Some((at, sum)) if *at == slot => sum.add(&counts),
                _ => self.slots.push((slot, counts)),
            }
            let learns = u64::from(slot) * 600 < options.learn.as_secs();
            self.held |= judged.step >= Step::Hold && !learns;
            match (learns, self.held) {
                (true, _) => Step::Free,
                (_, true) => judged.step.max(Step::Hold),
                _ => judged.step,
            }
        }
    }

    /// A month of honest mail of three kinds of owners, then a thief who sends all he can: nothing
    /// honest is held, and of the thief's no more leaves than what is told here.
    #[test]
    fn a_month_and_then_a_thief() {
        // Messages a working day, recipients and new ones of each, and every so many days a letter
        // to so many.
        for (kind, messages, recipients, new_every, (letter_every, letter)) in [
            ("a person", 20, 1, 5, (30, 12)),
            ("an office", 120, 2, 3, (7, 60)),
            ("a club with a letter each week", 5, 1, 5, (7, 150)),
        ] {
            let mut account = Account {
                slots: Vec::new(),
                ledger: Ledger::default(),
                habits: Default::default(),
                held: false,
            };
            let (mut sent, mut slowed, mut held) = (0, 0, 0);
            for day in 0..30 {
                for n in 0..messages {
                    let slot = day * DAY + 48 + n * 60 / messages;
                    let mut step =
                        account.send(slot, recipients, u64::from(n % new_every == 0), 0, false);
                    if n == 0 && day % letter_every == 0 {
                        step = step.max(account.send(slot, letter, 0, 1, false));
                    }
                    sent += 1;
                    slowed += u32::from(step == Step::Slow);
                    held += u32::from(step >= Step::Hold);
                }
            }
            let start = 30 * DAY + 20;
            let (mut left, mut waiting) = (0_u64, 0_u64);
            for n in 0..10_000_u32 {
                // Ten a second.
                let step = account.send(start + n / 6_000, 1, 1, u64::from(n % 3 == 0), true);
                match step {
                    Step::Free => left += 1,
                    // It would leave ten minutes later, when the next step has come.
                    Step::Slow => waiting += 1,
                    Step::Hold | Step::Refuse => {}
                }
            }
            eprintln!(
                "{kind}: of {sent} honest messages {slowed} slowed, {held} held; \
                 of 10,000 stolen ones {left} left, {waiting} were slow and then held"
            );
            assert_eq!(held, 0, "{kind}");
            assert!(slowed * 100 <= sent, "{kind}: {slowed}");
            assert!(left <= 20, "{kind}: {left}");
            assert!(account.held);
        }
    }
}
