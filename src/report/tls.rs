//! A report on TLS as mail (RFC 8460 §5.3).

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Stamp, boundary, field};
use crate::{
    message::{base64_lines, date},
    smtp::{Domain, Mailbox},
};

/// A report on its way to whoever asked for it.
#[derive(Debug)]
pub struct TlsReportMail<'a> {
    /// Who reports.
    pub submitter: &'a Domain,
    /// On which domain.
    pub domain: &'a str,
    /// The report's own name, without angle brackets.
    pub id: &'a str,
    /// The first moment that it tells of.
    pub begin: SystemTime,
    /// The last one.
    pub end: SystemTime,
    /// The report, compressed.
    pub gzip: &'a [u8],
    /// Author.
    pub from: &'a Mailbox,
    /// Reader.
    pub to: &'a Mailbox,
}

impl TlsReportMail<'_> {
    /// The name of the file (RFC 8460 §5.1).
    pub fn file_name(&self) -> String {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (begin, end) = (seconds(self.begin), seconds(self.end));
        let submitter = self.submitter.canonical();
        format!("{submitter}!{}!{begin}!{end}.json.gz", self.domain)
    }

    /// The message, to be sent with the null reverse-path: nobody reads what comes back.
    ///
    /// Gives the header section with its blank line, and the body.
    pub fn write(&self, stamp: &Stamp) -> (Vec<u8>, Vec<u8>) {
        let submitter = self.submitter.canonical();
        let letter = format!(
            "This is a report of the mail server {submitter} on TLS in mail to\r\n\
             {}, for programs (RFC 8460).\r\n",
            self.domain
        );
        let attached = base64_lines(self.gzip);
        let boundary = boundary::choose(&stamp.random, &[letter.as_bytes(), &attached]);
        let mut header = String::new();
        let mut write = |name: &str, text: &str| field::write(&mut header, name, text);
        write("Date", &date(stamp.now));
        write("From", &self.from.to_string());
        write("To", &self.to.to_string());
        write(
            "Subject",
            &format!(
                "Report Domain: {} Submitter: {submitter} Report-ID: <{}>",
                self.domain, self.id
            ),
        );
        write("Message-ID", &format!("<{}>", self.id));
        write("TLS-Report-Domain", self.domain);
        write("TLS-Report-Submitter", &submitter);
        write("Auto-Submitted", "auto-generated");
        // What it tells of must not keep it from arriving (RFC 8689 §3).
        write("TLS-Required", "No");
        write("MIME-Version", "1.0");
        write(
            "Content-Type",
            &format!("multipart/report; report-type=tlsrpt; boundary=\"{boundary}\""),
        );
        let mut part = String::new();
        field::write(
            &mut part,
            "Content-Disposition",
            &format!("attachment; filename=\"{}\"", self.file_name()),
        );
        let mut body = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{letter}\r\n\
             --{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\n\
             Content-Transfer-Encoding: base64\r\n{part}\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&attached);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        header.push_str("\r\n");
        (header.into_bytes(), body)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mail_auth::report::tlsrpt::TlsReport;
    use mail_parser::MessageParser;

    use super::*;

    /// R8460-5.1a, R8460-5.3a.
    #[test]
    fn others_read_the_mail_and_find_the_report_in_it() {
        let json = r#"{"organization-name":"Ours","date-range":{"start-datetime":"2026-11-26T00:00:00Z",
            "end-datetime":"2026-11-26T23:59:59Z"},"contact-info":"p@ours.example","report-id":"1@ours.example",
            "policies":[]}"#;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, json.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mail = TlsReportMail {
            submitter: &Domain::parse("mail.ours.example").unwrap(),
            domain: "theirs.example",
            id: "20261126.theirs.example@mail.ours.example",
            begin: at(1_795_651_200),
            end: at(1_795_737_599),
            gzip: &gzip,
            from: &Mailbox::parse("noreply@ours.example").unwrap(),
            to: &Mailbox::parse("tls@theirs.example").unwrap(),
        };
        let stamp = Stamp {
            now: at(1_795_750_000),
            random: [7; 16],
        };
        let (header, body) = mail.write(&stamp);
        let whole = [header, body].concat();
        let read = TlsReport::parse_rfc5322(&whole, 1 << 20).unwrap();
        assert_eq!(read.organization_name.as_deref(), Some("Ours"));
        let parsed = MessageParser::default().parse(&whole).unwrap();
        let text = |name: &str| parsed.header_raw(name).unwrap().trim().replace("\r\n", "");
        assert_eq!(text("TLS-Report-Domain"), "theirs.example");
        assert_eq!(text("TLS-Report-Submitter"), "mail.ours.example");
        assert_eq!(
            text("Subject"),
            "Report Domain: theirs.example Submitter: mail.ours.example Report-ID: \
             <20261126.theirs.example@mail.ours.example>"
        );
        let kind = parsed.header_raw("Content-Type").unwrap();
        assert!(
            kind.contains("multipart/report; report-type=tlsrpt;"),
            "{kind}"
        );
        let attached = parsed.attachments().next().unwrap();
        use mail_parser::MimeHeaders as _;
        assert_eq!(
            attached.attachment_name(),
            Some("mail.ours.example!theirs.example!1795651200!1795737599.json.gz")
        );
        assert!(whole.is_ascii());
    }
}
