//! MAIL and RCPT as they are sent: only with parameters that the hop has offered
//! (R5321-4.1.1.3a).

use super::{Extensions, Message, ParameterValue, Recipient};
use crate::{
    envelope::BodyType,
    smtp::{Mailbox, ReversePath},
};

/// How the addresses of a transaction are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alphabet {
    /// ASCII only: domains as A-labels.
    Ascii,
    /// With SMTPUTF8.
    Utf8,
}

/// Whether MAIL says for whom we vouch (RFC 4954 §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Vouching {
    /// With AUTH=, to a hop that we signed in to: nobody is vouched for, so it says `<>`.
    Told,
    /// Not at all.
    Untold,
}

/// The MAIL command.
pub(super) fn mail(
    message: &Message,
    extensions: &Extensions,
    alphabet: Alphabet,
    vouching: Vouching,
) -> String {
    let path = match &message.sender {
        ReversePath::Null => String::new(),
        ReversePath::Mailbox(mailbox) => path(mailbox, alphabet),
    };
    let mut line = format!("MAIL FROM:<{path}>");
    if extensions.size.is_some() {
        line.push_str(&format!(" SIZE={}", message.size_octets));
    }
    match message.body {
        BodyType::Binary if extensions.binary_mime => line.push_str(" BODY=BINARYMIME"),
        BodyType::EightBitMime if extensions.eight_bit_mime => line.push_str(" BODY=8BITMIME"),
        BodyType::SevenBit | BodyType::EightBitMime | BodyType::Binary => {}
    }
    if alphabet == Alphabet::Utf8 {
        line.push_str(" SMTPUTF8");
    }
    if extensions.requiretls && message.requiretls {
        line.push_str(" REQUIRETLS");
    }
    if let Some(by) = message.by
        && extensions.deliver_by.is_some()
    {
        line.push_str(&format!(" BY={by}"));
    }
    if let Some(priority) = message.priority
        && extensions.mt_priority
    {
        line.push_str(&format!(" MT-PRIORITY={priority}"));
    }
    if extensions.auth && vouching == Vouching::Told {
        line.push_str(" AUTH=<>");
    }
    if extensions.dsn {
        push(&mut line, "RET", message.ret.as_ref(), alphabet);
        push(&mut line, "ENVID", message.envid.as_ref(), alphabet);
    }
    line
}

/// The RCPT command.
pub(super) fn rcpt(recipient: &Recipient, extensions: &Extensions, alphabet: Alphabet) -> String {
    let mut line = format!("RCPT TO:<{}>", path(&recipient.mailbox, alphabet));
    if extensions.dsn {
        push(&mut line, "NOTIFY", recipient.notify.as_ref(), alphabet);
        push(&mut line, "ORCPT", recipient.orcpt.as_ref(), alphabet);
    }
    line
}

/// A value that the transaction cannot carry stays away: it is told of, and nothing hangs on it.
fn push(line: &mut String, keyword: &str, value: Option<&ParameterValue>, alphabet: Alphabet) {
    if let Some(value) = value.map(ParameterValue::as_str)
        && (alphabet == Alphabet::Utf8 || value.is_ascii())
    {
        line.push_str(&format!(" {keyword}={value}"));
    }
}

/// Whether an address cannot be written without SMTPUTF8: a domain always can (RFC 6531 §3.2).
pub(super) fn needs_utf8(mailbox: &Mailbox) -> bool {
    !mailbox.local_part().is_ascii()
}

fn path(mailbox: &Mailbox, alphabet: Alphabet) -> String {
    let domain = match alphabet {
        Alphabet::Ascii if !mailbox.domain().as_str().is_ascii() => mailbox.domain().canonical(),
        Alphabet::Ascii | Alphabet::Utf8 => mailbox.domain().as_str().to_owned(),
    };
    format!("{}@{domain}", least_quoted(mailbox))
}

