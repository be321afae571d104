//! SQL of TLS results and of the reports on them.

use std::{net::IpAddr, time::SystemTime};

use super::{
    Store, StoreError,
    queue::{milliseconds, time},
};
use crate::policy::tlsrpt::{AppliedPolicy, Day, PolicyKind, TlsResult, TlsSession};

/// Rows of one domain and day; beyond them sessions are counted without their particulars.
pub const ROWS_MOST: i64 = 200;

/// Sessions that are alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counted {
    /// When.
    pub day: Day,
    /// What they have in common.
    pub session: TlsSession,
    /// How many.
    pub count: u32,
}

/// How a report stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReportState {
    /// To be tried, again or for the first time.
    Waiting,
    /// Handed over.
    Sent,
    /// Given up.
    Failed,
    /// Nobody asks for one.
    Unwanted,
}

impl ReportState {
    const ALL: [ReportState; 4] = [
        ReportState::Waiting,
        ReportState::Sent,
        ReportState::Failed,
        ReportState::Unwanted,
    ];

    /// The word in rows and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportState::Waiting => "waiting",
            ReportState::Sent => "sent",
            ReportState::Failed => "failed",
            ReportState::Unwanted => "unwanted",
        }
    }
}

/// A report on a day to one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredReport {
    /// Which day.
    pub day: Day,
    /// Which domain.
    pub domain: String,
    /// Where it goes, as the domain's record has it; empty where nobody asks for one.
    pub place: String,
    /// How it stands.
    pub state: ReportState,
    /// Attempts so far.
    pub tries: u32,
    /// When it was first due.
    pub first_at: SystemTime,
    /// When it is to be tried next.
    pub next_at: SystemTime,
    /// What was said last.
    pub said: String,
}

type ReportRow = (i64, String, String, String, i64, i64, i64, String);
type ResultRow = (
    i64,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
);

