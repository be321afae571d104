//! When a message is to be handed on (RFC 4865): HOLDFOR and HOLDUNTIL.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

/// What a sender asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FutureRelease {
    /// HOLDFOR: this many seconds after it came, 1 to 999,999,999.
    For(u32),
    /// HOLDUNTIL: at this time, which has no fraction of a second.
    Until(SystemTime),
}

impl FutureRelease {
    /// Reads the value of HOLDFOR: up to nine digits.
    pub fn hold_for(value: &str) -> Option<Self> {
        let sound = (1..=9).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
        let seconds = value.parse().ok().filter(|seconds| *seconds > 0)?;
        sound.then_some(FutureRelease::For(seconds))
    }

    /// Reads the value of HOLDUNTIL: a date-time of RFC 3339, of any zone.
    pub fn hold_until(value: &str) -> Option<Self> {
        // The library takes more than the grammar.
        let shape = value.as_bytes();
        let is_full = shape.len() >= 20
            && shape.get(10).is_some_and(|t| matches!(t, b'T' | b't'))
            && value
                .bytes()
                .all(|b| b.is_ascii_digit() || b"-+:.TtZz".contains(&b));
        let at: Timestamp = value.parse().ok().filter(|_| is_full)?;
        let seconds = u64::try_from(at.as_second()).ok()?;
        // Never before the fraction that was asked for.
        let whole = seconds + u64::from(at.subsec_nanosecond() > 0);
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(whole))?;
        Some(FutureRelease::Until(at))
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(';')? {
            ("for", value) => FutureRelease::hold_for(value),
            ("until", value) => FutureRelease::hold_until(value),
            _ => None,
        }
    }

    /// When that is for a message that came at `now`.
    pub fn at(self, now: SystemTime) -> SystemTime {
        match self {
            FutureRelease::For(seconds) => now + Duration::from_secs(seconds.into()),
            FutureRelease::Until(at) => at,
        }
    }

    /// Whether it lies behind `now`, and not more than `longest` off (RFC 4865 §4.2).
    pub fn is_within(self, now: SystemTime, longest: Duration) -> bool {
        match self.at(now).duration_since(now) {
            Ok(wait) => !wait.is_zero() && wait <= longest,
            Err(_) => false,
        }
    }
}

/// As a report has it (RFC 4865 §5.1.2).
impl fmt::Display for FutureRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FutureRelease::For(seconds) => write!(f, "for;{seconds}"),
            FutureRelease::Until(at) => write!(f, "until;{}", date_time(*at)),
        }
    }
}

/// A date-time of RFC 3339 in UTC, to the second.
pub fn date_time(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// R4865-4.2c, R4865-4.2e.
    #[test]
    fn holds_are_read() {
        for (value, hold) in [
            ("60", Some(FutureRelease::For(60))),
            ("000000060", Some(FutureRelease::For(60))),
            ("0", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1234567890", None),
        ] {
            assert_eq!(FutureRelease::hold_for(value), hold, "{value}");
        }
        let until = |seconds| Some(FutureRelease::Until(at(seconds)));
        for (value, hold) in [
            ("2026-11-27T12:00:00Z", until(1_795_780_800)),
            ("2026-11-27t12:00:00z", until(1_795_780_800)),
            ("2026-11-27T12:00:00.25Z", until(1_795_780_801)),
            ("2026-11-27T14:00:00+02:00", until(1_795_780_800)),
            ("2026-11-27T12:00:00", None),
            ("2026-11-27 12:00:00Z", None),
            ("2026-11-27", None),
            ("2026-13-27T12:00:00Z", None),
            ("2026-11-27T12:00:00Z[UTC]", None),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
        ] {
            assert_eq!(FutureRelease::hold_until(value), hold, "{value}");
        }
    }

    #[test]
    fn holds_are_written_as_they_are_read() {
        for text in ["for;60", "until;2026-11-27T12:00:00Z"] {
            let read = FutureRelease::parse(text).unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in ["for;0", "until;", "at;60", "60"] {
            assert_eq!(FutureRelease::parse(text), None, "{text}");
        }
    }

    /// R4865-4.2e.
    #[test]
    fn a_hold_ends_in_the_future_and_in_time() {
        let (now, longest) = (at(1_000_000), Duration::from_secs(100));
        for (hold, within) in [
            (FutureRelease::For(1), true),
            (FutureRelease::For(100), true),
            (FutureRelease::For(101), false),
            (FutureRelease::Until(at(1_000_000)), false),
            (FutureRelease::Until(at(999_999)), false),
            (FutureRelease::Until(at(1_000_100)), true),
            (FutureRelease::Until(at(1_000_101)), false),
        ] {
            assert_eq!(hold.is_within(now, longest), within, "{hold}");
        }
    }
}
