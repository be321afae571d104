//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11).

use super::{
    DeliverBy, EnvelopeId, FutureRelease, Mailbox, Notify, OriginalRecipient, Priority, Return,
    command::parse_size, xtext,
};

/// Why a parameter was refused. The keyword is in upper case and safe to echo.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// Not one that is offered (555).
    #[error("parameter {0} not supported")]
    Unknown(String),
    /// Offered, but its value is missing, wrong or not wanted (501).
    #[error("bad value for parameter {0}")]
    BadValue(&'static str),
    /// Given before (501).
    #[error("parameter {0} given twice")]
    Twice(&'static str),
}

/// What BODY= may say (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyParameter {
    /// 7BIT.
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
    /// BINARYMIME (RFC 3030 §3).
    BinaryMime,
}

/// The AUTH= parameter: who handed the message in, in the client's words (RFC 4954 §5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Submitter {
    /// `<>`: unknown or not vouched for.
    Unknown,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Every MAIL parameter that is offered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MailParameters {
    /// SIZE=, in octets (RFC 1870).
    pub size_octets: Option<u64>,
    /// BODY=.
    pub body: Option<BodyParameter>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH=. Read, and not relied upon: the session knows who signed in.
    pub auth: Option<Submitter>,
    /// RET= (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID= (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
    /// REQUIRETLS (RFC 8689 §2).
    pub requiretls: bool,
    /// HOLDFOR= or HOLDUNTIL= (RFC 4865 §4.1): one of them at most.
    pub hold: Option<FutureRelease>,
    /// BY= (RFC 2852 §4).
    pub by: Option<DeliverBy>,
    /// MT-PRIORITY= (RFC 6710 §4.1).
    pub priority: Option<Priority>,
}

impl MailParameters {
    /// Reads the parameters behind a reverse-path.
    ///
    /// # Errors
    /// The first parameter that cannot be taken, as [`ParameterError`].
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = MailParameters::default();
        for (keyword, value) in words(text) {
            match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => set(
                    &mut parameters.size_octets,
                    "SIZE",
                    value.and_then(parse_size),
                )?,
                "BODY" => set(&mut parameters.body, "BODY", value.and_then(body))?,
                "AUTH" => set(&mut parameters.auth, "AUTH", value.and_then(submitter))?,
                "SMTPUTF8" => set_flag(&mut parameters.smtputf8, "SMTPUTF8", value)?,
                "REQUIRETLS" => set_flag(&mut parameters.requiretls, "REQUIRETLS", value)?,
                "HOLDFOR" => set(
                    &mut parameters.hold,
                    "HOLDFOR",
                    value.and_then(FutureRelease::hold_for),
                )?,
                "HOLDUNTIL" => set(
                    &mut parameters.hold,
                    "HOLDUNTIL",
                    value.and_then(FutureRelease::hold_until),
                )?,
                "BY" => set(&mut parameters.by, "BY", value.and_then(DeliverBy::parse))?,
                "MT-PRIORITY" => set(
                    &mut parameters.priority,
                    "MT-PRIORITY",
                    value.and_then(Priority::parse),
                )?,
                "RET" => {
                    set(&mut parameters.ret, "RET", value.and_then(Return::parse))?;
                }
                "ENVID" => set(
                    &mut parameters.envelope_id,
                    "ENVID",
                    value.and_then(EnvelopeId::parse),
                )?,
                _ => return Err(unknown(keyword)),
            }
        }
        Ok(parameters)
    }
}

/// Every RCPT parameter that is offered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RcptParameters {
    /// NOTIFY= (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT= (RFC 3461 §4.2). It may hold more than ASCII only in a transaction with SMTPUTF8.
    pub original_recipient: Option<OriginalRecipient>,
}

