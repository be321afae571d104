//! Days, and when reports on them are due.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A day in UTC, counted from 1970-01-01: what one report is about (RFC 8460 §4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Day(pub u32);

impl Day {
    /// The day of a moment.
    pub fn of(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Day(u32::try_from(since.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    pub fn start(self) -> SystemTime {
        UNIX_EPOCH + DAY * self.0
    }

    /// The moment after its last second.
    pub fn end(self) -> SystemTime {
        self.start() + DAY
    }

    /// So many days earlier.
    pub fn before(self, days: u32) -> Self {
        Day(self.0.saturating_sub(days))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = jiff::Timestamp::try_from(self.start());
        let start = start.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{}", start.strftime("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no day such as 2026-11-26");
        let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
        let start = day.to_datetime(jiff::civil::Time::midnight());
        let start = start.in_tz("UTC").map_err(|_| wrong())?;
        let days = start.timestamp().as_second() / 86_400;
        Ok(Day(u32::try_from(days).map_err(|_| wrong())?))
    }
}

/// When the report on a day is due: at a moment of its own within `window` after the day's end, so that
/// not all of the world's reports come at once (RFC 8460 §4.1). The same for every call.
pub fn due_at(day: Day, domain: &str, window: Duration) -> SystemTime {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (day, domain).hash(&mut hasher);
    let share = hasher.finish() % window.as_secs().max(1);
    day.end() + Duration::from_secs(share)
}

/// Attempts at a place are made for a day (RFC 8460 §5.5), with growing waits between them; none when
/// that time is over.
pub fn try_again_after(tries: u32, since_first: Duration) -> Option<Duration> {
    let wait = Duration::from_secs(300) * 2_u32.saturating_pow(tries.saturating_sub(1).min(7));
    let wait = wait.min(Duration::from_secs(4 * 3600));
    (since_first + wait <= DAY).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R8460-4.1a.
    #[test]
    fn a_day_is_reported_at_its_own_moment_after_its_end() {
        let day: Day = "2026-11-26".parse().unwrap();
        assert_eq!(day.to_string(), "2026-11-26");
        assert_eq!(Day::of(day.start()), day);
        assert_eq!(Day::of(day.end() - Duration::from_secs(1)), day);
        assert_eq!(Day::of(day.end()).before(1), day);
        let window = Duration::from_secs(4 * 3600);
        let mut seen = std::collections::HashSet::new();
        for n in 0..50 {
            let domain = format!("d{n}.example");
            let at = due_at(day, &domain, window);
            assert!(at >= day.end() && at < day.end() + window);
            assert_eq!(at, due_at(day, &domain, window));
            seen.insert(at);
        }
        assert!(seen.len() > 40, "{seen:?}");
        assert_eq!(due_at(day, "a.example", Duration::ZERO), day.end());
        for wrong in ["", "2026-13-01", "yesterday", "1969-12-31"] {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
    }

    /// R8460-5.5a.
    #[test]
    fn places_are_tried_for_a_day_with_growing_waits() {
        let (mut since, mut tries, mut last) = (Duration::ZERO, 1, Duration::ZERO);
        while let Some(wait) = try_again_after(tries, since) {
            assert!(wait >= last);
            (since, tries, last) = (since + wait, tries + 1, wait);
        }
        assert!(
            since > Duration::from_secs(19 * 3600) && since <= DAY,
            "{since:?}"
        );
        assert!((8..16).contains(&tries), "{tries}");
    }
}
