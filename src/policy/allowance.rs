//! How much may be sent: limits, and what was sent lately to hold them against (S30).
//!
//! Time is told in slots of ten minutes. An hour is the slot that runs and the six before it, a day
//! the 144 before it: so no limit is passed within any hour or day, and what was sent counts for up
//! to ten minutes more.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::envelope::{AccountId, AppPasswordId};

/// Whose mail is counted together.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// Everybody's.
    Site,
    /// That of all accounts whose own address is in this domain (canonical).
    Domain(Box<str>),
    /// One account's.
    Account(AccountId),
    /// That of one of its app passwords.
    AppPassword(AppPasswordId),
}

impl fmt::Display for Scope {
    /// The key under which the store counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Site => f.write_str("site"),
            Scope::Domain(name) => write!(f, "domain {name}"),
            Scope::Account(id) => write!(f, "account {}", id.0),
            Scope::AppPassword(id) => write!(f, "app-password {}", id.0),
        }
    }
}

/// What a limit bounds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LimitKind {
    /// Recipients of one message.
    MessageRecipients,
    /// Octets of one message.
    MessageOctets,
    /// Messages in an hour.
    MessagesHour,
    /// Messages in a day.
    MessagesDay,
    /// Recipients in an hour.
    RecipientsHour,
    /// Recipients in a day.
    RecipientsDay,
    /// Recipients in a day, in domains that are not ours, whom the account never wrote to before.
    NewRecipientsDay,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [LimitKind; 7] = [
        LimitKind::MessageRecipients,
        LimitKind::MessageOctets,
        LimitKind::MessagesHour,
        LimitKind::MessagesDay,
        LimitKind::RecipientsHour,
        LimitKind::RecipientsDay,
        LimitKind::NewRecipientsDay,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::MessageRecipients => "message-recipients",
            LimitKind::MessageOctets => "message-octets",
            LimitKind::MessagesHour => "messages-hour",
            LimitKind::MessagesDay => "messages-day",
            LimitKind::RecipientsHour => "recipients-hour",
            LimitKind::RecipientsDay => "recipients-day",
            LimitKind::NewRecipientsDay => "new-recipients-day",
        }
    }

    /// The kind of this word.
    pub fn parse(word: &str) -> Option<Self> {
        LimitKind::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// Nothing where it looks at one message alone.
    fn counted(self) -> Option<Counted> {
        match self {
            LimitKind::MessageRecipients | LimitKind::MessageOctets => None,
            LimitKind::MessagesHour => Some((|it| it.messages, HOUR)),
            LimitKind::MessagesDay => Some((|it| it.messages, DAY)),
            LimitKind::RecipientsHour => Some((|it| it.recipients, HOUR)),
            LimitKind::RecipientsDay => Some((|it| it.recipients, DAY)),
            LimitKind::NewRecipientsDay => Some((|it| it.first_time, DAY)),
        }
    }
}

/// What is counted, and over how many slots before this one.
type Counted = (fn(&Counts) -> u64, u32);

/// Length of a slot.
pub const SLOT: Duration = Duration::from_secs(600);
/// Slots of an hour.
pub const HOUR: u32 = 6;
/// Slots of a day.
pub const DAY: u32 = 144;

/// Limits of one scope.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits([Option<u64>; LimitKind::ALL.len()]);

impl Limits {
    /// The most that a kind allows; `None` for any.
    pub fn most(&self, kind: LimitKind) -> Option<u64> {
        self.0[kind as usize]
    }

    /// Sets it.
    pub fn set(&mut self, kind: LimitKind, most: Option<u64>) {
        self.0[kind as usize] = most;
    }

    /// These, and the other's where these say nothing.
    #[must_use]
    pub fn or(mut self, other: Limits) -> Limits {
        for kind in LimitKind::ALL {
            self.set(kind, self.most(kind).or(other.most(kind)));
        }
        self
    }
}

/// The limits of a scope that a message counts for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ceiling {
    /// Whose.
    pub scope: Scope,
    /// How much.
    pub limits: Limits,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Messages accepted.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Of those, ones in domains that are not ours.
    pub outside: u64,
    /// Of those, ones whom the account never wrote to before.
    pub first_time: u64,
    /// Recipients that failed for good.
    pub failed: u64,
}

impl Counts {
    fn pairs<'a>(&'a mut self, other: &'a Counts) -> [(&'a mut u64, u64); 5] {
        [
            (&mut self.messages, other.messages),
            (&mut self.recipients, other.recipients),
            (&mut self.outside, other.outside),
            (&mut self.first_time, other.first_time),
            (&mut self.failed, other.failed),
        ]
    }

    /// Adds the other's.
    pub fn add(&mut self, other: &Counts) {
        for (mine, more) in self.pairs(other) {
            *mine = mine.saturating_add(more);
        }
    }

    fn take_back(&mut self, other: &Counts) {
        for (mine, less) in self.pairs(other) {
            *mine = mine.saturating_sub(less);
        }
    }
}

