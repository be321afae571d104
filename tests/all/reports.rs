//! Reports as Python's email package reads them.

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime},
};

use gatepost::{
    envelope::QueueId,
    report::{
        Action, Diagnostic, Incident, Kind, Notification, RecipientReport, RemoteMta,
        ReturnChannel, Stamp,
    },
    smtp::{
        Domain, EnhancedCode, EnvelopeId, Mailbox, Notify, OriginalRecipient, Return, ReversePath,
    },
};
use serde_json::{Value, json};

use crate::clients::{answers, present, script};

/// Thu, 28 May 2026 20:26:40 +0000.
const ARRIVED: Duration = Duration::from_secs(1_780_000_000);

/// What differs from one report to the next.
struct Case {
    sender: &'static str,
    recipient: &'static str,
    original: &'static str,
    action: Action,
    status: EnhancedCode,
    reply: &'static str,
    channel: ReturnChannel,
    ret: Option<Return>,
    header: &'static str,
}

const CASE: Case = Case {
    sender: "alice@example.org",
    recipient: "bob@example.net",
    original: "rfc822;Bob+40example.net",
    action: Action::Failed,
    status: EnhancedCode::new(5, 1, 1),
    reply: "550-5.1.1 No such\n550 5.1.1 user \u{1b}[1m",
    channel: ReturnChannel::SevenBit,
    ret: None,
    header: "Subject: Quarterly numbers\r\nMessage-ID: <1@laptop.example>\r\n",
};

fn report(case: &Case, kind: Kind) -> Vec<u8> {
    let recipient = RecipientReport {
        final_recipient: Mailbox::parse(case.recipient).unwrap(),
        original_recipient: OriginalRecipient::parse(case.original),
        notify: Notify::parse("SUCCESS,FAILURE,DELAY"),
        action: case.action,
        status: case.status,
        diagnostic: Some(Diagnostic::Reply(case.reply.into())),
        remote_mta: Some(RemoteMta {
            name: Domain::parse("mx1.example.net").unwrap(),
            address: Some([192, 0, 2, 25].into()),
            tls: None,
        }),
        last_attempt: Some(SystemTime::UNIX_EPOCH + ARRIVED + Duration::from_secs(60)),
        evidence: Default::default(),
    };
    let envelope_id = EnvelopeId::parse("Q3+20mail");
    let incident = Incident {
        release_request: None,
        deliver_by: None,
        reporting_mta: &Domain::parse("mail.example.org").unwrap(),
        queue_id: &QueueId::new(ulid::Ulid(7)),
        envelope_id: envelope_id.as_ref(),
        arrived: SystemTime::UNIX_EPOCH + ARRIVED,
        sender: &ReversePath::parse(case.sender).unwrap(),
        ret: case.ret,
        channel: case.channel,
        header: case.header.as_bytes(),
        body: Some(b"Hello.\r\n"),
        recipients: &[recipient],
        requiretls: false,
    };
    let stamp = Stamp {
        now: SystemTime::UNIX_EPOCH + ARRIVED + Duration::from_secs(3600),
        random: [9; 16],
    };
    let report = Notification::of(&incident, kind, &stamp).unwrap();
    [&report.header[..], b"\r\n", &report.body].concat()
}

