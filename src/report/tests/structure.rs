//! Claims about every report.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;
use crate::{
    envelope::{BodyType, TlsVersion},
    report::{Diagnostic, RemoteMta},
    smtp::{EnvelopeId, Notify, OriginalRecipient, Return},
};

/// R3461-5.2a, R5321-3.6.3b.
#[test]
fn nobody_is_told_of_mail_from_nobody() {
    let facts = Facts::new("");
    let recipients = [recipient("bob@example.net", Action::Failed, (5, 1, 1))];
    for kind in Kind::ALL {
        let incident = facts.incident(&recipients);
        assert_eq!(Notification::of(&incident, kind, &stamp()), None);
    }
}

/// RFC 6533 §4.5.
#[test]
fn smtputf8_is_presumed_where_nothing_else_leads_back() {
    for (sender, channel) in [
        ("alice@example.org", ReturnChannel::EightBit),
        ("alice@m\u{fc}nchen.example", ReturnChannel::EightBit),
        ("\u{e5}sa@example.org", ReturnChannel::Utf8),
        ("", ReturnChannel::EightBit),
    ] {
        let sender = ReversePath::parse(sender).unwrap();
        assert_eq!(ReturnChannel::presumed(&sender), channel, "{sender}");
    }
}

/// R3464-2d, R3461-5.2.8a.
#[test]
fn one_report_for_each_kind_of_outcome() {
    let facts = Facts::new("alice@example.org");
    let all = Notify::parse("SUCCESS,FAILURE,DELAY");
    let recipients = [
        recipient("a@example.net", Action::Failed, (5, 1, 1)),
        recipient("b@example.net", Action::Delayed { until: None }, (4, 4, 1)),
        RecipientReport {
            notify: all,
            ..recipient("c@example.net", Action::Relayed, (2, 0, 0))
        },
        recipient("d@example.net", Action::Failed, (5, 1, 1)),
        recipient("e@example.net", Action::Delivered, (2, 0, 0)),
    ];
    let incident = facts.incident(&recipients);
    for (kind, told) in [
        (Kind::Failure, "ad"),
        (Kind::Delay, "b"),
        (Kind::Success, "c"),
    ] {
        let text = text(&Notification::of(&incident, kind, &stamp()).unwrap());
        for name in ["a", "b", "c", "d", "e"] {
            let field = format!("\r\nFinal-Recipient: rfc822; {name}@example.net\r\n");
            let times = text.matches(&field).count();
            assert_eq!(times, usize::from(told.contains(name)), "{kind:?} {name}");
        }
    }
}

/// S21: a hostile message and a hostile next hop.
#[test]
fn what_others_wrote_stays_where_it_belongs() {
    let facts = Facts::new("alice@example.org");
    let boundary = "report=_AAAAAAAAAAAAAAAAAAAAAAAAAA";
    let attack = format!("550 no\r\n\r\n--{boundary}--\r\nBcc: eve@example.com\r\n\x1b]0;x\x07");
    let recipients = [RecipientReport {
        diagnostic: Some(Diagnostic::Reply(attack.clone())),
        ..recipient("bob@example.net", Action::Failed, (5, 1, 1))
    }];
    let body = format!("--{boundary}--\r\n\r\n--{boundary}\r\n\r\nforged\r\n");
    let incident = Incident {
        body: Some(body.as_bytes()),
        header: b"Subject: x\r\nMessage-ID: <a@b>\x0b<c@d>\r\n",
        ..facts.incident(&recipients)
    };
    let report = only(&incident, Kind::Failure);
    let header = String::from_utf8(report.header.clone()).unwrap();
    assert!(
        !header.contains("Bcc") && !header.contains("In-Reply-To"),
        "{header}"
    );
    assert_eq!(parts(&report).len(), 3);
    let status = &parts(&report)[1];
    assert!(
        !status.contains("\r\nBcc:") && !status.contains('\x1b'),
        "{status}"
    );
    assert!(parts(&report)[2].contains("forged"));
}

