//! By when a message is to be delivered (RFC 2852): the value of BY.

use std::{fmt, time::Duration};

/// What happens to a message that is not delivered in time (RFC 2852 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ByMode {
    /// N: its sender is told, and it is tried on.
    Notify,
    /// R: it is returned.
    Return,
}

/// What a sender asks for, or a next hop is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeliverBy {
    /// Seconds from MAIL on, within ±999,999,999; not positive where the time has passed.
    pub seconds: i64,
    /// What happens then.
    pub mode: ByMode,
    /// T: the sender is told of every relay.
    pub is_traced: bool,
}

impl DeliverBy {
    /// Seconds that nine digits can say.
    pub const SECONDS_MAX: i64 = 999_999_999;

    /// Reads a value of BY.
    ///
    /// A time that is up already can be told of, but a message cannot be returned by it (RFC 2852
    /// §4).
    pub fn parse(value: &str) -> Option<Self> {
        let (time, flags) = value.split_once(';')?;
        let (sign, digits) = match time.as_bytes().first()? {
            b'-' => (-1, &time[1..]),
            b'+' => (1, &time[1..]),
            _ => (1, time),
        };
        let sound = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let seconds = sign * digits.parse::<i64>().ok().filter(|_| sound)?;
        let (mode, is_traced) = match flags.to_ascii_uppercase().as_str() {
            "N" => (ByMode::Notify, false),
            "NT" => (ByMode::Notify, true),
            "R" => (ByMode::Return, false),
            "RT" => (ByMode::Return, true),
            _ => return None,
        };
        let by = DeliverBy {
            seconds,
            mode,
            is_traced,
        };
        (mode == ByMode::Notify || seconds > 0).then_some(by)
    }

    /// The same said so much later.
    pub fn after(self, passed: Duration) -> Self {
        let passed = i64::try_from(passed.as_secs()).unwrap_or(Self::SECONDS_MAX);
        DeliverBy {
            seconds: self.seconds.saturating_sub(passed).max(-Self::SECONDS_MAX),
            ..self
        }
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = if self.is_traced { "T" } else { "" };
        write!(f, "{};{}{trace}", self.seconds, self.mode)
    }
}

impl ByMode {
    /// Reads what `Display` writes.
    pub fn parse(letter: &str) -> Option<Self> {
        match letter {
            "N" => Some(ByMode::Notify),
            "R" => Some(ByMode::Return),
            _ => None,
        }
    }
}

impl fmt::Display for ByMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ByMode::Notify => "N",
            ByMode::Return => "R",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R2852-4a, R2852-4b, R2852-4c.
    #[test]
    fn values_are_read() {
        let by = |seconds, mode, is_traced| {
            Some(DeliverBy {
                seconds,
                mode,
                is_traced,
            })
        };
        for (value, expected) in [
            ("120;R", by(120, ByMode::Return, false)),
            ("+120;rt", by(120, ByMode::Return, true)),
            ("000000001;R", by(1, ByMode::Return, false)),
            ("0;N", by(0, ByMode::Notify, false)),
            ("-10;NT", by(-10, ByMode::Notify, true)),
            ("999999999;N", by(999_999_999, ByMode::Notify, false)),
            ("0;R", None),
            ("-0;R", None),
            ("-1;R", None),
            ("1234567890;N", None),
            ("x;R", None),
            ("1.5;R", None),
            ("--1;N", None),
            ("+;N", None),
            (";N", None),
            ("5", None),
            ("5;", None),
            ("5;T", None),
            ("5;TR", None),
            ("5;RTT", None),
            ("5;R;", None),
            ("", None),
        ] {
            assert_eq!(DeliverBy::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_left_is_written_as_a_value() {
        let by = |text: &str| DeliverBy::parse(text).unwrap();
        let left = |text, passed| by(text).after(Duration::from_millis(passed)).to_string();
        assert_eq!(left("120;RT", 22_900), "98;RT");
        assert_eq!(left("5;N", 0), "5;N");
        assert_eq!(left("5;N", 7_000), "-2;N");
        assert_eq!(left("-999999999;N", 7_000), "-999999999;N");
    }
}
