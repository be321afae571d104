//! Which reports are due, and how each goes out.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};

use super::{TlsReports, document::Document};
use crate::{
    dns::DnsError,
    envelope::{BodyType, Envelope, Protection, QueueId, TlsWish},
    policy::tlsrpt::{self, Day, Place},
    reach::https::Https,
    report::{Stamp, TlsReportMail},
    smtp::{Mailbox, ReversePath},
    spool::NewMessage,
    store::{
        StoreError,
        tls_reports::{ReportState, StoredReport},
    },
    tls::Trust,
};

/// Days that are reported on at most, where nobody could before.
const LATE: u32 = 2;
/// Reports that are tried in one go.
const AT_ONCE: u32 = 100;
/// Rows of a report at most; the store keeps few more of a domain and day.
const ROWS: u32 = 1_000;
/// How long one exchange by HTTPS may take.
const EXCHANGE: Duration = Duration::from_secs(60);

/// What became of a report to one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tried {
    /// Where it was to go.
    pub place: String,
    /// What was said, good or bad.
    pub said: Result<String, String>,
}

impl TlsReports {
    /// Decides on what is due at `now`, and tries what waits.
    pub(super) async fn report_due(&self, now: SystemTime) -> Result<(), StoreError> {
        for days in (1..=LATE).rev() {
            let day = Day::of(now).before(days);
            for domain in self.store.unreported_domains(day).await? {
                if tlsrpt::due_at(day, &domain, self.options.window) <= now {
                    self.decide(day, &domain, now).await?;
                }
            }
        }
        for report in self.store.due_tls_reports(now, AT_ONCE).await? {
            self.try_again(report, now).await?;
        }
        Ok(())
    }

    /// Finds out whether anybody wants a report. Where the DNS does not tell, it is asked again.
    async fn decide(&self, day: Day, domain: &str, now: SystemTime) -> Result<(), StoreError> {
        let places = match self.places(domain).await {
            Ok(places) => places,
            Err(error) => {
                tracing::debug!(domain, %error, "whether reports on TLS are wanted is not known");
                return Ok(());
            }
        };
        let begun = |place: String, state| StoredReport {
            day,
            domain: domain.to_owned(),
            place,
            state,
            tries: 0,
            first_at: now,
            next_at: now,
            said: String::new(),
        };
        let reports: Vec<_> = match places.is_empty() {
            true => vec![begun(String::new(), ReportState::Unwanted)],
            false => places
                .iter()
                .map(|place| begun(place.to_string(), ReportState::Waiting))
                .collect(),
        };
        self.store.keep_tls_reports(&reports).await
    }

    async fn places(&self, domain: &str) -> Result<Vec<Place>, DnsError> {
        let found = self.dns.txt(&format!("_smtp._tls.{domain}")).await?;
        Ok(tlsrpt::places(found.records.iter().map(String::as_str)))
    }

    async fn try_again(&self, report: StoredReport, now: SystemTime) -> Result<(), StoreError> {
        let document = self.document(report.day, &report.domain).await?;
        let said = match Place::parse(&report.place) {
            Some(place) => {
                let sent = self.send(&document, report.day, &report.domain, &place, EXCHANGE);
                sent.await
            }
            None => Err("nobody can be reached there".to_owned()),
        };
        let tries = report.tries.saturating_add(1);
        let since = now.duration_since(report.first_at).unwrap_or_default();
        let wait = tlsrpt::try_again_after(tries, since);
        let state = match (&said, wait) {
            (Ok(_), _) => ReportState::Sent,
            (Err(_), Some(_)) => ReportState::Waiting,
            (Err(_), None) => ReportState::Failed,
        };
        let (domain, place) = (&report.domain, &report.place);
        match &said {
            Ok(said) => tracing::info!(domain, place, said, "report on TLS sent"),
            Err(why) => tracing::info!(
                domain,
                place,
                why,
                state = state.as_str(),
                "report on TLS not sent"
            ),
        }
        metrics::counter!("gatepost_tls_reports_total", "outcome" => state.as_str()).increment(1);
        let report = StoredReport {
            state,
            tries,
            next_at: now + wait.unwrap_or_default(),
            said: said.unwrap_or_else(|why| why),
            ..report
        };
        self.store.keep_tls_reports(&[report]).await
    }

