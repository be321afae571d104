//! Whole reports: read by eye, by another parser, and for inputs that nobody would think of.

use std::time::{Duration, SystemTime};

use super::{Incident, Kind, Notification, RecipientReport, ReturnChannel, Stamp};
use crate::{
    envelope::QueueId,
    smtp::{Domain, EnhancedCode, FutureRelease, Mailbox, ReversePath},
};

mod literal;
mod structure;

use super::Action;

/// Thu, 28 May 2026 20:26:40 +0000.
fn arrived() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000)
}

fn later(minutes: u64) -> SystemTime {
    arrived() + Duration::from_secs(60 * minutes)
}

fn stamp() -> Stamp {
    Stamp {
        now: later(60),
        random: [0; 16],
    }
}

const HEADER: &[u8] = b"From: Alice <alice@example.org>\r\n\
    To: bob@example.net\r\n\
    Subject: Quarterly numbers\r\n\
    Message-ID: <1@laptop.example.org>\r\n";
const BODY: &[u8] = b"Hello Bob,\r\nhere they are.\r\n";

/// What an incident borrows.
struct Facts {
    host: Domain,
    queue_id: QueueId,
    sender: ReversePath,
}

impl Facts {
    fn new(sender: &str) -> Self {
        Facts {
            host: Domain::parse("mail.example.org").unwrap(),
            queue_id: QueueId::new(ulid::Ulid(0x0199_0000_0000_0000_0000_0000_0000_0001)),
            sender: ReversePath::parse(sender).unwrap(),
        }
    }

    fn incident<'a>(&'a self, recipients: &'a [RecipientReport]) -> Incident<'a> {
        Incident {
            reporting_mta: &self.host,
            queue_id: &self.queue_id,
            envelope_id: None,
            arrived: arrived(),
            release_request: None,
            deliver_by: None,
            sender: &self.sender,
            ret: None,
            channel: ReturnChannel::EightBit,
            header: HEADER,
            body: Some(BODY),
            recipients,
            requiretls: false,
        }
    }
}

fn recipient(address: &str, action: Action, status: (u8, u16, u16)) -> RecipientReport {
    RecipientReport {
        final_recipient: Mailbox::parse(address).unwrap(),
        original_recipient: None,
        notify: None,
        action,
        status: EnhancedCode::new(status.0, status.1, status.2),
        diagnostic: None,
        remote_mta: None,
        last_attempt: Some(later(59)),
        evidence: Default::default(),
    }
}

fn text(report: &Notification) -> String {
    let whole = [&report.header[..], b"\r\n", &report.body].concat();
    String::from_utf8(whole).unwrap()
}

/// The only report of the incident, which is of this kind.
/// R4865-5.1.2a.
#[test]
fn a_report_repeats_for_when_its_message_was_meant() {
    let case = Facts::new("alice@example.org");
    let recipients = [recipient("bob@example.net", Action::Failed, (5, 1, 1))];
    for request in ["for;60", "until;2026-05-29T00:00:00Z"] {
        let mut incident = case.incident(&recipients);
        incident.release_request = FutureRelease::parse(request);
        let report = text(&only(&incident, Kind::Failure));
        let fields = format!(
            "Arrival-Date: Thu, 28 May 2026 20:26:40 +0000\r\n\
             Future-Release-Request: {request}\r\n"
        );
        assert!(report.contains(&fields), "{report}");
    }
}

fn only(incident: &Incident<'_>, kind: Kind) -> Notification {
    let mut reports: Vec<_> = Kind::ALL
        .into_iter()
        .filter_map(|kind| Notification::of(incident, kind, &stamp()))
        .collect();
    let kinds: Vec<_> = reports.iter().map(|report| report.kind).collect();
    assert_eq!(kinds, [kind]);
    reports.remove(0)
}
