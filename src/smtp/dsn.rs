//! What a sender asks of reports: RET, ENVID, NOTIFY (RFC 3461 §4).
//!
//! Values only; what is asked is obeyed elsewhere. ENVID keeps the spelling it came in, for a next
//! hop gets the same octets (RFC 3461 §5.2.1).

use std::fmt;

use super::xtext;

/// RET: how much of the message a failure report returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Return {
    /// FULL: the whole message.
    Full,
    /// HDRS: its header section.
    Headers,
}

impl Return {
    /// Reads a value of RET, in any case.
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("FULL") {
            Some(Return::Full)
        } else if value.eq_ignore_ascii_case("HDRS") {
            Some(Return::Headers)
        } else {
            None
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Return::Full => "FULL",
            Return::Headers => "HDRS",
        })
    }
}

/// ENVID: the sender's own name for the transaction (RFC 3461 §4.4).
///
/// Decoded, it is printable ASCII: no control character can be in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvelopeId(Box<str>);

impl EnvelopeId {
    /// Octets of the value at most, as spelled (RFC 3461 §4.4, §5.4).
    pub const MAX: usize = 100;

    /// Reads a value of ENVID: xtext of printable ASCII.
    pub fn parse(value: &str) -> Option<Self> {
        if value.is_empty() || value.len() > Self::MAX {
            return None;
        }
        printable(value)?;
        Some(EnvelopeId(value.into()))
    }

    /// As spelled by the client, which is how a next hop gets it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without xtext, which is how a report shows it (RFC 3461 §6.3 (a)).
    pub fn decoded(&self) -> String {
        printable(&self.0).expect("invariant: parse has read it")
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text behind xtext, where all of it is printable ASCII (RFC 3461 §4.2, §4.4).
pub(super) fn printable(value: &str) -> Option<String> {
    let text = String::from_utf8(xtext::decode(value)?).ok()?;
    text.bytes()
        .all(|octet| matches!(octet, b' '..=b'~'))
        .then_some(text)
}

/// NOTIFY: of which events the sender wants to hear (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Notify {
    success: bool,
    failure: bool,
    delay: bool,
}

impl Notify {
    /// NEVER: of none.
    pub const NEVER: Notify = Notify {
        success: false,
        failure: false,
        delay: false,
    };

    /// SUCCESS: of that alone.
    pub const SUCCESS: Notify = Notify {
        success: true,
        ..Notify::NEVER
    };

