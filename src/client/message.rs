//! What is to be sent: the envelope as the next hop is to see it.

use crate::{
    envelope::BodyType,
    smtp::{DeliverBy, Mailbox, Priority, ReversePath},
};

/// One message for one next hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where reports go.
    pub sender: ReversePath,
    /// At least one.
    pub recipients: Vec<Recipient>,
    /// Octets of the content, exactly: neither more nor fewer will be sent.
    pub size_octets: u64,
    /// What kind of octets occur in the body.
    pub body: BodyType,
    /// The header section holds UTF-8 that must stay (RFC 6531); addresses are looked at anyway.
    pub utf8_header: bool,
    /// `RET=` of RFC 3461, where the sender gave one.
    pub ret: Option<ParameterValue>,
    /// `ENVID=` of RFC 3461, where the sender gave one.
    pub envid: Option<ParameterValue>,
    /// REQUIRETLS is passed on, where it is offered (RFC 8689 §4.2.1); whether it must be is for the
    /// caller to see to.
    pub requiretls: bool,
    /// By when it is to be delivered, where that is understood (RFC 2852 §4.1.4).
    pub by: Option<DeliverBy>,
    /// How urgent it is, where that is understood (RFC 6710 §4.2).
    pub priority: Option<Priority>,
}

/// One recipient of a [`Message`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// Where to.
    pub mailbox: Mailbox,
    /// `NOTIFY=` of RFC 3461, where the sender gave one.
    pub notify: Option<ParameterValue>,
    /// `ORCPT=` of RFC 3461, where the sender gave one.
    pub orcpt: Option<ParameterValue>,
}

impl From<Mailbox> for Recipient {
    /// A recipient without parameters.
    fn from(mailbox: Mailbox) -> Self {
        Recipient {
            mailbox,
            notify: None,
            orcpt: None,
        }
    }
}

/// The value of a parameter, encoded as it travels (RFC 5321 §4.1.2, `esmtp-value`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParameterValue(Box<str>);

impl ParameterValue {
    /// Takes a value as it is; `None` where it could not stand in a command: empty, or with a
    /// space, a control character or `=`.
    pub fn parse(text: &str) -> Option<Self> {
        let stands = |c: char| c > ' ' && c != '=' && !c.is_control();
        (!text.is_empty() && text.chars().all(stands)).then(|| ParameterValue(text.into()))
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The hop does not take octets above 127 (RFC 6152 §3), or any that are not lines (RFC 3030 §3). Nothing was sent; the connection waits
/// for the message in a 7-bit form, or for another one.
#[derive(Debug)]
#[must_use]
pub struct NeedsSevenBit(pub Box<Message>);

#[cfg(test)]
mod tests {
    use super::*;

    /// S12.
    #[test]
    fn a_value_cannot_break_out_of_its_command() {
        for good in [
            "FULL",
            "rfc822;a+2Bb@c.example",
            "utf-8;\u{fc}@\u{fc}.example",
            "FAILURE,DELAY",
        ] {
            assert_eq!(ParameterValue::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a\r\nRSET",
            "a\n",
            "a\t",
            "a=b",
            "\u{7f}",
            "\u{85}",
            "\0",
        ] {
            assert_eq!(ParameterValue::parse(bad), None, "{bad:?}");
        }
    }
}