/// What one scope sent within a day.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ledger(VecDeque<(u32, Counts)>);

impl Ledger {
    /// From what the store counted, in order of time.
    pub fn new(slots: impl IntoIterator<Item = (u32, Counts)>) -> Self {
        Ledger(slots.into_iter().collect())
    }

    /// Counts a message, or takes slots as young as the clock when that was stepped back.
    pub fn add(&mut self, slot: u32, counts: &Counts) {
        while self.0.front().is_some_and(|(at, _)| at + DAY < slot) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            // A slot from the future: the clock was stepped back.
            Some((at, sum)) if *at >= slot => sum.add(counts),
            _ => self.0.push_back((slot, *counts)),
        }
    }

    /// Takes a message back that was not accepted in the end.
    pub fn take_back(&mut self, slot: u32, counts: &Counts) {
        let found = self.0.iter_mut().rev().find(|(at, _)| *at <= slot);
        if let Some((_, sum)) = found {
            sum.take_back(counts);
        }
    }

    /// What was sent in this slot and so many before it.
    pub fn within(&self, slot: u32, before: u32) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in self.0.iter().filter(|(at, _)| at + before >= slot) {
            sum.add(counts);
        }
        sum
    }

    /// When so much is left of a limit that `more` can be sent.
    fn free_in(&self, now: u64, (count, before): Counted, most: u64, more: u64) -> Duration {
        let slot = slot(now);
        let mut sum = count(&self.within(slot, before));
        let counted = self.0.iter().filter(|(at, _)| at + before >= slot);
        for (at, counts) in counted {
            sum -= count(counts).min(sum);
            if sum + more <= most {
                let free_at = u64::from(at + before + 1) * SLOT.as_secs();
                return Duration::from_secs(free_at.saturating_sub(now));
            }
        }
        SLOT
    }
}

/// The slot of a time in seconds since 1970.
pub fn slot(now: u64) -> u32 {
    u32::try_from(now / SLOT.as_secs()).unwrap_or(u32::MAX - DAY)
}

/// A limit that a message would pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excess {
    /// Whose limit.
    pub scope: Scope,
    /// Of what.
    pub kind: LimitKind,
    /// The limit.
    pub most: u64,
    /// When the same message can pass; `None` where it never can.
    pub free_in: Option<Duration>,
}

/// A message that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What it adds.
    pub counts: Counts,
    /// Its length, as far as that is known.
    pub octets: u64,
}

/// Whether a message keeps within a ceiling, at `now` in seconds since 1970.
///
/// # Errors
/// The first limit that it would pass.
pub fn check(ceiling: &Ceiling, ledger: &Ledger, wanted: Wanted, now: u64) -> Result<(), Excess> {
    for kind in LimitKind::ALL {
        let Some(most) = ceiling.limits.most(kind) else {
            continue;
        };
        let excess = |free_in| Excess {
            scope: ceiling.scope.clone(),
            kind,
            most,
            free_in,
        };
        let Some((count, before)) = kind.counted() else {
            let one = match kind {
                LimitKind::MessageOctets => wanted.octets,
                _ => wanted.counts.recipients,
            };
            if one > most {
                return Err(excess(None));
            }
            continue;
        };
        let more = count(&wanted.counts);
        if more > most {
            return Err(excess(None));
        }
        if more > 0 && count(&ledger.within(slot(now), before)) + more > most {
            let counted = (count, before);
            return Err(excess(Some(ledger.free_in(now, counted, most, more))));
        }
    }
    Ok(())
}