impl RcptParameters {
    /// Reads the parameters behind a forward-path.
    ///
    /// # Errors
    /// The first parameter that cannot be taken, as [`ParameterError`].
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = RcptParameters::default();
        for (keyword, value) in words(text) {
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" => set(
                    &mut parameters.notify,
                    "NOTIFY",
                    value.and_then(Notify::parse),
                )?,
                "ORCPT" => set(
                    &mut parameters.original_recipient,
                    "ORCPT",
                    value.and_then(OriginalRecipient::parse),
                )?,
                _ => return Err(unknown(keyword)),
            }
        }
        Ok(parameters)
    }
}

fn words(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split_ascii_whitespace()
        .map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        })
}

/// A parameter that has no value.
fn set_flag(
    flag: &mut bool,
    keyword: &'static str,
    value: Option<&str>,
) -> Result<(), ParameterError> {
    if value.is_some() {
        return Err(ParameterError::BadValue(keyword));
    }
    match std::mem::replace(flag, true) {
        true => Err(ParameterError::Twice(keyword)),
        false => Ok(()),
    }
}

fn set<T>(
    slot: &mut Option<T>,
    keyword: &'static str,
    value: Option<T>,
) -> Result<(), ParameterError> {
    if slot.is_some() {
        return Err(ParameterError::Twice(keyword));
    }
    *slot = Some(value.ok_or(ParameterError::BadValue(keyword))?);
    Ok(())
}

fn unknown(keyword: &str) -> ParameterError {
    /// Octets of a stranger's keyword that a reply repeats.
    const ECHO_MAX: usize = 40;
    let safe = keyword
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '?' });
    ParameterError::Unknown(safe.take(ECHO_MAX).collect())
}

fn body(value: &str) -> Option<BodyParameter> {
    if value.eq_ignore_ascii_case("7BIT") {
        Some(BodyParameter::SevenBit)
    } else if value.eq_ignore_ascii_case("8BITMIME") {
        Some(BodyParameter::EightBitMime)
    } else if value.eq_ignore_ascii_case("BINARYMIME") {
        Some(BodyParameter::BinaryMime)
    } else {
        None
    }
}

