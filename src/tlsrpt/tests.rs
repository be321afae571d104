use serde_json::Value;

use super::{document::json, *};
use crate::{
    dkim::KeyPair,
    dns::{Kind, fake::Fake},
    policy::tlsrpt::{AppliedPolicy, PolicyKind, TlsResult, due_at},
    spool,
    store::dkim::{Algorithm, NewKey},
    store::tls_reports::{Counted, ReportState},
};

const HOUR: Duration = Duration::from_secs(3600);

fn options() -> Options {
    Options {
        enabled: true,
        organization: "Ours".into(),
        contact: "postmaster@ours.example".into(),
        from: Mailbox::parse("tls-reports@mail.ours.example").unwrap(),
        hostname: Domain::parse("mail.ours.example").unwrap(),
        window: 4 * HOUR,
        authorities: None,
    }
}

struct World {
    directory: tempfile::TempDir,
    store: Store,
    spool: Arc<Spool>,
    dkim: Arc<Dkim>,
    texts: Arc<Fake>,
    _fresh: spool::Fresh,
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let options = spool::Options {
            directory: directory.path().join("spool"),
            inline_octets: 1 << 20,
            batch: 16,
            reserve_octets: 0,
            reserve_inodes: 0,
            fresh: 64,
            node: "here".to_owned(),
        };
        let (spool, fresh) = Spool::open(store.clone(), options, SystemTime::now())
            .await
            .unwrap();
        let ours = Domain::parse("ours.example").unwrap();
        let now = SystemTime::now();
        store.add_domain(&ours, now).await.unwrap();
        let pair = KeyPair::generate(Algorithm::Ed25519).unwrap();
        let key = NewKey {
            selector: "s".into(),
            algorithm: pair.algorithm,
            private_key: pair.private_key,
            public_key: pair.public_key,
        };
        store.add_dkim_keys(&ours, &[key], now).await.unwrap();
        World {
            directory,
            dkim: Dkim::open(store.clone()).await.unwrap(),
            store,
            spool,
            texts: Fake::new(),
            _fresh: fresh,
        }
    }

    /// As after a start.
    fn reports(&self) -> Arc<TlsReports> {
        let (store, spool) = (self.store.clone(), self.spool.clone());
        TlsReports::new(options(), store, self.texts.dns(), self.dkim.clone(), spool)
    }

    fn publish(&self, domain: &str, text: Option<&str>) {
        match text {
            Some(text) => self.texts.txt(domain, &[text]),
            None => self.texts.bogus(domain, Kind::Txt),
        }
    }

    async fn count(&self, day: Day, domain: &str) {
        let policy = AppliedPolicy::new(PolicyKind::None, "");
        let counted = Counted {
            day,
            session: TlsSession::success(domain, policy),
            count: 3,
        };
        self.store.add_tls_results(&[counted]).await.unwrap();
    }

    async fn states(&self) -> Vec<(String, ReportState, u32)> {
        let reports = self.store.tls_reports(None, None, 100).await.unwrap();
        let states = reports.into_iter();
        states.map(|it| (it.domain, it.state, it.tries)).collect()
    }

    /// Messages in custody.
    async fn mail(&self) -> u64 {
        let counts = self.store.queue_counts(SystemTime::now()).await.unwrap();
        counts.messages
    }
}

/// R8460-4.1a: a day is reported once, at its own moment after its end, to those who ask; over a
/// restart too.
#[tokio::test]
async fn a_day_is_reported_once_to_those_who_ask() {
    let world = World::new().await;
    world.publish(
        "_smtp._tls.asks.example",
        Some("v=TLSRPTv1; rua=mailto:tls@asks.example"),
    );
    world.publish("_smtp._tls.broken.example", None);
    let day: Day = "2026-11-26".parse().unwrap();
    for domain in ["asks.example", "silent.example", "broken.example"] {
        world.count(day, domain).await;
    }
    let reports = world.reports();
    let due = due_at(day, "asks.example", 4 * HOUR);
    reports.report_due(day.end() - HOUR).await.unwrap();
    assert!(world.states().await.is_empty());
    reports
        .report_due(due - Duration::from_secs(1))
        .await
        .unwrap();
    assert!(world.states().await.iter().all(|it| it.0 != "asks.example"));
    assert_eq!(world.mail().await, 0);
    reports.report_due(day.end() + 4 * HOUR).await.unwrap();
    let decided = [
        ("asks.example".to_owned(), ReportState::Sent, 1),
        ("silent.example".to_owned(), ReportState::Unwanted, 0),
    ];
    assert_eq!(world.states().await, decided);
    assert_eq!(world.mail().await, 1);
    // Neither now nor after a restart again; what the DNS did not tell is asked for two days.
    world
        .reports()
        .report_due(day.end() + 10 * HOUR)
        .await
        .unwrap();
    assert_eq!(world.states().await, decided);
    world.publish(
        "_smtp._tls.broken.example",
        Some("v=TLSRPTv1; rua=mailto:tls@broken.example"),
    );
    world
        .reports()
        .report_due(day.end() + 40 * HOUR)
        .await
        .unwrap();
    assert_eq!(world.mail().await, 2);
    assert_eq!(world.states().await.len(), 3);
    drop(world.directory);
}

