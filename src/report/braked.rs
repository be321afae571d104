//! The notice to an account's owner that the brake holds their mail.

use super::{Stamp, field};
use crate::{
    message::date,
    smtp::{Domain, Mailbox},
};

/// What the owner is told.
#[derive(Debug)]
pub struct BrakeNotice<'a> {
    /// Who says so.
    pub hostname: &'a Domain,
    /// The account's own address.
    pub to: &'a Mailbox,
    /// Its name.
    pub account: &'a str,
    /// Signals and numbers.
    pub reason: &'a str,
    /// Whom the owner may ask.
    pub contact: &'a str,
    /// Unique, without angle brackets or host.
    pub id: &'a str,
}

impl BrakeNotice<'_> {
    /// The message, to be sent with the null reverse-path: header section with its blank line, body.
    pub fn write(&self, stamp: &Stamp) -> (Vec<u8>, Vec<u8>) {
        let host = self.hostname.canonical();
        let mut header = String::new();
        let mut write = |name: &str, text: &str| field::write(&mut header, name, text);
        write("Date", &date(stamp.now));
        write("From", &format!("Mail server {host} <postmaster@{host}>"));
        write("To", &self.to.to_string());
        write("Subject", "Your outgoing mail is held");
        write("Message-ID", &format!("<{}@{host}>", self.id));
        write("Auto-Submitted", "auto-generated");
        write("MIME-Version", "1.0");
        write("Content-Type", "text/plain; charset=utf-8");
        write("Content-Transfer-Encoding", "8bit");
        header.push_str("\r\n");
        let reasons = self.reason.replace("; ", "\r\n    ");
        let body = format!(
            "This is the mail server {host}.\r\n\r\n\
             Mail that was sent as {} looks unlike what you usually send:\r\n\r\n    \
             {reasons}\r\n\r\n\
             So it is held: accepted and kept, but not sent on. Nothing is lost.\r\n\r\n\
             Was it you? Then ask {} to let it go.\r\n\r\n\
             Was it not you? Then somebody knows your password. Set a new one, and\r\n\
             tell {}.\r\n",
            self.account, self.contact, self.contact
        );
        (header.into_bytes(), body.into_bytes())
    }
}