/// What Python finds in it.
fn read(report: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    fs::write(&file, report).unwrap();
    let output = Command::new("python3")
        .env("PYTHONIOENCODING", "utf-8")
        .arg(script("read_report.py"))
        .arg(&file)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// R6522-3a, R3464-2a, R3464-2.1a, R3464-2.2.5a, R3464-2.3.3a, R3461-6.3a, R3461-6.3c, R3834-5a,
/// R6533-4a, R6533-4.5a.
#[test]
fn python_reads_every_kind_of_report() {
    if !present("python3", answers(Command::new("python3").arg("--version"))) {
        return;
    }
    let beyond_ascii = Case {
        recipient: "j\u{fc}rgen@example.net",
        original: "utf-8;j\\x{FC}rgen@example.net",
        header: "Subject: Gr\u{fc}\u{df}e\r\n",
        ..CASE
    };
    let cases = [
        (
            Kind::Failure,
            CASE,
            ["message/delivery-status", "message/rfc822"],
            "rfc822; Bob@example.net",
        ),
        (
            Kind::Failure,
            Case {
                ret: Some(Return::Headers),
                ..CASE
            },
            ["message/delivery-status", "text/rfc822-headers"],
            "rfc822; Bob@example.net",
        ),
        (
            Kind::Delay,
            Case {
                action: Action::Delayed {
                    until: Some(SystemTime::UNIX_EPOCH + ARRIVED * 2),
                },
                status: EnhancedCode::new(4, 4, 1),
                ..CASE
            },
            ["message/delivery-status", "text/rfc822-headers"],
            "rfc822; Bob@example.net",
        ),
        (
            Kind::Success,
            Case {
                action: Action::Relayed,
                status: EnhancedCode::new(2, 0, 0),
                ..CASE
            },
            ["message/delivery-status", "text/rfc822-headers"],
            "rfc822; Bob@example.net",
        ),
        (
            Kind::Failure,
            Case {
                sender: "\u{e5}sa@example.org",
                channel: ReturnChannel::Utf8,
                ..beyond_ascii
            },
            ["message/global-delivery-status", "message/global"],
            "utf-8; j\u{fc}rgen@example.net",
        ),
        (
            Kind::Failure,
            beyond_ascii,
            ["message/delivery-status", "message/global"],
            "utf-8; j\\x{FC}rgen@example.net",
        ),
    ];
    for (kind, case, types, original) in cases {
        let octets = report(&case, kind);
        let found = read(&octets);
        let text = String::from_utf8_lossy(&octets);
        assert_eq!(found["defects"], json!([]), "{text}");
        assert_eq!(found["type"], "multipart/report");
        assert_eq!(found["report_type"], "delivery-status");
        assert_eq!(
            found["from"],
            "Mail Delivery System <MAILER-DAEMON@mail.example.org>"
        );
        assert_eq!(
            found["to"].as_str().unwrap().trim_matches(['<', '>']),
            case.sender
        );
        assert_eq!(found["date"], "2026-05-28T21:26:40+00:00");
        assert_eq!(found["auto_submitted"], "auto-replied");
        assert_eq!(
            found["parts"],
            json!(["text/plain", types[0], types[1]]),
            "{text}"
        );
        let subject = case.header.split("\r\n").next().unwrap();
        assert_eq!(
            found["subject"],
            subject.strip_prefix("Subject: ").unwrap(),
            "{text}"
        );

        let letter = found["letter"].as_str().unwrap();
        assert!(
            letter.contains(&format!("<{}>", case.recipient)),
            "{letter}"
        );
        assert!(letter.contains("Queue id:"), "{letter}");

        let groups = found["status"].as_array().unwrap();
        assert_eq!(groups.len(), 2, "{text}");
        assert_eq!(groups[0]["Original-Envelope-Id"], "Q3 mail");
        assert_eq!(groups[0]["Reporting-MTA"], "dns; mail.example.org");
        assert_eq!(groups[0]["Arrival-Date"], "Thu, 28 May 2026 20:26:40 +0000");
        assert_eq!(groups[1]["Original-Recipient"], original);
        assert_eq!(groups[1]["Action"], case.action.as_str());
        assert_eq!(groups[1]["Status"], case.status.to_string());
        assert_eq!(groups[1]["Remote-MTA"], "dns; mx1.example.net");
        assert_eq!(
            groups[1]["Diagnostic-Code"],
            "smtp; 550-5.1.1 No such 550 5.1.1 user \\x{1B}[1m"
        );
        assert_eq!(
            groups[1].get("Will-Retry-Until").is_some(),
            kind == Kind::Delay
        );
    }
}