fn submitter(value: &str) -> Option<Submitter> {
    /// RFC 4954 §3 allows the whole parameter 500 octets.
    const VALUE_MAX: usize = 495;
    if value.is_empty() || value.len() > VALUE_MAX {
        return None;
    }
    let text = String::from_utf8(xtext::decode(value)?).ok()?;
    if text == "<>" {
        return Some(Submitter::Unknown);
    }
    Some(match Mailbox::parse(&text) {
        Ok(mailbox) => Submitter::Mailbox(mailbox),
        // Whoever it names, it is not proved: as good as unknown (RFC 4954 §5).
        Err(_) => Submitter::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R1870-3b, R6152-3a, R6531-3.4b, R4954-3b, R4954-5a, R5321-4.1.1.11a.
    #[test]
    fn mail_parameters() {
        let all = MailParameters::parse("size=10 Body=8bitmime SMTPUTF8 AUTH=<>").unwrap();
        assert_eq!(all.size_octets, Some(10));
        assert_eq!(all.body, Some(BodyParameter::EightBitMime));
        assert!(all.smtputf8);
        assert_eq!(all.auth, Some(Submitter::Unknown));
        let auth = |text| MailParameters::parse(text).map(|p| p.auth.unwrap());
        let alice = Mailbox::parse("a@b.c").unwrap();
        assert_eq!(auth("AUTH=a+40b.c"), Ok(Submitter::Mailbox(alice)));
        assert!(MailParameters::parse(&format!("AUTH={}", "x".repeat(480))).is_ok());
        assert_eq!(MailParameters::parse(""), Ok(MailParameters::default()));

        use ParameterError::{BadValue, Twice, Unknown};
        for (text, error) in [
            ("FOO=1", Unknown("FOO".into())),
            ("REQUIRETLS=1", BadValue("REQUIRETLS")),
            ("REQUIRETLS=", BadValue("REQUIRETLS")),
            ("REQUIRETLS RequireTLS", Twice("REQUIRETLS")),
            ("MT-PRIORITY", BadValue("MT-PRIORITY")),
            ("MT-PRIORITY=10", BadValue("MT-PRIORITY")),
            ("MT-PRIORITY=1 mt-priority=1", Twice("MT-PRIORITY")),
            ("BY", BadValue("BY")),
            ("BY=0;R", BadValue("BY")),
            ("BY=5;R BY=5;R", Twice("BY")),
            ("é", Unknown("?".into())),
            ("SIZE", BadValue("SIZE")),
            ("SIZE=", BadValue("SIZE")),
            ("SIZE=-1", BadValue("SIZE")),
            ("SIZE=123456789012345678901", BadValue("SIZE")),
            ("SIZE=1 SIZE=1", Twice("SIZE")),
            ("BODY=FOO", BadValue("BODY")),
            ("BODY=BINARY", BadValue("BODY")),
            ("BODY=7BIT BODY=7BIT", Twice("BODY")),
            ("SMTPUTF8=1", BadValue("SMTPUTF8")),
            ("SMTPUTF8 SMTPUTF8", Twice("SMTPUTF8")),
            ("AUTH=a+4", BadValue("AUTH")),
            ("AUTH=", BadValue("AUTH")),
            ("HOLDFOR", BadValue("HOLDFOR")),
            ("HOLDFOR=0", BadValue("HOLDFOR")),
            ("HOLDUNTIL=tomorrow", BadValue("HOLDUNTIL")),
            ("HOLDFOR=1 HOLDFOR=1", Twice("HOLDFOR")),
            (
                "HOLDFOR=1 HOLDUNTIL=2027-01-01T00:00:00Z",
                Twice("HOLDUNTIL"),
            ),
        ] {
            assert_eq!(MailParameters::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            MailParameters::parse("SIZE=99999999999999999999")
                .unwrap()
                .size_octets,
            Some(u64::MAX)
        );
    }

    /// R3461-4.1a, R3461-4.2a, R3461-4.3a, R3461-4.4a, R3461-4.5a, R3461-5.1b.
    #[test]
    fn parameters_of_the_keyword_dsn() {
        use ParameterError::{BadValue, Twice, Unknown};

        let mail = MailParameters::parse("ret=hdrs ENVID=QQ+3D1 SIZE=10");
        let mail = mail.unwrap();
        assert_eq!(mail.ret, Some(Return::Headers));
        assert_eq!(mail.envelope_id, EnvelopeId::parse("QQ+3D1"));
        assert_eq!(mail.size_octets, Some(10));
        let rcpt = "notify=success,delay ORCPT=rfc822;Bob@b.c";
        let rcpt = RcptParameters::parse(rcpt).unwrap();
        assert_eq!(rcpt.notify, Notify::parse("SUCCESS,DELAY"));
        assert_eq!(
            rcpt.original_recipient,
            OriginalRecipient::parse("rfc822;Bob@b.c")
        );

        for (text, error) in [
            ("NOTIFY=NEVER", Unknown("NOTIFY".into())),
            ("RET", BadValue("RET")),
            ("RET=ALL", BadValue("RET")),
            ("RET=FULL RET=FULL", Twice("RET")),
            ("ENVID=", BadValue("ENVID")),
            ("ENVID=a=b", BadValue("ENVID")),
            ("ENVID=a envid=a", Twice("ENVID")),
        ] {
            let read = MailParameters::parse(text);
            assert_eq!(read, Err(error), "{text}");
        }
        for (text, error) in [
            ("RET=FULL", Unknown("RET".into())),
            ("NOTIFY", BadValue("NOTIFY")),
            ("NOTIFY=NEVER,SUCCESS", BadValue("NOTIFY")),
            ("NOTIFY=DELAY NOTIFY=DELAY", Twice("NOTIFY")),
            ("ORCPT=", BadValue("ORCPT")),
            ("ORCPT=a@b.c", BadValue("ORCPT")),
            ("ORCPT=x;y ORCPT=x;y", Twice("ORCPT")),
        ] {
            let read = RcptParameters::parse(text);
            assert_eq!(read, Err(error), "{text}");
        }
        assert_eq!(RcptParameters::parse(""), Ok(RcptParameters::default()));
    }
}