/// R8460-5.5a: a place that cannot be reached is tried for a day.
#[tokio::test]
async fn a_place_that_does_not_answer_is_tried_for_a_day() {
    let world = World::new().await;
    world.publish(
        "_smtp._tls.asks.example",
        Some("v=TLSRPTv1; rua=https://nowhere.example/tlsrpt"),
    );
    let day: Day = "2026-11-26".parse().unwrap();
    world.count(day, "asks.example").await;
    let reports = world.reports();
    let begun = day.end() + 4 * HOUR;
    let mut now = begun;
    loop {
        reports.report_due(now).await.unwrap();
        let (_, state, tries) = world.states().await.remove(0);
        match state {
            ReportState::Waiting => now += Duration::from_secs(60),
            ReportState::Failed => {
                assert!((8..16).contains(&tries), "{tries}");
                break;
            }
            state => panic!("{state:?}"),
        }
        assert!(now < begun + 25 * HOUR);
    }
    assert!(now > begun + 19 * HOUR);
    let report = world
        .store
        .tls_reports(None, None, 1)
        .await
        .unwrap()
        .remove(0);
    assert!(report.said.contains("nowhere.example"), "{}", report.said);
    assert_eq!(world.mail().await, 0);
}

/// What was counted and not yet written down is in a report that somebody asks for.
#[tokio::test]
async fn a_report_on_trial_has_what_was_counted_a_moment_ago() {
    let world = World::new().await;
    world.publish(
        "_smtp._tls.asks.example",
        Some("v=TLSRPTv1; rua=mailto:tls@asks.example"),
    );
    let reports = world.reports();
    let day = Day(20_000);
    let policy = AppliedPolicy::new(PolicyKind::None, "");
    reports
        .counts()
        .add(day, TlsSession::success("asks.example", policy));
    let tried = reports.send_now(day, "asks.example", HOUR).await.unwrap();
    assert_eq!(tried.len(), 1);
    assert!(tried[0].said.is_ok(), "{tried:?}");
    assert_eq!(
        world
            .store
            .tls_results(None, Some(day), 9)
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(world.states().await.is_empty(), "a trial is not noted");
    let none = reports.send_now(day, "silent.example", HOUR).await.unwrap();
    assert!(none.is_empty());
    // R8460-3b: without a signature nobody would read it.
    let ours = Domain::parse("ours.example").unwrap();
    let retired = world.store.retire_dkim_key(&ours, "s", SystemTime::now());
    retired.await.unwrap();
    world.dkim.reload().await.unwrap();
    let tried = reports.send_now(day, "asks.example", HOUR).await.unwrap();
    let why = tried[0].said.as_ref().unwrap_err();
    assert!(why.contains("no key signs"), "{why}");
}

/// The rules of RFC 8460 §4.4 for what a report may hold.
fn check_schema(report: &Value) {
    let text = |value: &Value, key: &str| {
        let text = value[key].as_str();
        text.unwrap_or_else(|| panic!("{key}: {value}")).to_owned()
    };
    let number = |value: &Value, key: &str| {
        let number = value[key].as_u64();
        number.unwrap_or_else(|| panic!("{key}: {value}"))
    };
    let only = |value: &Value, keys: &[&str]| {
        for (key, value) in value.as_object().unwrap() {
            assert!(keys.contains(&key.as_str()), "{key}");
            assert!(!value.is_null(), "{key}");
        }
    };
    let of_texts = |value: &Value| value.as_array().unwrap().iter().all(Value::is_string);
    only(
        report,
        &[
            "organization-name",
            "date-range",
            "contact-info",
            "report-id",
            "policies",
        ],
    );
    text(report, "organization-name");
    text(report, "contact-info");
    assert!(text(report, "report-id").contains('@'));
    for key in ["start-datetime", "end-datetime"] {
        text(&report["date-range"], key)
            .parse::<jiff::Timestamp>()
            .unwrap();
    }
    for policy in report["policies"].as_array().unwrap() {
        only(policy, &["policy", "summary", "failure-details"]);
        let applied = &policy["policy"];
        only(
            applied,
            &["policy-type", "policy-string", "policy-domain", "mx-host"],
        );
        assert!(["tlsa", "sts", "no-policy-found"].contains(&&*text(applied, "policy-type")));
        text(applied, "policy-domain");
        assert!(of_texts(&applied["policy-string"]) && of_texts(&applied["mx-host"]));
        let summary = &policy["summary"];
        number(summary, "total-successful-session-count");
        let failures = number(summary, "total-failure-session-count");
        let mut counted = 0;
        for detail in policy["failure-details"].as_array().unwrap() {
            only(
                detail,
                &[
                    "result-type",
                    "sending-mta-ip",
                    "receiving-mx-hostname",
                    "receiving-mx-helo",
                    "receiving-ip",
                    "failed-session-count",
                    "additional-information",
                    "failure-reason-code",
                ],
            );
            assert!(TlsResult::parse(&text(detail, "result-type")).is_some());
            counted += number(detail, "failed-session-count");
        }
        assert_eq!(counted, failures);
    }
}

/// R8460-4a.
#[test]
fn a_report_is_as_the_schema_has_it() {
    let sts = AppliedPolicy::new(
        PolicyKind::Sts,
        "version: STSv1\nmode: enforce\nmx: mx1.asks.example\nmx: *.asks.example\nmax_age: 1\n",
    );
    let tlsa = AppliedPolicy::new(PolicyKind::Tlsa, "3 1 1 ab");
    let counted = |session, count| Counted {
        day: Day(20_000),
        session,
        count,
    };
    let failure = |policy: &AppliedPolicy, result| TlsSession {
        host: "mx1.asks.example".into(),
        receiving: Some([192, 0, 2, 1].into()),
        sending: Some("2001:db8::1".parse().unwrap()),
        ..TlsSession::failure("asks.example", policy.clone(), result, "why \"it\" is so")
    };
    let all = [
        counted(TlsSession::success("asks.example", sts.clone()), 5),
        counted(failure(&sts, TlsResult::CertificateExpired), 2),
        counted(failure(&sts, TlsResult::StartTlsNotSupported), 1),
        counted(failure(&tlsa, TlsResult::ValidationFailure), 4),
        counted(
            TlsSession::failure("asks.example", tlsa.clone(), TlsResult::DnssecInvalid, ""),
            1,
        ),
    ];
    let report = json(
        &options(),
        "1@mail.ours.example",
        Day(20_000),
        "asks.example",
        &all,
    );
    check_schema(&report);
    let range = &report["date-range"];
    assert_eq!(range["start-datetime"], "2024-10-04T00:00:00Z");
    assert_eq!(range["end-datetime"], "2024-10-04T23:59:59Z");
    let policies = report["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 2);
    let of = |kind: &str| {
        let found = policies
            .iter()
            .find(|it| it["policy"]["policy-type"] == kind);
        found.unwrap_or_else(|| panic!("{kind}: {report}"))
    };
    let by_sts = of("sts");
    assert_eq!(by_sts["summary"]["total-successful-session-count"], 5);
    assert_eq!(by_sts["summary"]["total-failure-session-count"], 3);
    assert_eq!(
        by_sts["policy"]["mx-host"],
        serde_json::json!(["mx1.asks.example", "*.asks.example"])
    );
    assert_eq!(
        of("tlsa")["policy"]["policy-string"],
        serde_json::json!(["3 1 1 ab"])
    );
    check_schema(&json(&options(), "1@x", Day(1), "asks.example", &[]));
}