/// The local part without quotes that say nothing (RFC 5321 §4.1.2).
fn least_quoted(mailbox: &Mailbox) -> String {
    let plain = mailbox.unquoted_local_part();
    let same = Mailbox::parse(&format!("{plain}@{}", mailbox.domain()));
    match same {
        Ok(same) if !plain.starts_with('"') && same.local_part() == plain => plain,
        _ => mailbox.local_part().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::{DeliverBy, Priority};

    fn message(sender: &str) -> Message {
        Message {
            sender: ReversePath::parse(sender).unwrap(),
            recipients: Vec::new(),
            size_octets: 1_234,
            body: BodyType::EightBitMime,
            utf8_header: false,
            ret: ParameterValue::parse("HDRS"),
            envid: ParameterValue::parse("Q+2BX"),
            requiretls: true,
            by: DeliverBy::parse("98;RT"),
            priority: Priority::parse("-4"),
        }
    }

    fn everything() -> Extensions {
        Extensions {
            size: Some(None),
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            auth: true,
            ..Extensions::default()
        }
    }

    /// R5321-4.1.1.3a, R3461-5.2.1a, R3461-5.2.2a, R6531-3.4a.
    #[test]
    fn mail_commands() {
        let (none, all) = (Extensions::default(), everything());
        let ascii = Alphabet::Ascii;
        let m = message("a@b.example");
        assert_eq!(
            mail(&m, &none, ascii, Vouching::Told),
            "MAIL FROM:<a@b.example>"
        );
        assert_eq!(
            mail(&m, &all, ascii, Vouching::Told),
            "MAIL FROM:<a@b.example> SIZE=1234 BODY=8BITMIME AUTH=<> RET=HDRS ENVID=Q+2BX"
        );
        assert_eq!(
            mail(&m, &all, Alphabet::Utf8, Vouching::Untold),
            "MAIL FROM:<a@b.example> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q+2BX"
        );
        let bare = Message {
            body: BodyType::SevenBit,
            ret: None,
            envid: None,
            ..message("")
        };
        assert_eq!(
            mail(&bare, &all, ascii, Vouching::Untold),
            "MAIL FROM:<> SIZE=1234"
        );
    }

    /// R2852-4.1.4a, R6710-4.2a.
    #[test]
    fn mail_commands_that_speak_of_time() {
        let extensions = Extensions {
            deliver_by: Some(None),
            mt_priority: true,
            ..Extensions::default()
        };
        let line = mail(
            &message("a@b.example"),
            &extensions,
            Alphabet::Ascii,
            Vouching::Untold,
        );
        assert_eq!(line, "MAIL FROM:<a@b.example> BY=98;RT MT-PRIORITY=-4");
    }

    /// R3461-5.2.1b.
    #[test]
    fn rcpt_commands() {
        let recipient = Recipient {
            mailbox: Mailbox::parse("C@D.Example").unwrap(),
            notify: ParameterValue::parse("SUCCESS,FAILURE"),
            orcpt: ParameterValue::parse("rfc822;Old+2B@D.Example"),
        };
        assert_eq!(
            rcpt(&recipient, &Extensions::default(), Alphabet::Ascii),
            "RCPT TO:<C@D.Example>"
        );
        assert_eq!(
            rcpt(&recipient, &everything(), Alphabet::Ascii),
            "RCPT TO:<C@D.Example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Old+2B@D.Example"
        );
        let utf8 = Recipient {
            orcpt: ParameterValue::parse("utf-8;\u{fc}@d.example"),
            ..recipient
        };
        let ascii = rcpt(&utf8, &everything(), Alphabet::Ascii);
        assert!(ascii.is_ascii() && ascii.contains("NOTIFY") && !ascii.contains("ORCPT"));
        assert!(rcpt(&utf8, &everything(), Alphabet::Utf8).contains("ORCPT=utf-8;\u{fc}@"));
    }

    /// R5321-4.1.2b, R6531-3.2c.
    #[test]
    fn paths() {
        for (given, ascii, utf8) in [
            ("a@b.example", "a@b.example", "a@b.example"),
            ("\"joe\"@b.example", "joe@b.example", "joe@b.example"),
            ("\"j\\oe\"@b.example", "joe@b.example", "joe@b.example"),
            (
                "\"a b\"@b.example",
                "\"a b\"@b.example",
                "\"a b\"@b.example",
            ),
            ("\"a.\"@b.example", "\"a.\"@b.example", "\"a.\"@b.example"),
            (
                "\"a@c\"@b.example",
                "\"a@c\"@b.example",
                "\"a@c\"@b.example",
            ),
            (
                "\"\\\"a\\\"\"@b.example",
                "\"\\\"a\\\"\"@b.example",
                "\"\\\"a\\\"\"@b.example",
            ),
            ("a@\u{fc}.example", "a@xn--tda.example", "a@\u{fc}.example"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]", "a@[192.0.2.1]"),
        ] {
            let mailbox = Mailbox::parse(given).unwrap();
            assert_eq!(path(&mailbox, Alphabet::Ascii), ascii, "{given}");
            assert_eq!(path(&mailbox, Alphabet::Utf8), utf8, "{given}");
            assert!(!needs_utf8(&mailbox));
        }
        assert!(needs_utf8(&Mailbox::parse("\u{fc}@b.example").unwrap()));
    }
}
