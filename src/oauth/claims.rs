//! What a token says of its bearer.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{LEEWAY, Options, Refusal, invalid};

/// Octets of a name at most.
const NAME_MAX: usize = 255;

/// Claims of a JWT, or the answer of its issuer; whoever holds them knows that they are true.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(pub Map<String, Value>);

impl Claims {
    fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// Of an answer whose issuer has not been held against ours (RFC 7662 §2.2): what it says must
    /// fit, what it leaves out is the issuer's to know, but for whom the token is.
    pub fn is_meant_for(&self, options: &Options) -> Result<(), Refusal> {
        if self
            .text("iss")
            .is_some_and(|issuer| issuer != options.issuer)
        {
            return Err(invalid("another issuer"));
        }
        let ours = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| options.audiences.iter().any(|audience| audience == text))
        };
        let is_ours = match self.0.get("aud") {
            Some(Value::Array(several)) => several.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        if !is_ours {
            return Err(invalid("meant for somebody else"));
        }
        Ok(())
    }

    /// Whether an answer's time is over.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let end = self.0.get("exp").and_then(Value::as_u64);
        end.is_some_and(|end| end.saturating_add(LEEWAY.as_secs()) < since.as_secs())
    }

    /// The name of the account.
    pub fn name(&self, options: &Options) -> Result<String, Refusal> {
        self.has_scope(&options.scope)?;
        let claim = options.claim.as_str();
        // Whoever may write any address into a profile must not become its owner.
        if claim == "email" && self.0.get("email_verified").is_some_and(is_no) {
            return Err(invalid("the address is not verified"));
        }
        let name = self.text(claim).unwrap_or_default();
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(invalid(format!("no claim {claim:?}")));
        }
        Ok(match options.domain.as_str() {
            domain if !domain.is_empty() && !name.contains('@') => format!("{name}@{domain}"),
            _ => name.to_owned(),
        })
    }

    /// `scope` in one text (RFC 8693 §4.2), or `scp` in a list, as some issuers write it.
    fn has_scope(&self, wanted: &str) -> Result<(), Refusal> {
        let mut given: Vec<&str> = Vec::new();
        for claim in ["scope", "scp"] {
            match self.0.get(claim) {
                Some(Value::String(words)) => given.extend(words.split_ascii_whitespace()),
                Some(Value::Array(words)) => given.extend(words.iter().filter_map(Value::as_str)),
                Some(_) | None => {}
            }
        }
        match wanted
            .split_ascii_whitespace()
            .find(|word| !given.contains(word))
        {
            Some(word) => Err(invalid(format!("the scope lacks {word:?}"))),
            None => Ok(()),
        }
    }
}

fn is_no(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => !yes,
        Value::String(text) => text != "true",
        _ => true,
    }
}