    /// Reads a value of NOTIFY, in any case: NEVER alone, or a list without empty places.
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Notify::NEVER);
        }
        let mut notify = Notify::NEVER;
        for event in value.split(',') {
            if event.eq_ignore_ascii_case("SUCCESS") {
                notify.success = true;
            } else if event.eq_ignore_ascii_case("FAILURE") {
                notify.failure = true;
            } else if event.eq_ignore_ascii_case("DELAY") {
                notify.delay = true;
            } else {
                return None;
            }
        }
        Some(notify)
    }

    /// The same without success, which somebody else tells of.
    pub fn without_success(self) -> Self {
        Notify {
            success: false,
            ..self
        }
    }

    /// The same with delays; NEVER stays.
    pub fn with_delay(self) -> Self {
        Notify {
            delay: !self.is_never(),
            ..self
        }
    }

    /// The same with success; NEVER stays.
    pub fn with_success(self) -> Self {
        Notify {
            success: !self.is_never(),
            ..self
        }
    }

    /// Whether nothing is to be reported, whatever happens.
    pub fn is_never(self) -> bool {
        self == Notify::NEVER
    }

    /// SUCCESS was asked.
    pub fn on_success(self) -> bool {
        self.success
    }

    /// FAILURE was asked.
    pub fn on_failure(self) -> bool {
        self.failure
    }

    /// DELAY was asked.
    pub fn on_delay(self) -> bool {
        self.delay
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("NEVER");
        }
        let events = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let mut comma = "";
        for (_, event) in events.into_iter().filter(|(asked, _)| *asked) {
            write!(f, "{comma}{event}")?;
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R3461-4.3a.
    #[test]
    fn ret_is_full_or_hdrs() {
        assert_eq!(Return::parse("full"), Some(Return::Full));
        assert_eq!(Return::parse("Hdrs"), Some(Return::Headers));
        for bad in ["", "ALL", "HEADERS", "FULL,HDRS", "FULL "] {
            assert_eq!(Return::parse(bad), None, "{bad}");
        }
        for ret in [Return::Full, Return::Headers] {
            assert_eq!(Return::parse(&ret.to_string()), Some(ret));
        }
    }

    /// R3461-4a, R3461-4.4a, S21.
    #[test]
    fn envid_is_xtext_of_printable_ascii() {
        for (value, decoded) in [
            ("QQ314159", "QQ314159"),
            ("a+3Db", "a=b"),
            ("a+20b+2B", "a b+"),
            ("(x;y)<z>", "(x;y)<z>"),
        ] {
            let id = EnvelopeId::parse(value).unwrap();
            assert_eq!(
                (id.as_str(), id.decoded()),
                (value, decoded.to_owned()),
                "{value}"
            );
        }
        for bad in [
            "",
            "a+3d",
            "a=b",
            "a+",
            "a+0D+0AX:+20y",
            "a+00",
            "a+09",
            "a+7F",
            "a+C3+BC",
            "\u{fc}",
        ] {
            assert_eq!(EnvelopeId::parse(bad), None, "{bad}");
        }
        assert!(EnvelopeId::parse(&"x".repeat(100)).is_some());
        assert_eq!(EnvelopeId::parse(&"x".repeat(101)), None);
    }

    #[test]
    fn success_can_be_left_to_somebody_else() {
        for (asked, left) in [
            ("SUCCESS", "NEVER"),
            ("SUCCESS,DELAY", "DELAY"),
            ("FAILURE", "FAILURE"),
            ("NEVER", "NEVER"),
        ] {
            let notify = Notify::parse(asked).unwrap().without_success();
            assert_eq!(notify.to_string(), left, "{asked}");
        }
    }

    /// R3461-4.1a.
    #[test]
    fn notify_is_never_alone_or_a_list() {
        for (value, written) in [
            ("NEVER", "NEVER"),
            ("never", "NEVER"),
            ("notify", ""),
            ("success,delay", "SUCCESS,DELAY"),
            ("DELAY,Failure,SUCCESS", "SUCCESS,FAILURE,DELAY"),
            ("FAILURE,FAILURE", "FAILURE"),
            ("", ""),
            (",", ""),
            ("SUCCESS,", ""),
            ("SUCCESS,,DELAY", ""),
            ("NEVER,SUCCESS", ""),
            ("SUCCESS,NEVER", ""),
            ("NEVER,NEVER", ""),
            ("SUCCESS;DELAY", ""),
            ("SUCCESS, DELAY", ""),
        ] {
            let read = Notify::parse(value).map(|notify| notify.to_string());
            assert_eq!(read.unwrap_or_default(), written, "{value}");
        }
    }

    proptest! {
        #[test]
        fn an_envelope_id_survives_spelling(text in "[ -~]{1,33}") {
            let id = EnvelopeId::parse(&xtext::encode(text.as_bytes())).unwrap();
            prop_assert_eq!(id.decoded(), text);
            prop_assert_eq!(EnvelopeId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn no_value_panics_and_what_is_read_is_printable(value in "\\PC{0,20}|[+0-9A-F]{0,20}") {
            if let Some(id) = EnvelopeId::parse(&value) {
                prop_assert!(id.decoded().bytes().all(|octet| matches!(octet, b' '..=b'~')));
            }
            if let Some(notify) = Notify::parse(&value) {
                prop_assert_eq!(Notify::parse(&notify.to_string()), Some(notify));
            }
        }

        #[test]
        fn a_written_notify_reads_the_same(success: bool, failure: bool, delay: bool) {
            let notify = Notify { success, failure, delay };
            prop_assert_eq!(Notify::parse(&notify.to_string()), Some(notify));
        }
    }
}
