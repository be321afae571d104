//! Dates of header fields (RFC 5322 §3.3, §4.3).
//!
//! Wall-clock time comes in as a value. What is written has a four-digit year and a numeric zone.

use std::{fmt, time::SystemTime};

use jiff::{
    Timestamp,
    civil::{Date, Weekday},
    tz::Offset,
};
use mail_parser::{HeaderValue, MessageParser};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What to do with the value of a Date field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DateVerdict {
    /// Of the modern form and a day that exists.
    Valid,
    /// Understood, but of an obsolete form; the text is the same instant in the modern one.
    Obsolete(String),
    /// Not understood, or a day that does not exist.
    Invalid,
}

/// Writes `now` in UTC; a time outside the years 0 to 9999 becomes 1 January 1970.
pub fn date(now: SystemTime) -> String {
    let stamp = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = Offset::UTC.to_datetime(stamp);
    let stamp = Stamp {
        day: at.date(),
        time: (at.hour().into(), at.minute().into(), at.second().into()),
        zone: "+0000".to_owned(),
        modern: true,
    };
    stamp.to_string()
}

/// Judges the value of a Date field.
///
/// What our own reader of both grammars does not know goes to mail-parser, which forgives more.
pub fn judge(value: &str) -> DateVerdict {
    match Stamp::parse(value) {
        Some(stamp) if stamp.modern => DateVerdict::Valid,
        Some(stamp) => DateVerdict::Obsolete(stamp.to_string()),
        None => Stamp::forgiving(value).map_or(DateVerdict::Invalid, |stamp| {
            DateVerdict::Obsolete(stamp.to_string())
        }),
    }
}

/// A date and time that exist, with their zone.
struct Stamp {
    day: Date,
    /// Hour, minute, second.
    time: (i16, i16, i16),
    zone: String,
    /// Written as RFC 5322 §3.3 asks, with the right name of the day.
    modern: bool,
}

impl Stamp {
    /// `[day-name ","] day month year hour ":" minute [":" second] zone`, and a comment behind it;
    /// years of two digits and named zones are obsolete.
    fn parse(value: &str) -> Option<Self> {
        let value = value.trim_matches([' ', '\t', '\r', '\n']);
        let value = match value.split_once('(') {
            Some((date, comment)) => {
                let inner = comment.strip_suffix(')')?;
                if inner.contains(['(', ')', '\\']) || !inner.is_ascii() {
                    return None;
                }
                date
            }
            None => value,
        };
        let mut words = value.split_ascii_whitespace();
        let mut word = words.next()?;
        let mut weekday = None;
        if let Some(name) = word.strip_suffix(',') {
            weekday = Some(name);
            word = words.next()?;
        }
        let day = i8::try_from(number(word, 1, 2)?).ok()?;
        let name = words.next()?;
        let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))? + 1;
        let written = words.next()?;
        let year = match (number(written, 2, 4)?, written.len()) {
            (year, 2) if year < 50 => year + 2000,
            (year, 2 | 3) => year + 1900,
            (year, _) => year,
        };
        let day = Date::new(year, i8::try_from(month).ok()?, day).ok()?;
        let mut parts = words.next()?.split(':');
        let hour = number(parts.next()?, 2, 2)?;
        let minute = number(parts.next()?, 2, 2)?;
        let second = parts
            .next()
            .map_or(Some(0), |second| number(second, 2, 2))?;
        let given = words.next()?;
        let zone = if given.starts_with(['+', '-']) {
            given
        } else {
            named_zone(given)?
        };
        let minutes = number(&zone[1..], 4, 4)? % 100;
        let exists = year >= 1900 && hour < 24 && minute < 60 && second <= 60 && minutes < 60;
        if !exists || parts.next().is_some() || words.next().is_some() {
            return None;
        }
        let named_well =
            weekday.is_none_or(|name| name.eq_ignore_ascii_case(weekday_name(day.weekday())));
        Some(Stamp {
            day,
            time: (hour, minute, second),
            zone: zone.to_owned(),
            modern: named_well && written.len() == 4 && zone == given,
        })
    }

    fn forgiving(value: &str) -> Option<Self> {
        let field = format!("Date:{value}\r\n\r\n");
        let message = MessageParser::new().parse_headers(field.as_bytes())?;
        let HeaderValue::DateTime(seen) = message.headers().first()?.value() else {
            return None;
        };
        if !seen.is_valid() {
            return None;
        }
        let year = i16::try_from(seen.year).ok()?;
        let (month, day) = (i8::try_from(seen.month).ok()?, i8::try_from(seen.day).ok()?);
        let sign = if seen.tz_before_gmt { '-' } else { '+' };
        Some(Stamp {
            day: Date::new(year, month, day).ok()?,
            time: (seen.hour.into(), seen.minute.into(), seen.second.into()),
            zone: format!("{sign}{:02}{:02}", seen.tz_hour, seen.tz_minute),
            modern: false,
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.time;
        write!(
            f,
            "{}, {} {} {:04} {hour:02}:{minute:02}:{second:02} {}",
            weekday_name(self.day.weekday()),
            self.day.day(),
            month_name(self.day.month()),
            self.day.year(),
            self.zone
        )
    }
}

/// Names of zones that RFC 5322 §4.3 knows; any other word says nothing of the zone.
fn named_zone(name: &str) -> Option<&'static str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    Some(match &name.to_ascii_uppercase()[..] {
        "UT" | "UTC" | "GMT" | "Z" => "+0000",
        "EDT" => "-0400",
        "EST" | "CDT" => "-0500",
        "CST" | "MDT" => "-0600",
        "MST" | "PDT" => "-0700",
        "PST" => "-0800",
        _ => "-0000",
    })
}

fn number(text: &str, least: usize, most: usize) -> Option<i16> {
    let digits = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn month_name(month: i8) -> &'static str {
    let at = usize::try_from(month - 1).unwrap_or_default();
    MONTHS.get(at).copied().unwrap_or("Jan")
}

fn weekday_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// R5321-4.4f.
    #[test]
    fn a_date_has_a_numeric_zone() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000);
        assert_eq!(date(at), "Thu, 28 May 2026 20:26:40 +0000");
        assert_eq!(judge(&date(at)), DateVerdict::Valid);
    }

    /// R5322-3.3a, R5322-4a, R6409-8.2a.
    #[test]
    fn dates_are_kept_rewritten_or_invalid() {
        use DateVerdict::{Invalid, Obsolete, Valid};
        let obsolete = |text: &str| Obsolete(text.to_owned());
        for (value, expected) in [
            (" Fri, 27 Feb 2026 10:00:00 +0100", Valid),
            (" 27 Feb 2026 10:00 -0000", Valid),
            (" Fri, 27 Feb\r\n 2026 10:00:00 +0000 (UTC)", Valid),
            (" 29 Feb 2024 10:00:00 +0000", Valid),
            (" 30 Feb 2026 10:00:00 +0000", Invalid),
            (" 29 Feb 2025 10:00:00 +0000", Invalid),
            (" Fri, 27 Feb 2026 25:00:00 +0000", Invalid),
            (" soon", Invalid),
            ("", Invalid),
            (
                " 1 Jan 99 10:00 EST",
                obsolete("Fri, 1 Jan 1999 10:00:00 -0500"),
            ),
            (
                " Mon, 27 Feb 2026 10:00:00 GMT",
                obsolete("Fri, 27 Feb 2026 10:00:00 +0000"),
            ),
        ] {
            assert_eq!(judge(value), expected, "{value:?}");
        }
    }
}
