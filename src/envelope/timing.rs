//! Before which others, and until when, a message is to travel.

use std::time::SystemTime;

use crate::smtp::{ByMode, DeliverBy, Priority};

/// What a message asks of time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timing {
    /// MT-PRIORITY, where it is in force (RFC 6710).
    pub priority: Option<Priority>,
    /// BY (RFC 2852).
    pub deadline: Option<Deadline>,
}

/// By when a message is to be delivered (RFC 2852 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadline {
    /// The deliver-by-time.
    pub at: SystemTime,
    /// What happens then.
    pub mode: ByMode,
    /// The sender is told of every relay.
    pub is_traced: bool,
}

impl Timing {
    /// How urgent it is; 0 where nothing was said.
    pub fn urgency(&self) -> Priority {
        self.priority.unwrap_or_default()
    }

    /// When it is returned, where it is not delivered before.
    pub fn returned_at(&self) -> Option<SystemTime> {
        let deadline = self.deadline.filter(|it| it.mode == ByMode::Return)?;
        Some(deadline.at)
    }

    /// `at`, or the deadline where that lies between `now` and then: something is to happen there.
    pub fn soonest(&self, at: SystemTime, now: SystemTime) -> SystemTime {
        match self.deadline {
            Some(deadline) if deadline.at > now => at.min(deadline.at),
            Some(_) | None => at,
        }
    }
}

impl Deadline {
    /// The deadline of a message for which this was asked at `now`.
    pub fn of(by: DeliverBy, now: SystemTime) -> Self {
        let span = std::time::Duration::from_secs(by.seconds.unsigned_abs());
        let at = match by.seconds < 0 {
            true => now.checked_sub(span),
            false => now.checked_add(span),
        };
        Deadline {
            at: at.unwrap_or(SystemTime::UNIX_EPOCH),
            mode: by.mode,
            is_traced: by.is_traced,
        }
    }

    /// What a next hop is asked for at `now`: whole seconds that are left, or have passed.
    pub fn left(&self, now: SystemTime) -> DeliverBy {
        let seconds = match self.at.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Err(passed) => i64::try_from(passed.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        let most = DeliverBy::SECONDS_MAX;
        DeliverBy {
            seconds: seconds.clamp(-most, most),
            mode: self.mode,
            is_traced: self.is_traced,
        }
    }

    /// Whether it has come.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.at <= now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// R2852-4.1.4a.
    #[test]
    fn a_next_hop_is_asked_for_what_is_left() {
        let deadline = |text| Deadline::of(DeliverBy::parse(text).unwrap(), at(1_000));
        for (asked, now, left) in [
            ("120;RT", 1_022, "98;RT"),
            ("120;R", 1_120, "0;R"),
            ("120;N", 1_150, "-30;N"),
            ("-10;N", 1_000, "-10;N"),
            ("999999999;N", 900, "999999999;N"),
        ] {
            assert_eq!(deadline(asked).left(at(now)).to_string(), left, "{asked}");
        }
        assert!(!deadline("5;R").is_over(at(1_004)));
        assert!(deadline("5;R").is_over(at(1_005)));
    }

    #[test]
    fn something_happens_at_the_deadline() {
        let timing = Timing {
            deadline: Some(Deadline::of(DeliverBy::parse("100;N").unwrap(), at(1_000))),
            ..Timing::default()
        };
        assert_eq!(timing.soonest(at(5_000), at(1_000)), at(1_100));
        assert_eq!(timing.soonest(at(1_050), at(1_000)), at(1_050));
        assert_eq!(timing.soonest(at(5_000), at(1_100)), at(5_000));
        assert_eq!(Timing::default().soonest(at(5_000), at(1_000)), at(5_000));
        assert_eq!(timing.returned_at(), None);
    }
}
