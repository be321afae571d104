//! Reports to senders: what became of a message, for people and for programs.
//!
//! An [`Incident`] tells what happened to recipients of one message; out comes a delivery status
//! notification for each kind of outcome of which the sender is to hear. The room decides who is
//! told and how; it does not know how a report is sent, who signs it or when delays are told: the
//! reverse-path `<>`, the route and the clock are the queue's.
//!
//! Nothing that others wrote reaches a report as it is. Addresses, names and ids are of types
//! that hold no control characters; a next hop's words and the message's Subject are escaped; what
//! is returned of the message stands behind a boundary that does not occur in it, encoded where
//! its lines or octets would not travel (S21).
//!
//! Reports on TLS for other domains (RFC 8460) are put into mail here too.
//!
//! Speaks RFC 3461 §5 and §6, 3464, 6522, 6533, 3834 and 3463.

mod boundary;
mod braked;
mod due;
mod explanation;
mod field;
mod incident;
mod letter;
mod notification;
mod printable;
mod quoted_printable;
mod redaction;
mod returned;
mod status;
mod tls;

pub use braked::BrakeNotice;
pub use due::due;
pub use incident::{
    Action, Diagnostic, Evidence, Incident, Kind, RecipientReport, RemoteMta, ReturnChannel,
};
pub use notification::{Notification, Stamp};
pub use returned::{RETURN_MAX_OCTETS, returns_body};
pub use tls::TlsReportMail;

#[cfg(test)]
mod tests;
