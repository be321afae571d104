//! MTA-STS: what a domain says of its mail hosts, in a TXT record and a policy file (RFC 8461 §3).
//!
//! Pure: fetching and keeping are `reach`'s business.

use std::time::Duration;

use crate::smtp::Domain;

/// Octets of a policy file that are taken (RFC 8461 §3.3 suggests it).
pub const POLICY_MOST: usize = 64 * 1024;
/// Longest time that a policy is kept: about a year (RFC 8461 §3.2).
pub const MAX_AGE_MOST: Duration = Duration::from_secs(31_557_600);
/// Patterns of one policy that are taken.
const PATTERNS_MOST: usize = 256;
/// Octets of a policy's id (RFC 8461 §3.1).
const ID_MOST: usize = 32;

/// What is to happen where a host does not live up to a policy (RFC 8461 §5).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StsMode {
    /// It does not get the message.
    Enforce,
    /// It gets the message, and the domain is told.
    Testing,
    /// As if there were no policy.
    None,
}

impl StsMode {
    /// The word for it in a policy, in rows and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            StsMode::Enforce => "enforce",
            StsMode::Testing => "testing",
            StsMode::None => "none",
        }
    }

    /// Reads [`StsMode::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [StsMode::Enforce, StsMode::Testing, StsMode::None]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

/// A policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StsPolicy {
    /// What is to happen.
    pub mode: StsMode,
    /// Which hosts are meant.
    pub mx: Vec<MxPattern>,
    /// How long it may be kept.
    pub max_age: Duration,
}

/// One host, or all hosts one label below a domain.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct MxPattern(Box<str>);

impl MxPattern {
    /// Reads a host name, or `*.` and a name.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("*.");
        let domain = Domain::parse(name.unwrap_or(text)).ok()?;
        if domain.literal().is_some() || !domain.is_fully_qualified() {
            return None;
        }
        let canonical = domain.canonical();
        Some(MxPattern(match name {
            Some(_) => format!("*.{canonical}").into(),
            None => canonical.into(),
        }))
    }

    /// Whether a host of this name is meant; the star stands for exactly one label (RFC 8461 §4.1).
    pub fn permits(&self, host: &Domain) -> bool {
        let host = host.canonical();
        match self.0.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => *self.0 == *host,
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a policy file is no policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StsPolicyError {
    /// It is not text.
    #[error("the policy is not ASCII text")]
    NotText,
    /// It is too long.
    #[error("the policy is over {POLICY_MOST} octets long")]
    TooLong,
    /// A line is not `key: value`.
    #[error("line {0} of the policy is not \"key: value\"")]
    Line(usize),
    /// A key is missing.
    #[error("the policy has no \"{0}\"")]
    Missing(&'static str),
    /// A value is none of those that a key takes.
    #[error("the policy's \"{0}\" has a value that it cannot have")]
    Value(&'static str),
    /// It names more hosts than anybody has.
    #[error("the policy names more than {PATTERNS_MOST} hosts")]
    TooManyHosts,
}

impl StsPolicy {
    /// Reads a policy file (RFC 8461 §3.2). Unknown keys do not matter; of keys but `mx` the first
    /// one counts.
    ///
    /// # Errors
    /// [`StsPolicyError`] where it is none.
    pub fn parse(text: &[u8]) -> Result<Self, StsPolicyError> {
        if text.len() > POLICY_MOST {
            return Err(StsPolicyError::TooLong);
        }
        let text = str::from_utf8(text).map_err(|_| StsPolicyError::NotText)?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for (n, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.trim().is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(StsPolicyError::Line(n + 1))?;
            let value = value.trim_matches([' ', '\t']);
            match key.trim_matches([' ', '\t']) {
                "version" => drop(version.get_or_insert(value)),
                "mode" => drop(mode.get_or_insert(value)),
                "max_age" => drop(max_age.get_or_insert(value)),
                "mx" => mx.push(value),
                _ => {}
            }
        }
        match version {
            None => return Err(StsPolicyError::Missing("version")),
            Some("STSv1") => {}
            Some(_) => return Err(StsPolicyError::Value("version")),
        }
        let mode = mode.ok_or(StsPolicyError::Missing("mode"))?;
        let mode = StsMode::parse(mode).ok_or(StsPolicyError::Value("mode"))?;
        let max_age = max_age.ok_or(StsPolicyError::Missing("max_age"))?;
        if max_age.is_empty() || max_age.len() > 10 || !max_age.bytes().all(|c| c.is_ascii_digit())
        {
            return Err(StsPolicyError::Value("max_age"));
        }
        let max_age: u64 = max_age
            .parse()
            .map_err(|_| StsPolicyError::Value("max_age"))?;
        if mx.is_empty() && mode != StsMode::None {
            return Err(StsPolicyError::Missing("mx"));
        }
        if mx.len() > PATTERNS_MOST {
            return Err(StsPolicyError::TooManyHosts);
        }
        let mx: Option<Vec<_>> = mx.into_iter().map(MxPattern::parse).collect();
        Ok(StsPolicy {
            mode,
            mx: mx.ok_or(StsPolicyError::Value("mx"))?,
            max_age: Duration::from_secs(max_age).min(MAX_AGE_MOST),
        })
    }

    /// Whether a host of this name is one of those that the policy names.
    pub fn permits(&self, host: &Domain) -> bool {
        host.literal().is_none() && self.mx.iter().any(|pattern| pattern.permits(host))
    }
}

/// The id that a domain's TXT records at `_mta-sts` give its policy (RFC 8461 §3.1).
///
/// Records that do not begin as one of these do not matter; of two that do, neither counts.
pub fn policy_id<'a>(records: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut ours = records.into_iter().filter(|record| {
        record
            .strip_prefix("v=STSv1")
            .is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
    });
    let only = ours.next().filter(|_| ours.next().is_none())?;
    let mut id = None;
    for field in only.split(';').skip(1) {
        let field = field.trim_matches([' ', '\t']);
        if let Some(value) = field.strip_prefix("id=") {
            id.get_or_insert(value);
        }
    }
    id.filter(|id| {
        (1..=ID_MOST).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests;
