//! The report itself (RFC 8460 §4.4).

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use mail_auth::report::tlsrpt::{
    DateRange, FailureDetails, Policy, PolicyDetails, PolicyType, ResultType, Summary, TlsReport,
};
use serde_json::Value;

use super::Options;
use crate::{
    policy::tlsrpt::{AppliedPolicy, Day, PolicyKind, TlsResult},
    store::tls_reports::Counted,
};

/// A report on one domain and day.
pub(super) struct Document {
    /// Its name; the same for the same day and domain, so that a copy is known as one.
    pub(super) id: String,
    /// JSON, compressed.
    pub(super) gzip: Vec<u8>,
}

impl Document {
    /// What was counted of `domain` on `day`.
    pub(super) fn new(options: &Options, day: Day, domain: &str, counted: &[Counted]) -> Self {
        let id = id(options, day, domain);
        let json = json(options, &id, day, domain, counted);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let _ = encoder.write_all(json.to_string().as_bytes());
        Document {
            id,
            gzip: encoder.finish().unwrap_or_default(),
        }
    }
}

fn id(options: &Options, day: Day, domain: &str) -> String {
    let host = options.hostname.canonical();
    format!("{day}.{domain}@{host}")
}

pub(super) fn json(
    options: &Options,
    id: &str,
    day: Day,
    domain: &str,
    counted: &[Counted],
) -> Value {
    let mut policies: BTreeMap<&AppliedPolicy, Policy> = BTreeMap::new();
    for it in counted {
        let policy = policies
            .entry(&it.session.policy)
            .or_insert_with(|| begun(domain, &it.session.policy));
        let summary = &mut policy.summary;
        match result_type(it.session.result) {
            None => summary.total_success = summary.total_success.saturating_add(it.count),
            Some(result) => {
                summary.total_failure = summary.total_failure.saturating_add(it.count);
                policy.failure_details.push(details(result, it));
            }
        }
    }
    let seconds = |at: std::time::SystemTime| {
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or_default()
    };
    let report = TlsReport {
        organization_name: Some(options.organization.clone()),
        date_range: DateRange::from_timestamps(seconds(day.start()), seconds(day.end()) - 1),
        contact_info: Some(options.contact.clone()),
        report_id: id.to_owned(),
        policies: policies.into_values().collect(),
    };
    // Nothing in it cannot be written.
    let mut value = serde_json::to_value(report).unwrap_or_default();
    without_nulls(&mut value);
    value
}

fn begun(domain: &str, policy: &AppliedPolicy) -> Policy {
    let lines: Vec<String> = policy.text.lines().map(str::to_owned).collect();
    let kind = match policy.kind {
        PolicyKind::Tlsa => PolicyType::Tlsa,
        PolicyKind::Sts => PolicyType::Sts,
        PolicyKind::None => PolicyType::NoPolicyFound,
    };
    let mut details = PolicyDetails::new(kind, domain);
    if policy.kind == PolicyKind::Sts {
        let patterns = lines.iter().filter_map(|line| line.strip_prefix("mx:"));
        details.mx_host = patterns.map(|it| it.trim().to_owned()).collect();
    }
    details.policy_string = lines;
    Policy {
        policy: details,
        summary: Summary {
            total_success: 0,
            total_failure: 0,
        },
        failure_details: Vec::new(),
    }
}

fn details(result: ResultType, it: &Counted) -> FailureDetails {
    let session = &it.session;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    FailureDetails {
        sending_mta_ip: session.sending,
        receiving_mx_hostname: some(&session.host),
        receiving_ip: session.receiving,
        failed_session_count: it.count,
        failure_reason_code: some(&session.reason),
        ..FailureDetails::new(result)
    }
}

fn result_type(result: TlsResult) -> Option<ResultType> {
    Some(match result {
        TlsResult::Success => return None,
        TlsResult::StartTlsNotSupported => ResultType::StartTlsNotSupported,
        TlsResult::CertificateHostMismatch => ResultType::CertificateHostMismatch,
        TlsResult::CertificateExpired => ResultType::CertificateExpired,
        TlsResult::CertificateNotTrusted => ResultType::CertificateNotTrusted,
        TlsResult::ValidationFailure => ResultType::ValidationFailure,
        TlsResult::TlsaInvalid => ResultType::TlsaInvalid,
        TlsResult::DnssecInvalid => ResultType::DnssecInvalid,
        TlsResult::StsPolicyFetchError => ResultType::StsPolicyFetchError,
        TlsResult::StsPolicyInvalid => ResultType::StsPolicyInvalid,
        TlsResult::StsWebPkiInvalid => ResultType::StsWebpkiInvalid,
    })
}

/// What is not known is left out, not said to be nothing.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