    /// Sends what was counted of a day so far to whoever wants it, within `limit` for all of them, and
    /// notes nothing.
    ///
    /// # Errors
    /// The store, or whether anybody wants a report, cannot be read.
    pub async fn send_now(
        &self,
        day: Day,
        domain: &str,
        limit: Duration,
    ) -> Result<Vec<Tried>, String> {
        self.write_down().await;
        let document = self.document(day, domain).await;
        let document = document.map_err(|error| error.to_string())?;
        let places = self.places(domain).await;
        let places = places.map_err(|error| error.to_string())?;
        let (began, mut tried) = (Instant::now(), Vec::new());
        for place in places {
            let left = limit.saturating_sub(began.elapsed());
            let said = self.send(&document, day, domain, &place, left).await;
            let place = place.to_string();
            tried.push(Tried { place, said });
        }
        Ok(tried)
    }

    async fn document(&self, day: Day, domain: &str) -> Result<Document, StoreError> {
        let counted = self
            .store
            .tls_results(Some(domain), Some(day), ROWS)
            .await?;
        Ok(Document::new(&self.options, day, domain, &counted))
    }

    async fn send(
        &self,
        document: &Document,
        day: Day,
        domain: &str,
        place: &Place,
        limit: Duration,
    ) -> Result<String, String> {
        match place {
            Place::Mail(to) => self.mail(document, day, domain, to).await,
            Place::Https(url) => {
                let posted = tokio::time::timeout(limit, self.post(document, url)).await;
                posted.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
            }
        }
    }

    /// By mail, signed, and in spite of whatever is wrong with the domain's TLS: that is what it tells
    /// of (RFC 8460 §3, §5.3).
    async fn mail(
        &self,
        document: &Document,
        day: Day,
        domain: &str,
        to: &Mailbox,
    ) -> Result<String, String> {
        let mail = TlsReportMail {
            submitter: &self.options.hostname,
            domain,
            id: &document.id,
            begin: day.start(),
            end: day.end() - Duration::from_secs(1),
            gzip: &document.gzip,
            from: &self.options.from,
            to,
        };
        let mut stamp = Stamp {
            now: SystemTime::now(),
            random: [0; 16],
        };
        // Without randomness the boundary is still one that does not occur.
        let _ = getrandom::fill(&mut stamp.random);
        let (header, content) = mail.write(&stamp);
        let signers = self.dkim.signers(&header);
        if signers.is_empty() {
            let from = &self.options.from;
            return Err(format!(
                "no key signs mail from {from} (DKIM), and reports without a signature are ignored"
            ));
        }
        let content: Arc<[u8]> = content.into();
        let body = content.clone();
        let signed = tokio::task::spawn_blocking(move || signers.sign(&header, &mut &body[..]));
        let signed = signed.await.map_err(|error| error.to_string())?;
        let header = signed.map_err(|error| error.to_string())?;
        let id = QueueId::new(ulid::Ulid::generate());
        let failed = |error: crate::spool::CustodyError| error.to_string();
        let mut body = self.spool.body();
        body.write(&content).await.map_err(failed)?;
        let message = NewMessage {
            id: id.clone(),
            account: None,
            report_of: None,
            message_id: Some(format!("<{}>", document.id)),
            envelope: Envelope {
                sender: ReversePath::Null,
                recipients: vec![to.clone().into()],
                body: BodyType::SevenBit,
                smtputf8: false,
                ret: None,
                envelope_id: None,
                timing: Default::default(),
                protection: Protection {
                    tls: TlsWish::Optional,
                    ..Protection::default()
                },
            },
            header,
            body: body.finish().await.map_err(failed)?,
            received_at: stamp.now,
            start: Default::default(),
            release_at: None,
            release_request: None,
            sent: None,
        };
        self.spool.commit(message).await.map_err(failed)?;
        Ok(format!("mail {id}"))
    }

    /// By POST (RFC 8460 §5.4).
    async fn post(&self, document: &Document, url: &str) -> Result<String, String> {
        let wrong = |error: String| format!("{url}: {error}");
        let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
        let host = uri.host().ok_or_else(|| wrong("no host".to_owned()))?;
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let trust = Trust::system(self.options.authorities.clone());
        let port = uri.port_u16().unwrap_or(443);
        let connection = Https::connect(&self.dns, host, port, trust);
        let connection = connection.await.map_err(|error| error.to_string())?;
        let request = Request::post(path)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/tlsrpt+gzip")
            .header(USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(document.gzip.clone())))
            .map_err(|error| wrong(error.to_string()))?;
        let answered = connection.send(request).await;
        let answered = answered.map_err(|error| error.to_string())?;
        let status = answered.response.status();
        match status.is_success() {
            true => Ok(format!("HTTP status {}", status.as_u16())),
            false => Err(format!("HTTP status {}", status.as_u16())),
        }
    }
}