/// A limit of which a message takes the first part of the second half: worth a word to the operator.
pub fn half_reached(
    ceiling: &Ceiling,
    ledger: &Ledger,
    wanted: Wanted,
    now: u64,
) -> Option<Excess> {
    LimitKind::ALL.into_iter().find_map(|kind| {
        let (count, before) = kind.counted()?;
        let most = ceiling.limits.most(kind).filter(|most| *most >= 2)?;
        let sent = count(&ledger.within(slot(now), before));
        let passes = sent * 2 < most && (sent + count(&wanted.counts)) * 2 >= most;
        passes.then(|| Excess {
            scope: ceiling.scope.clone(),
            kind,
            most,
            free_in: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 600_000_000;

    fn message(recipients: u64) -> Wanted {
        Wanted {
            counts: Counts {
                messages: 1,
                recipients,
                outside: recipients,
                first_time: recipients,
                failed: 0,
            },
            octets: 1_000,
        }
    }

    fn ceiling(kind: LimitKind, most: u64) -> Ceiling {
        let mut limits = Limits::default();
        limits.set(kind, Some(most));
        Ceiling {
            scope: Scope::Account(AccountId(7)),
            limits,
        }
    }

    /// Sends one message of `recipients` at each of these minutes, and tells which were taken.
    fn send(kind: LimitKind, most: u64, recipients: u64, minutes: &[u64]) -> Vec<bool> {
        let (ceiling, mut ledger) = (ceiling(kind, most), Ledger::default());
        let mut taken = Vec::new();
        for minute in minutes {
            let (now, wanted) = (NOW + minute * 60, message(recipients));
            let checked = check(&ceiling, &ledger, wanted, now);
            if checked.is_ok() {
                ledger.add(slot(now), &wanted.counts);
            }
            taken.push(checked.is_ok());
        }
        taken
    }

    /// S30.
    #[test]
    fn no_window_holds_more_than_its_limit() {
        let taken = send(
            LimitKind::MessagesHour,
            2,
            1,
            &[0, 1, 2, 59, 69, 70, 71, 72],
        );
        assert_eq!(taken, [true, true, false, false, false, true, true, false]);
        let taken = send(
            LimitKind::RecipientsHour,
            5,
            2,
            &[0, 20, 21, 40, 70, 89, 90],
        );
        assert_eq!(taken, [true, true, false, false, true, false, true]);
        let day = 24 * 60;
        let taken = send(
            LimitKind::MessagesDay,
            1,
            9,
            &[0, 61, day - 1, day + 9, day + 10],
        );
        assert_eq!(taken, [true, false, false, false, true]);
        let taken = send(LimitKind::NewRecipientsDay, 3, 2, &[0, 600, day + 10]);
        assert_eq!(taken, [true, false, true]);
    }

    #[test]
    fn what_can_never_pass_says_so() {
        let ledger = Ledger::default();
        for (kind, most) in [
            (LimitKind::MessageRecipients, 3),
            (LimitKind::MessageOctets, 999),
            (LimitKind::RecipientsHour, 3),
            (LimitKind::MessagesDay, 0),
        ] {
            let excess = check(&ceiling(kind, most), &ledger, message(4), NOW).unwrap_err();
            assert_eq!(
                (excess.kind, excess.most, excess.free_in),
                (kind, most, None)
            );
            assert_eq!(
                check(&ceiling(kind, 1_000), &ledger, message(4), NOW),
                Ok(())
            );
        }
    }

    #[test]
    fn the_time_until_it_passes_is_told_and_true() {
        let ceiling = ceiling(LimitKind::RecipientsHour, 10);
        let mut ledger = Ledger::default();
        ledger.add(slot(NOW), &message(4).counts);
        ledger.add(slot(NOW + 1_200), &message(6).counts);
        for recipients in [1, 4, 5, 10] {
            let at = NOW + 1_300;
            let excess = check(&ceiling, &ledger, message(recipients), at).unwrap_err();
            let free_at = at + excess.free_in.unwrap().as_secs();
            let passes = |at| check(&ceiling, &ledger, message(recipients), at).is_ok();
            assert!(!passes(free_at - 1) && passes(free_at), "{recipients}");
        }
    }

    #[test]
    fn a_message_taken_back_leaves_nothing() {
        let mut ledger = Ledger::default();
        ledger.add(slot(NOW), &message(3).counts);
        ledger.add(slot(NOW + 600), &message(2).counts);
        ledger.take_back(slot(NOW), &message(3).counts);
        assert_eq!(ledger.within(slot(NOW + 600), HOUR).recipients, 2);
        // The clock is stepped back: it counts, and nothing is out of order.
        ledger.add(slot(NOW - 6_000), &message(5).counts);
        assert_eq!(ledger.within(slot(NOW + 600), HOUR).recipients, 7);
    }

    #[test]
    fn the_operator_hears_once_when_half_is_reached() {
        let ceiling = ceiling(LimitKind::MessagesDay, 4);
        let mut ledger = Ledger::default();
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(half_reached(&ceiling, &ledger, message(1), NOW).is_some());
            ledger.add(slot(NOW), &message(1).counts);
        }
        assert_eq!(told, [false, true, false, false]);
    }

    #[test]
    fn an_own_limit_stands_before_that_of_all() {
        let mut own = Limits::default();
        own.set(LimitKind::MessagesDay, Some(5));
        let mut all = Limits::default();
        all.set(LimitKind::MessagesDay, Some(1));
        all.set(LimitKind::MessagesHour, Some(2));
        let both = own.or(all);
        assert_eq!(both.most(LimitKind::MessagesDay), Some(5));
        assert_eq!(both.most(LimitKind::MessagesHour), Some(2));
        assert_eq!(
            LimitKind::parse("messages-day"),
            Some(LimitKind::MessagesDay)
        );
    }
}
