//! Reports on TLS for domains that ask for them (RFC 8460): what is counted, where reports go, and when.

mod day;
mod places;

use std::net::IpAddr;

pub use day::{Day, due_at, try_again_after};
pub use places::{Place, places};

/// Octets of a policy's text that are kept and reported.
const POLICY_MOST: usize = 2048;
/// Octets of a reason.
const REASON_MOST: usize = 200;

/// Which kind of policy a session was held against (RFC 8460 §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PolicyKind {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// There was none.
    None,
}

impl PolicyKind {
    const ALL: [PolicyKind; 3] = [PolicyKind::Tlsa, PolicyKind::Sts, PolicyKind::None];

    /// The word in reports and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::Tlsa => "tlsa",
            PolicyKind::Sts => "sts",
            PolicyKind::None => "no-policy-found",
        }
    }

    /// Reads [`PolicyKind::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        PolicyKind::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// A policy as a report tells of it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AppliedPolicy {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its text, line by line: the TLSA records, or the policy file.
    pub text: Box<str>,
}

impl AppliedPolicy {
    /// With as much of the text as reports hold.
    pub fn new(kind: PolicyKind, text: &str) -> Self {
        let mut kept = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if kept.len() + line.len() + 1 > POLICY_MOST {
                break;
            }
            if !kept.is_empty() {
                kept.push('\n');
            }
            kept.extend(line.chars().filter(|c| !c.is_control()));
        }
        AppliedPolicy {
            kind,
            text: kept.into(),
        }
    }
}

/// How a session ended, as far as TLS goes (RFC 8460 §4.3).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsResult {
    /// As the policy asks.
    Success,
    /// No STARTTLS.
    StartTlsNotSupported,
    /// A certificate for other names.
    CertificateHostMismatch,
    /// A certificate whose time is over, or has not come.
    CertificateExpired,
    /// A certificate of nobody we trust.
    CertificateNotTrusted,
    /// Anything else that the policy asks for.
    ValidationFailure,
    /// No TLSA record can be used.
    TlsaInvalid,
    /// TLSA or MX records that DNSSEC contradicts, or that could not be looked up.
    DnssecInvalid,
    /// The policy could not be fetched.
    StsPolicyFetchError,
    /// What was fetched is no policy.
    StsPolicyInvalid,
    /// The policy host did not prove itself.
    StsWebPkiInvalid,
}

impl TlsResult {
    const ALL: [TlsResult; 11] = [
        TlsResult::Success,
        TlsResult::StartTlsNotSupported,
        TlsResult::CertificateHostMismatch,
        TlsResult::CertificateExpired,
        TlsResult::CertificateNotTrusted,
        TlsResult::ValidationFailure,
        TlsResult::TlsaInvalid,
        TlsResult::DnssecInvalid,
        TlsResult::StsPolicyFetchError,
        TlsResult::StsPolicyInvalid,
        TlsResult::StsWebPkiInvalid,
    ];

    /// The word in reports and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsResult::Success => "success",
            TlsResult::StartTlsNotSupported => "starttls-not-supported",
            TlsResult::CertificateHostMismatch => "certificate-host-mismatch",
            TlsResult::CertificateExpired => "certificate-expired",
            TlsResult::CertificateNotTrusted => "certificate-not-trusted",
            TlsResult::ValidationFailure => "validation-failure",
            TlsResult::TlsaInvalid => "tlsa-invalid",
            TlsResult::DnssecInvalid => "dnssec-invalid",
            TlsResult::StsPolicyFetchError => "sts-policy-fetch-error",
            TlsResult::StsPolicyInvalid => "sts-policy-invalid",
            TlsResult::StsWebPkiInvalid => "sts-webpki-invalid",
        }
    }

    /// Reads [`TlsResult::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        TlsResult::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// One session with a mail host, or the lack of one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TlsSession {
    /// Whose mail; lower case, ASCII.
    pub domain: Box<str>,
    /// What it was held against.
    pub policy: AppliedPolicy,
    /// How it ended.
    pub result: TlsResult,
    /// The mail host; empty for a success, and where none was spoken to.
    pub host: Box<str>,
    /// Its address.
    pub receiving: Option<IpAddr>,
    /// Ours, where it is known.
    pub sending: Option<IpAddr>,
    /// A word more than the result says; printable ASCII.
    pub reason: Box<str>,
}

impl TlsSession {
    /// One that went well: only their number is told.
    pub fn success(domain: &str, policy: AppliedPolicy) -> Self {
        TlsSession::failure(domain, policy, TlsResult::Success, "")
    }

    /// One that did not.
    pub fn failure(domain: &str, policy: AppliedPolicy, result: TlsResult, reason: &str) -> Self {
        let printable = reason.chars().map(|c| match c {
            ' '..='~' => c,
            _ => '?',
        });
        TlsSession {
            domain: domain.into(),
            policy,
            result,
            host: Box::default(),
            receiving: None,
            sending: None,
            reason: printable.take(REASON_MOST).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_texts_are_bounded() {
        for result in TlsResult::ALL {
            assert_eq!(TlsResult::parse(result.as_str()), Some(result));
        }
        for kind in PolicyKind::ALL {
            assert_eq!(PolicyKind::parse(kind.as_str()), Some(kind));
        }
        let text = "version: STSv1\r\nmode: enforce\r\n\r\nmx: a\u{1b}\r\n";
        let policy = AppliedPolicy::new(PolicyKind::Sts, text);
        assert_eq!(&*policy.text, "version: STSv1\nmode: enforce\nmx: a");
        let long = AppliedPolicy::new(PolicyKind::Sts, &"mx: a.example\n".repeat(1000));
        assert!(long.text.len() <= POLICY_MOST);
        let reason = "a\u{e4}\n".repeat(1000);
        let session = TlsSession::failure("a", long, TlsResult::Success, &reason);
        assert_eq!(session.reason.len(), REASON_MOST);
        assert!(session.reason.starts_with("a??a"));
    }
}