/// The contents of the parts, divided as RFC 2046 §5.1.1 tells, their fields included.
fn parts(report: &Notification) -> Vec<String> {
    let header = String::from_utf8(report.header.clone()).unwrap();
    let boundary = header.rsplit('"').nth(1).unwrap();
    let body = String::from_utf8_lossy(&report.body).into_owned();
    let mut pieces: Vec<_> = body
        .split(&format!("\r\n--{boundary}"))
        .map(str::to_owned)
        .collect();
    assert_eq!(pieces.pop().unwrap(), "--\r\n");
    pieces.remove(0);
    pieces
}

fn domain() -> impl Strategy<Value = Domain> {
    prop_oneof![
        "[a-z]{1,20}(\\.[a-z0-9]{1,60}){1,3}",
        Just("xn--mnchen-3ya.example".to_owned()),
        Just("m\u{fc}nchen.example".to_owned()),
        Just("[192.0.2.1]".to_owned()),
    ]
    .prop_map(|text| Domain::parse(&text).unwrap())
}

fn mailbox() -> impl Strategy<Value = Mailbox> {
    let local = prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_{|}~-]{1,64}",
        "\"[ !#-\\[\\]-~]{1,60}\"",
        "[a-z\u{e0}-\u{ff}\u{202e}\u{4e00}]{1,16}",
    ];
    (local, domain())
        .prop_map(|(local, domain)| Mailbox::parse(&format!("{local}@{domain}")).unwrap())
}

/// Words that nobody says.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,80}",
        "[ -~\r\n\t]{0,300}",
        any::<String>(),
        "[a-z\u{fc}]{900,3000}",
        "(a ){0,900}",
        "(--)?report=_A{26}(_[1-3])?(--)?\r\n",
    ]
}

fn outcome() -> impl Strategy<Value = RecipientReport> {
    let action = prop_oneof![
        Just(Action::Failed),
        Just(Action::Delayed { until: None }),
        Just(Action::Delayed {
            until: Some(later(9))
        }),
        Just(Action::Delivered),
        Just(Action::Relayed),
        Just(Action::Expanded),
    ];
    let original = prop_oneof![
        Just(None),
        "rfc822;[!-*,-<>-~]{0,400}".prop_map(|text| OriginalRecipient::parse(&text)),
        "utf-8;([a-z\u{e0}-\u{ff}]|\\\\x\\{(20|FC|07|202E)\\}){1,30}(@example\\.org)?"
            .prop_map(|text| OriginalRecipient::parse(&text)),
    ];
    let notify = prop_oneof![Just(None), Just(Notify::parse("SUCCESS,FAILURE,DELAY"))];
    let diagnostic = prop_oneof![
        Just(None),
        words().prop_map(|words| Some(Diagnostic::Own(words))),
        words().prop_map(|words| Some(Diagnostic::Reply(words))),
    ];
    let remote = prop::option::of(domain().prop_map(|name| RemoteMta {
        name,
        address: Some([192, 0, 2, 1].into()),
        tls: Some(TlsVersion::V12),
    }));
    let code = (2_u8..=5, 0_u16..1000, 0_u16..1000);
    (
        mailbox(),
        original,
        notify,
        action,
        code,
        diagnostic,
        remote,
    )
        .prop_map(
            |(
                final_recipient,
                original_recipient,
                notify,
                action,
                code,
                diagnostic,
                remote_mta,
            )| {
                RecipientReport {
                    final_recipient,
                    original_recipient,
                    notify,
                    action,
                    status: EnhancedCode::new(code.0, code.1, code.2),
                    diagnostic,
                    remote_mta,
                    last_attempt: None,
                    evidence: Default::default(),
                }
            },
        )
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        words().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
        "(([A-Za-z-]{1,20}): \\PC{0,60}\r\n){0,6}".prop_map(String::into_bytes),
        "Subject: \\PC{0,60}\r\nMessage-ID: [!-~]{0,30}\r\n".prop_map(String::into_bytes),
    ]
}