impl Store {
    /// Adds to what was counted before, all or nothing.
    ///
    /// # Errors
    /// The database cannot be written to.
    pub async fn add_tls_results(&self, counted: &[Counted]) -> Result<(), StoreError> {
        let mut change = self.writer().begin().await?;
        for it in counted {
            let session = &it.session;
            let (rows,): (i64,) =
                sqlx::query_as("SELECT count(*) FROM tls_results WHERE day = $1 AND domain = $2")
                    .bind(i64::from(it.day.0))
                    .bind(&*session.domain)
                    .fetch_one(&mut *change)
                    .await?;
            let has_room = rows < ROWS_MOST;
            let kept = |text: &str| {
                if has_room {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            let address = |address: Option<IpAddr>| address.map(|it| it.to_string());
            sqlx::query(
                r#"
                INSERT INTO tls_results
                       (day, domain, policy, text, result, host, receiving, sending, reason,
                        sessions)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                    ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions
                "#,
            )
            .bind(i64::from(it.day.0))
            .bind(&*session.domain)
            .bind(session.policy.kind.as_str())
            .bind(kept(&session.policy.text))
            .bind(session.result.as_str())
            .bind(kept(&session.host))
            .bind(kept(&address(session.receiving).unwrap_or_default()))
            .bind(kept(&address(session.sending).unwrap_or_default()))
            .bind(kept(&session.reason))
            .bind(i64::from(it.count))
            .execute(&mut *change)
            .await?;
        }
        Ok(change.commit().await?)
    }

    /// What was counted, the latest day first; of a domain or a day where they are given, `limit` rows
    /// at most.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tls_results(
        &self,
        domain: Option<&str>,
        day: Option<Day>,
        limit: u32,
    ) -> Result<Vec<Counted>, StoreError> {
        let rows: Vec<ResultRow> = sqlx::query_as(
            r#"
            SELECT day, domain, policy, text, result, host, receiving, sending, reason, sessions
              FROM tls_results
             WHERE ($1 IS NULL OR domain = $1)
               AND ($2 IS NULL OR day = $2)
             ORDER BY day DESC, domain, policy, text, result = 'success' DESC, sessions DESC
             LIMIT $3
            "#,
        )
        .bind(domain)
        .bind(day.map(|day| i64::from(day.0)))
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(counted).collect()
    }

    /// Domains of a day that were counted and on which nothing was decided yet.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unreported_domains(&self, day: Day) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            r#"
            SELECT DISTINCT domain
              FROM tls_results
             WHERE day = $1
               AND NOT EXISTS (SELECT *
                                 FROM tls_reports
                                WHERE tls_reports.day = tls_results.day
                                  AND tls_reports.domain = tls_results.domain)
            "#,
        )
        .bind(i64::from(day.0))
        .fetch_all(self.reader())
        .await?;
        Ok(rows.into_iter().map(|(domain,)| domain).collect())
    }

    /// Notes how reports stand, in place of what was noted before.
    ///
    /// # Errors
    /// The database cannot be written to.
    pub async fn keep_tls_reports(&self, reports: &[StoredReport]) -> Result<(), StoreError> {
        let mut change = self.writer().begin().await?;
        for report in reports {
            sqlx::query(
                r#"
                INSERT INTO tls_reports
                       (day, domain, place, state, tries, first_at, next_at, said)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                    ON CONFLICT (day, domain, place) DO UPDATE
                   SET state = excluded.state,
                       tries = excluded.tries,
                       next_at = excluded.next_at,
                       said = excluded.said
                "#,
            )
            .bind(i64::from(report.day.0))
            .bind(&report.domain)
            .bind(&report.place)
            .bind(report.state.as_str())
            .bind(i64::from(report.tries))
            .bind(milliseconds(report.first_at))
            .bind(milliseconds(report.next_at))
            .bind(&report.said)
            .execute(&mut *change)
            .await?;
        }
        Ok(change.commit().await?)
    }

    /// Reports that are to be tried at `now`, `limit` at most.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn due_tls_reports(
        &self,
        now: SystemTime,
        limit: u32,
    ) -> Result<Vec<StoredReport>, StoreError> {
        let rows: Vec<ReportRow> = sqlx::query_as(
            r#"
            SELECT day, domain, place, state, tries, first_at, next_at, said
              FROM tls_reports
             WHERE state = 'waiting' AND next_at <= $1
             ORDER BY next_at
             LIMIT $2
            "#,
        )
        .bind(milliseconds(now))
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(report).collect()
    }

    /// How reports stand, the latest day first; of a domain or a day where they are given.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tls_reports(
        &self,
        domain: Option<&str>,
        day: Option<Day>,
        limit: u32,
    ) -> Result<Vec<StoredReport>, StoreError> {
        let rows: Vec<ReportRow> = sqlx::query_as(
            r#"
            SELECT day, domain, place, state, tries, first_at, next_at, said
              FROM tls_reports
             WHERE ($1 IS NULL OR domain = $1)
               AND ($2 IS NULL OR day = $2)
             ORDER BY day DESC, domain, place
             LIMIT $3
            "#,
        )
        .bind(domain)
        .bind(day.map(|day| i64::from(day.0)))
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(report).collect()
    }

    /// Forgets results and reports of days before this one.
    ///
    /// # Errors
    /// The database cannot be written to.
    pub async fn forget_tls_results(&self, before: Day) -> Result<(), StoreError> {
        let mut change = self.writer().begin().await?;
        for statement in [
            "DELETE FROM tls_results WHERE day < $1",
            "DELETE FROM tls_reports WHERE day < $1",
        ] {
            sqlx::query(statement)
                .bind(i64::from(before.0))
                .execute(&mut *change)
                .await?;
        }
        Ok(change.commit().await?)
    }
}

fn day(number: i64) -> Day {
    Day(u32::try_from(number).unwrap_or_default())
}

fn counted(row: ResultRow) -> Result<Counted, StoreError> {
    let (number, domain, policy, text, result, host, receiving, sending, reason, count) = row;
    let unknown = |word: &str| StoreError::Database(format!("stored TLS result {word:?}"));
    Ok(Counted {
        day: day(number),
        session: TlsSession {
            domain: domain.into(),
            policy: AppliedPolicy {
                kind: PolicyKind::parse(&policy).ok_or_else(|| unknown(&policy))?,
                text: text.into(),
            },
            result: TlsResult::parse(&result).ok_or_else(|| unknown(&result))?,
            host: host.into(),
            receiving: receiving.parse().ok(),
            sending: sending.parse().ok(),
            reason: reason.into(),
        },
        count: u32::try_from(count).unwrap_or(u32::MAX),
    })
}

