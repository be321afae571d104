//! Reports as they are sent, in full.

use super::*;
use crate::{
    envelope::{BodyType, TlsVersion},
    report::{Diagnostic, RemoteMta},
    smtp::{EnvelopeId, Notify, OriginalRecipient, Return},
};

fn hop(name: &str, address: &str, tls: Option<TlsVersion>) -> Option<RemoteMta> {
    Some(RemoteMta {
        name: Domain::parse(name).unwrap(),
        address: address.parse().ok(),
        tls,
    })
}

/// R3461-6.2a, R3461-6.3a, R3461-6.3b, R3461-6.3d, R3461-6.3e, R3461-6.3f, R3464-2.2.1a, R3464-2.3.4a,
/// R3464-2.3.6a, R3464-3b, R3464-2a, R3464-2b, R3464-2.3.2a, R6522-3a, R3834-5a.
#[test]
fn a_failure() {
    let facts = Facts::new("alice@example.org");
    let recipients = [
        RecipientReport {
            original_recipient: OriginalRecipient::parse("rfc822;Bob+2Bq3@example.net"),
            notify: Notify::parse("FAILURE"),
            diagnostic: Some(Diagnostic::Reply(
                "550-5.1.1 <Bob+q3@example.net>: recipient rejected\n\
                 550 5.1.1 User unknown in\x1b[1m virtual mailbox table, see \
                 https://postmaster.example.net/unknown-user?for=mail.example.org"
                    .into(),
            )),
            remote_mta: hop("mx1.example.net", "192.0.2.25", None),
            ..recipient("Bob+q3@example.net", Action::Failed, (5, 1, 1))
        },
        RecipientReport {
            diagnostic: Some(Diagnostic::Own("null MX: the domain takes no mail".into())),
            last_attempt: None,
            ..recipient("carol@nomail.example", Action::Failed, (5, 1, 10))
        },
        RecipientReport {
            notify: Some(Notify::NEVER),
            ..recipient("dave@example.net", Action::Failed, (5, 1, 1))
        },
    ];
    let envelope_id = EnvelopeId::parse("Q3+20mailing+2B1").unwrap();
    let report = only(
        &Incident {
            envelope_id: Some(&envelope_id),
            ret: Some(Return::Full),
            ..facts.incident(&recipients)
        },
        Kind::Failure,
    );
    assert_eq!(
        text(&report),
        crlf(
            r#"Date: Thu, 28 May 2026 21:26:40 +0000
From: Mail Delivery System <MAILER-DAEMON@mail.example.org>
To: <alice@example.org>
Subject: Your message could not be delivered
Message-ID: <00000000000000000000000000000000@mail.example.org>
In-Reply-To: <1@laptop.example.org>
References: <1@laptop.example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="report=_AAAAAAAAAAAAAAAAAAAAAAAAAA"

This is a report in parts (MIME).

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Report
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

This is the mail server mail.example.org. Your message could not be
delivered to the recipients below. It will not be tried again.

    Subject:   Quarterly numbers
    Accepted:  Thu, 28 May 2026 20:26:40 +0000
    Queue id:  01K40000000000000000000001

<Bob+q3@example.net>

    There is no mailbox of this address. (Code 5.1.1.)

    mx1.example.net [192.0.2.25] answered:
        550-5.1.1 <Bob+q3@example.net>: recipient rejected
        550 5.1.1 User unknown in\x{1B}[1m virtual mailbox table, see
        https://postmaster.example.net/unknown-user?for=mail.example.org

    What you can do: Check the address for typing mistakes, and send the
    message again to the right one.

<carol@nomail.example>

    The domain of the address takes no mail at all. (Code 5.1.10.)

    In detail: null MX: the domain takes no mail

    What you can do: Check the address for typing mistakes, and send the
    message again to the right one.

Details for mail programs follow, and then your message.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Delivery status
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Original-Envelope-Id: Q3 mailing+1
Reporting-MTA: dns; mail.example.org
Arrival-Date: Thu, 28 May 2026 20:26:40 +0000
X-Gatepost-Queue-Id: 01K40000000000000000000001

Original-Recipient: rfc822; Bob+q3@example.net
Final-Recipient: rfc822; Bob+q3@example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx1.example.net
Diagnostic-Code: smtp; 550-5.1.1 <Bob+q3@example.net>: recipient rejected
 550 5.1.1 User unknown in\x{1B}[1m virtual mailbox table, see
 https://postmaster.example.net/unknown-user?for=mail.example.org
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000

Final-Recipient: rfc822; carol@nomail.example
Action: failed
Status: 5.1.10
Diagnostic-Code: x-gatepost; null MX: the domain takes no mail

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Your message
Content-Type: message/rfc822
Content-Transfer-Encoding: 7bit

From: Alice <alice@example.org>
To: bob@example.net
Subject: Quarterly numbers
Message-ID: <1@laptop.example.org>

Hello Bob,
here they are.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA--
"#
        )
    );
    assert_eq!(report.body_type, BodyType::SevenBit);
    assert!(!report.smtputf8);
}

/// R3461-5.2.5a, R3464-2.3.9a, R3461-6.2b, R6522-4a.
#[test]
fn a_delay() {
    let facts = Facts::new("alice@example.org");
    let until = Some(later(5 * 24 * 60));
    let recipients = [RecipientReport {
        diagnostic: Some(Diagnostic::Own(
            "connection timed out after 30 seconds".into(),
        )),
        ..recipient("bob@example.net", Action::Delayed { until }, (4, 4, 1))
    }];
    let report = only(&facts.incident(&recipients), Kind::Delay);
    assert_eq!(
        text(&report),
        crlf(
            r#"Date: Thu, 28 May 2026 21:26:40 +0000
From: Mail Delivery System <MAILER-DAEMON@mail.example.org>
To: <alice@example.org>
Subject: Your message is delayed
Message-ID: <00000000000000000000000000000000@mail.example.org>
In-Reply-To: <1@laptop.example.org>
References: <1@laptop.example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="report=_AAAAAAAAAAAAAAAAAAAAAAAAAA"

This is a report in parts (MIME).

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Report
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

This is the mail server mail.example.org. Your message has not reached
the recipient below yet. It will be tried again; you need not send it
anew.

    Subject:   Quarterly numbers
    Accepted:  Thu, 28 May 2026 20:26:40 +0000
    Queue id:  01K40000000000000000000001

<bob@example.net>

    The recipient's mail server does not answer. (Code 4.4.1.)

    In detail: connection timed out after 30 seconds

    It will be tried until Tue, 2 Jun 2026 20:26:40 +0000.

Details for mail programs follow, and then the header of your message.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Delivery status
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Reporting-MTA: dns; mail.example.org
Arrival-Date: Thu, 28 May 2026 20:26:40 +0000
X-Gatepost-Queue-Id: 01K40000000000000000000001

Final-Recipient: rfc822; bob@example.net
Action: delayed
Status: 4.4.1
Diagnostic-Code: x-gatepost; connection timed out after 30 seconds
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000
Will-Retry-Until: Tue, 2 Jun 2026 20:26:40 +0000

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Header of your message
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7bit

From: Alice <alice@example.org>
To: bob@example.net
Subject: Quarterly numbers
Message-ID: <1@laptop.example.org>

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA--
"#
        )
    );
}

/// R3461-5.2.2b, R3461-5.2.3a, R3464-2.3.3a.
#[test]
fn a_success() {
    let facts = Facts::new("alice@example.org");
    let asked = Notify::parse("SUCCESS,FAILURE");
    let recipients = [
        RecipientReport {
            notify: asked,
            diagnostic: Some(Diagnostic::Reply("250 2.0.0 Ok: queued as 4B5C".into())),
            remote_mta: hop("mx1.example.net", "2001:db8::25", Some(TlsVersion::V13)),
            ..recipient("bob@example.net", Action::Relayed, (2, 0, 0))
        },
        RecipientReport {
            notify: asked,
            original_recipient: OriginalRecipient::parse("rfc822;Carol@shop.example.org"),
            ..recipient("carol@example.org", Action::Delivered, (2, 0, 0))
        },
        RecipientReport {
            notify: asked,
            ..recipient("team@example.org", Action::Expanded, (2, 0, 0))
        },
        // Nothing asked: not told (R3461-5.2.2e, R3461-5.2.8a).
        recipient("dave@example.org", Action::Delivered, (2, 0, 0)),
    ];
    let report = only(&facts.incident(&recipients), Kind::Success);
    assert_eq!(
        text(&report),
        crlf(
            r#"Date: Thu, 28 May 2026 21:26:40 +0000
From: Mail Delivery System <MAILER-DAEMON@mail.example.org>
To: <alice@example.org>
Subject: What became of your message
Message-ID: <00000000000000000000000000000000@mail.example.org>
In-Reply-To: <1@laptop.example.org>
References: <1@laptop.example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="report=_AAAAAAAAAAAAAAAAAAAAAAAAAA"

This is a report in parts (MIME).

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Report
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

This is the mail server mail.example.org. You asked to be told what
became of your message to the recipients below.

    Subject:   Quarterly numbers
    Accepted:  Thu, 28 May 2026 20:26:40 +0000
    Queue id:  01K40000000000000000000001

<bob@example.net>

    The message was handed to mx1.example.net [2001:db8::25], encrypted
    with TLSv1.3. That server does not tell when it delivers; should it
    fail, it may write to you.

<carol@example.org> (sent to <Carol@shop.example.org>)

    The message was delivered.

<team@example.org>

    The address stands for several recipients, and the message was sent
    on to each. Should one of them not get it, you may be told.

Details for mail programs follow, and then the header of your message.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Delivery status
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Reporting-MTA: dns; mail.example.org
Arrival-Date: Thu, 28 May 2026 20:26:40 +0000
X-Gatepost-Queue-Id: 01K40000000000000000000001

Final-Recipient: rfc822; bob@example.net
Action: relayed
Status: 2.0.0
Remote-MTA: dns; mx1.example.net
Diagnostic-Code: smtp; 250 2.0.0 Ok: queued as 4B5C
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000
X-Gatepost-TLS: TLSv1.3

Original-Recipient: rfc822; Carol@shop.example.org
Final-Recipient: rfc822; carol@example.org
Action: delivered
Status: 2.0.0
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000

Final-Recipient: rfc822; team@example.org
Action: expanded
Status: 2.0.0
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Header of your message
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7bit

From: Alice <alice@example.org>
To: bob@example.net
Subject: Quarterly numbers
Message-ID: <1@laptop.example.org>

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA--
"#
        )
    );
}

/// R6533-4a, R6531-3.2d.
#[test]
fn a_failure_beyond_ascii_by_smtputf8() {
    let facts = Facts::new("\u{e5}sa@example.org");
    let report = only(
        &Incident {
            channel: ReturnChannel::Utf8,
            header: GREETINGS,
            ..facts.incident(&[beyond_ascii()])
        },
        Kind::Failure,
    );
    assert_eq!(
        text(&report),
        crlf(
            r#"Date: Thu, 28 May 2026 21:26:40 +0000
From: Mail Delivery System <MAILER-DAEMON@mail.example.org>
To: <åsa@example.org>
Subject: Your message could not be delivered
Message-ID: <00000000000000000000000000000000@mail.example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="report=_AAAAAAAAAAAAAAAAAAAAAAAAAA"

This is a report in parts (MIME).

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Report
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail server mail.example.org. Your message could not be
delivered to the recipient below. It will not be tried again.

    Subject:   Grüße
    Accepted:  Thu, 28 May 2026 20:26:40 +0000
    Queue id:  01K40000000000000000000001

<jürgen@example.net>

    The address has letters that the recipient's mail server cannot
    handle. (Code 5.6.7.)

    While speaking to mx1.example.net [192.0.2.25]: the server does not
    offer SMTPUTF8

    What you can do: Ask the recipient for another address, of plain
    letters a to z.

Details for mail programs follow, and then your message.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Delivery status
Content-Type: message/global-delivery-status
Content-Transfer-Encoding: 8bit

Reporting-MTA: dns; mail.example.org
Arrival-Date: Thu, 28 May 2026 20:26:40 +0000
X-Gatepost-Queue-Id: 01K40000000000000000000001

Original-Recipient: utf-8; jürgen@example.net
Final-Recipient: utf-8; jürgen@example.net
Action: failed
Status: 5.6.7
Remote-MTA: dns; mx1.example.net
Diagnostic-Code: x-gatepost; the server does not offer SMTPUTF8
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Your message
Content-Type: message/global
Content-Transfer-Encoding: 8bit

From: asa@example.org
Subject: Grüße
To: jürgen@example.net

Hello Bob,
here they are.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA--
"#
        )
    );
    assert_eq!(report.body_type, BodyType::EightBitMime);
    assert!(report.smtputf8);
}

/// R6533-4.5a: the same without SMTPUTF8 on the way back.
#[test]
fn a_failure_beyond_ascii_in_seven_bits() {
    let facts = Facts::new("asa@example.org");
    let report = only(
        &Incident {
            channel: ReturnChannel::SevenBit,
            header: GREETINGS,
            ..facts.incident(&[beyond_ascii()])
        },
        Kind::Failure,
    );
    assert_eq!(
        text(&report),
        crlf(
            r#"Date: Thu, 28 May 2026 21:26:40 +0000
From: Mail Delivery System <MAILER-DAEMON@mail.example.org>
To: <asa@example.org>
Subject: Your message could not be delivered
Message-ID: <00000000000000000000000000000000@mail.example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="report=_AAAAAAAAAAAAAAAAAAAAAAAAAA"

This is a report in parts (MIME).

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Report
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

This is the mail server mail.example.org. Your message could not be
delivered to the recipient below. It will not be tried again.

    Subject:   Gr=C3=BC=C3=9Fe
    Accepted:  Thu, 28 May 2026 20:26:40 +0000
    Queue id:  01K40000000000000000000001

<j=C3=BCrgen@example.net>

    The address has letters that the recipient's mail server cannot
    handle. (Code 5.6.7.)

    While speaking to mx1.example.net [192.0.2.25]: the server does not
    offer SMTPUTF8

    What you can do: Ask the recipient for another address, of plain
    letters a to z.

Details for mail programs follow, and then your message.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Delivery status
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Reporting-MTA: dns; mail.example.org
Arrival-Date: Thu, 28 May 2026 20:26:40 +0000
X-Gatepost-Queue-Id: 01K40000000000000000000001

Original-Recipient: utf-8; j\x{FC}rgen@example.net
Final-Recipient: utf-8; j\x{FC}rgen@example.net
Action: failed
Status: 5.6.7
Remote-MTA: dns; mx1.example.net
Diagnostic-Code: x-gatepost; the server does not offer SMTPUTF8
Last-Attempt-Date: Thu, 28 May 2026 21:25:40 +0000

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA
Content-Description: Your message
Content-Type: message/global
Content-Transfer-Encoding: quoted-printable

From: asa@example.org
Subject: Gr=C3=BC=C3=9Fe
To: j=C3=BCrgen@example.net

Hello Bob,
here they are.

--report=_AAAAAAAAAAAAAAAAAAAAAAAAAA--
"#
        )
    );
    assert_eq!(report.body_type, BodyType::SevenBit);
    assert!(!report.smtputf8);
}

const GREETINGS: &[u8] =
    b"From: asa@example.org\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\nTo: j\xc3\xbcrgen@example.net\r\n";

fn beyond_ascii() -> RecipientReport {
    RecipientReport {
        original_recipient: OriginalRecipient::parse("utf-8;j\\x{FC}rgen@example.net"),
        diagnostic: Some(Diagnostic::Own("the server does not offer SMTPUTF8".into())),
        remote_mta: hop("mx1.example.net", "192.0.2.25", None),
        ..recipient("j\u{fc}rgen@example.net", Action::Failed, (5, 6, 7))
    }
}

/// The text with the line ends of mail.
fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}
