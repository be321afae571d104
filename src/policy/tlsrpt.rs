//! Reports on TLS for domains that ask for them (RFC 8460): what is counted, where reports go, and when.

use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::smtp::Mailbox;

/// Places that one domain's reports go to at most.
const PLACES: usize = 4;
/// Octets of a place, decoded.
const PLACE_MOST: usize = 500;
/// Octets of a policy's text that are kept and reported.
const POLICY_MOST: usize = 2048;
/// Octets of a reason.
const REASON_MOST: usize = 200;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A day in UTC, counted from 1970-01-01: what one report is about (RFC 8460 §4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Day(pub u32);

impl Day {
    /// The day of a moment.
    pub fn of(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Day(u32::try_from(since.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    pub fn start(self) -> SystemTime {
        UNIX_EPOCH + DAY * self.0
    }

    /// The moment after its last second.
    pub fn end(self) -> SystemTime {
        self.start() + DAY
    }

    /// So many days earlier.
    pub fn before(self, days: u32) -> Self {
        Day(self.0.saturating_sub(days))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = jiff::Timestamp::try_from(self.start());
        let start = start.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{}", start.strftime("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no day such as 2026-11-26");
        let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
        let start = day.to_datetime(jiff::civil::Time::midnight());
        let start = start.in_tz("UTC").map_err(|_| wrong())?;
        let days = start.timestamp().as_second() / 86_400;
        Ok(Day(u32::try_from(days).map_err(|_| wrong())?))
    }
}

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

/// Where reports on a domain go.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// To an address.
    Mail(Mailbox),
    /// To a web server, by POST.
    Https(String),
}

impl fmt::Display for Place {
    /// As the record has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Mail(mailbox) => write!(f, "mailto:{mailbox}"),
            Place::Https(url) => f.write_str(url),
        }
    }
}

impl Place {
    /// Reads one URI; none where it is of another kind, or nobody's.
    pub fn parse(uri: &str) -> Option<Self> {
        let uri = uri.trim();
        let is_of = |scheme: &str| {
            let begins = uri.get(..scheme.len());
            begins.is_some_and(|begins| begins.eq_ignore_ascii_case(scheme))
        };
        let decoded = decoded(uri)?;
        if is_of("mailto:") {
            let address = decoded["mailto:".len()..].split('?').next()?;
            let mailbox = Mailbox::parse(address).ok()?;
            // Nobody needs more for a report.
            return address.is_ascii().then_some(Place::Mail(mailbox));
        }
        // What is encoded in a path has to stay so.
        let is_plain = uri.bytes().all(|octet| octet.is_ascii_graphic());
        (is_of("https://") && is_plain).then(|| Place::Https(uri.to_owned()))
    }
}

/// Where reports go, by the texts at `_smtp._tls.<domain>` (RFC 8460 §3): nowhere unless exactly one of
/// them is such a record and names a place that we know how to reach.
pub fn places<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Place> {
    let mut records = texts.filter_map(|text| {
        let rest = text.trim_start().strip_prefix("v=TLSRPTv1")?;
        rest.trim_start().strip_prefix(';')
    });
    let (Some(record), None) = (records.next(), records.next()) else {
        return Vec::new();
    };
    let tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let mut rua = tags.filter(|(name, _)| name.trim() == "rua");
    let uris = rua.next().map_or("", |(_, value)| value).split(',');
    let mut places = Vec::new();
    for place in uris.filter_map(Place::parse) {
        if places.len() < PLACES && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// A URI with its percent signs resolved (RFC 3986 §2.1).
fn decoded(uri: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(uri.len());
    let mut rest = uri.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let digits = rest.get(..2)?;
        octets.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(octets).ok()?;
    (text.len() <= PLACE_MOST && !text.chars().any(char::is_control)).then_some(text)
}

/// When the report on a day is due: at a moment of its own within `window` after the day's end, so that
/// not all of the world's reports come at once (RFC 8460 §4.1). The same for every call.
pub fn due_at(day: Day, domain: &str, window: Duration) -> SystemTime {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (day, domain).hash(&mut hasher);
    let share = hasher.finish() % window.as_secs().max(1);
    day.end() + Duration::from_secs(share)
}

/// Attempts at a place are made for a day (RFC 8460 §5.5), with growing waits between them; none when
/// that time is over.
pub fn try_again_after(tries: u32, since_first: Duration) -> Option<Duration> {
    let wait = Duration::from_secs(300) * 2_u32.saturating_pow(tries.saturating_sub(1).min(7));
    let wait = wait.min(Duration::from_secs(4 * 3600));
    (since_first + wait <= DAY).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R8460-3a.
    #[test]
    fn records_say_where_reports_go() {
        let of = |texts: &[&str]| -> Vec<String> {
            let places = places(texts.iter().copied());
            places.iter().map(Place::to_string).collect()
        };
        for (texts, expected) in [
            (
                &["v=TLSRPTv1; rua=mailto:reports@example.com"][..],
                &["mailto:reports@example.com"][..],
            ),
            (
                &["v=TLSRPTv1;rua=https://a.example/v1?x=%20y, MAILTO:r@b.example;"],
                &["https://a.example/v1?x=%20y", "mailto:r@b.example"],
            ),
            (
                &[
                    "v=spf1 -all",
                    "v=TLSRPTv1; new=thing; rua=mailto:a%2Bb@c.example?subject=x",
                ],
                &["mailto:a+b@c.example"],
            ),
            (
                &[
                    "v=TLSRPTv1; rua=ftp://x.example/,http://x.example/,mailto:a@b.example,mailto:a@b.example",
                ],
                &["mailto:a@b.example"],
            ),
            (&["v=TLSRPTv1; rua=mailto:nobody"], &[]),
            (&["v=TLSRPTv1; rua=https://x.example/\u{e4}"], &[]),
            (&["v=TLSRPTv1; rua=mailto:a%0A@b.example"], &[]),
            (&["v=TLSRPTv1; rua=mailto:a%zz@b.example"], &[]),
            (&["v=TLSRPTv2; rua=mailto:a@b.example"], &[]),
            (&["v=TLSRPTv10; rua=mailto:a@b.example"], &[]),
            (&["v=TLSRPTv1; rua="], &[]),
            (
                &[
                    "v=TLSRPTv1; rua=mailto:a@b.example",
                    "v=TLSRPTv1; rua=mailto:c@b.example",
                ],
                &[],
            ),
            (&[], &[]),
        ] {
            assert_eq!(of(texts), expected, "{texts:?}");
        }
        let many = (0..9).map(|n| format!("mailto:a{n}@b.example"));
        let many = format!("v=TLSRPTv1; rua={}", many.collect::<Vec<_>>().join(","));
        assert_eq!(of(&[&many]).len(), PLACES);
        let long = format!("v=TLSRPTv1; rua=https://b.example/{}", "a".repeat(600));
        assert!(of(&[&long]).is_empty());
    }

    /// R8460-4.1a.
    #[test]
    fn a_day_is_reported_at_its_own_moment_after_its_end() {
        let day: Day = "2026-11-26".parse().unwrap();
        assert_eq!(day.to_string(), "2026-11-26");
        assert_eq!(Day::of(day.start()), day);
        assert_eq!(Day::of(day.end() - Duration::from_secs(1)), day);
        assert_eq!(Day::of(day.end()).before(1), day);
        let window = Duration::from_secs(4 * 3600);
        let mut seen = std::collections::HashSet::new();
        for n in 0..50 {
            let domain = format!("d{n}.example");
            let at = due_at(day, &domain, window);
            assert!(at >= day.end() && at < day.end() + window);
            assert_eq!(at, due_at(day, &domain, window));
            seen.insert(at);
        }
        assert!(seen.len() > 40, "{seen:?}");
        assert_eq!(due_at(day, "a.example", Duration::ZERO), day.end());
        for wrong in ["", "2026-13-01", "yesterday", "1969-12-31"] {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
    }

    /// R8460-5.5a.
    #[test]
    fn places_are_tried_for_a_day_with_growing_waits() {
        let (mut since, mut tries, mut last) = (Duration::ZERO, 1, Duration::ZERO);
        while let Some(wait) = try_again_after(tries, since) {
            assert!(wait >= last);
            (since, tries, last) = (since + wait, tries + 1, wait);
        }
        assert!(
            since > Duration::from_secs(19 * 3600) && since <= DAY,
            "{since:?}"
        );
        assert!((8..16).contains(&tries), "{tries}");
    }

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