fn report(row: ReportRow) -> Result<StoredReport, StoreError> {
    let (number, domain, place, word, tries, first_at, next_at, said) = row;
    let state = ReportState::ALL.into_iter().find(|it| it.as_str() == word);
    let unknown = || StoreError::Database(format!("stored report in state {word:?}"));
    Ok(StoredReport {
        day: day(number),
        domain,
        place,
        state: state.ok_or_else(unknown)?,
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
        first_at: time(first_at),
        next_at: time(next_at),
        said,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session(host: &str, result: TlsResult) -> TlsSession {
        TlsSession {
            host: host.into(),
            receiving: Some([192, 0, 2, 1].into()),
            ..TlsSession::failure(
                "a.example",
                AppliedPolicy::new(PolicyKind::Tlsa, "3 1 1 ab"),
                result,
                "why",
            )
        }
    }

    #[tokio::test]
    async fn alike_sessions_add_up_and_rows_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let of = |day, host: &str, count| Counted {
            day: Day(day),
            session: session(host, TlsResult::CertificateExpired),
            count,
        };
        let more = [of(1, "mx1", 2), of(1, "mx2", 1), of(2, "mx1", 5)];
        store.add_tls_results(&more).await.unwrap();
        store.add_tls_results(&more[..1]).await.unwrap();
        let found = store.tls_results(Some("a.example"), Some(Day(1)), 10).await;
        assert_eq!(found.unwrap(), [of(1, "mx1", 4), of(1, "mx2", 1)]);
        assert_eq!(store.tls_results(None, None, 10).await.unwrap().len(), 3);
        assert!(
            store
                .tls_results(Some("b.example"), None, 10)
                .await
                .unwrap()
                .is_empty()
        );

        let many: Vec<_> = (0..ROWS_MOST + 50)
            .map(|n| of(3, &format!("m{n}"), 1))
            .collect();
        store.add_tls_results(&many).await.unwrap();
        let found = store.tls_results(None, Some(Day(3)), 1000).await.unwrap();
        assert_eq!(found.len() as i64, ROWS_MOST + 1);
        let all: u32 = found.iter().map(|it| it.count).sum();
        assert_eq!(i64::from(all), ROWS_MOST + 50);
        store.forget_tls_results(Day(3)).await.unwrap();
        assert!(
            store
                .tls_results(None, Some(Day(2)), 10)
                .await
                .unwrap()
                .is_empty()
        );
        store.close().await;
    }

    #[tokio::test]
    async fn a_report_waits_until_it_is_due_and_is_decided_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let counted = Counted {
            day: Day(1),
            session: session("mx", TlsResult::Success),
            count: 1,
        };
        store.add_tls_results(&[counted]).await.unwrap();
        assert_eq!(
            store.unreported_domains(Day(1)).await.unwrap(),
            ["a.example"]
        );
        assert!(store.unreported_domains(Day(2)).await.unwrap().is_empty());
        let mut report = StoredReport {
            day: Day(1),
            domain: "a.example".into(),
            place: "mailto:a@b.example".into(),
            state: ReportState::Waiting,
            tries: 0,
            first_at: at(100),
            next_at: at(100),
            said: String::new(),
        };
        store
            .keep_tls_reports(std::slice::from_ref(&report))
            .await
            .unwrap();
        assert!(store.unreported_domains(Day(1)).await.unwrap().is_empty());
        assert!(store.due_tls_reports(at(99), 10).await.unwrap().is_empty());
        let due = store.due_tls_reports(at(100), 10).await.unwrap();
        assert_eq!(due, [report.clone()]);
        report.tries = 1;
        report.next_at = at(400);
        report.said = "no answer".into();
        store
            .keep_tls_reports(std::slice::from_ref(&report))
            .await
            .unwrap();
        assert!(store.due_tls_reports(at(399), 10).await.unwrap().is_empty());
        report.state = ReportState::Sent;
        store
            .keep_tls_reports(std::slice::from_ref(&report))
            .await
            .unwrap();
        assert!(store.due_tls_reports(at(900), 10).await.unwrap().is_empty());
        assert_eq!(store.tls_reports(None, None, 10).await.unwrap(), [report]);
        store.close().await;
    }
}