proptest! {
    /// R6522-3a, R3464-2.1a, R6533-4.5a, R5321-4.5.3.1f, S21.
    #[test]
    fn no_input_breaks_a_report(
        sender in mailbox(),
        recipients in prop::collection::vec(outcome(), 1..4),
        header in content(),
        body in prop::option::of(content()),
        channel in prop_oneof![
            Just(ReturnChannel::SevenBit),
            Just(ReturnChannel::EightBit),
            Just(ReturnChannel::Utf8)
        ],
        ret in prop_oneof![Just(None), Just(Some(Return::Full)), Just(Some(Return::Headers))],
        envelope_id in "[!-*,-<>-~]{1,90}",
        random in prop_oneof![Just([0; 16]), any::<[u8; 16]>()],
    ) {
        let envelope_id = EnvelopeId::parse(&envelope_id);
        let facts = Facts {
            sender: ReversePath::Mailbox(sender.clone()),
            ..Facts::new("")
        };
        let incident = Incident {
            envelope_id: envelope_id.as_ref(),
            ret,
            channel,
            header: &header,
            body: body.as_deref(),
            ..facts.incident(&recipients)
        };
        for kind in Kind::ALL {
            let due = incident.due(kind);
            let report = Notification::of(&incident, kind, &Stamp { random, ..stamp() });
            prop_assert_eq!(report.is_some(), !due.is_empty());
            let Some(report) = report else { continue };

            let whole = [&report.header[..], b"\r\n", &report.body].concat();
            assert_lines(&whole);
            let is_ascii = whole.is_ascii();
            prop_assert_eq!(report.body_type == BodyType::SevenBit, is_ascii);
            if channel == ReturnChannel::SevenBit {
                prop_assert!(report.body.is_ascii());
            }
            if channel != ReturnChannel::Utf8 {
                prop_assert_eq!(report.smtputf8, !sender.local_part().is_ascii());
            }
            if report.smtputf8 {
                prop_assert!(!is_ascii);
            }

            let parts = parts(&report);
            prop_assert_eq!(parts.len(), 3);
            let status = parts[1].split_once("\r\n\r\n").unwrap().1;
            let groups: Vec<_> = status.split("\r\n\r\n").collect();
            prop_assert_eq!(groups.len(), 1 + due.len());
            for group in groups {
                for line in group.split_terminator("\r\n") {
                    let is_field = line.split_once(':').is_some_and(|(name, _)| {
                        NAMES.contains(&name)
                    });
                    prop_assert!(is_field || line.starts_with(' ') && !line.trim().is_empty(), "{}", line);
                    prop_assert!(!line.contains(char::is_control));
                }
            }

            let (fields, returned) = parts[2].split_once("\r\n\r\n").unwrap();
            if !fields.contains("quoted-printable") {
                let whole = [&header[..], b"\r\n", body.as_deref().unwrap_or_default()].concat();
                let expected = if fields.contains("eaders\r\n") { &header } else { &whole };
                prop_assert_eq!(returned, &*String::from_utf8_lossy(expected));
            }

            let message = MessageParser::new().parse(&whole).unwrap();
            let kinds: Vec<_> = message.parts[0].sub_parts().unwrap_or_default().to_vec();
            prop_assert_eq!(kinds.len(), 3);
            prop_assert!(message.parts[0].is_content_type("multipart", "report"));
            let letter = message.part(kinds[0]).unwrap();
            prop_assert!(matches!(letter.body, PartType::Text(_)));
        }
    }
}

const NAMES: [&str; 15] = [
    "Original-Envelope-Id",
    "Reporting-MTA",
    "Arrival-Date",
    "X-Gatepost-Queue-Id",
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
    "X-Gatepost-TLS",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Every line ends in CRLF, holds no other CR, LF or NUL, and is not too long.
fn assert_lines(octets: &[u8]) {
    assert!(octets.ends_with(b"\r\n"));
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("a bare line feed");
        assert!(line.len() <= 998, "{}", line.len());
        assert!(memchr::memchr2(b'\r', 0, line).is_none());
    }
}
