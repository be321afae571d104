//! How urgent a message is (RFC 6710): the value of MT-PRIORITY.

use std::fmt;

/// From −9 to 9, 0 where nothing was said. All of them are told apart, which is more than the policy
/// MIXER asks for (RFC 6710 §5, appendix A).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Priority(i8);

impl Priority {
    /// The least urgent and the most urgent one.
    pub const RANGE: std::ops::RangeInclusive<i8> = -9..=9;

    /// The priority of this number, where there is one.
    pub fn new(number: i64) -> Option<Self> {
        let number = i8::try_from(number).ok()?;
        Priority::RANGE
            .contains(&number)
            .then_some(Priority(number))
    }

    /// Reads a value of MT-PRIORITY: one digit, which may have a minus sign.
    pub fn parse(value: &str) -> Option<Self> {
        let (sign, digit) = match value.as_bytes() {
            [b'-', digit @ b'1'..=b'9'] => (-1, digit),
            [digit @ b'0'..=b'9'] => (1, digit),
            _ => return None,
        };
        Some(Priority(sign * (*digit as i8 - b'0' as i8)))
    }

    /// The number.
    pub fn number(self) -> i8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R6710-3a, R6710-4.1a, R6710-5a.
    #[test]
    fn values_are_read() {
        for number in Priority::RANGE {
            let priority = Priority::parse(&number.to_string()).unwrap();
            assert_eq!(priority.number(), number);
            assert_eq!(Priority::new(number.into()), Some(priority));
        }
        for value in ["", "-", "-0", "+1", "10", "-10", "01", "1.0", " 1", "high"] {
            assert_eq!(Priority::parse(value), None, "{value}");
        }
        assert_eq!(Priority::new(10), None);
        assert_eq!(Priority::new(-300), None);
        assert!(Priority::parse("-9") < Priority::parse("-8"));
    }
}
