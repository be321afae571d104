//! From a name through its aliases to records, or to the proof that there are none.

use std::time::Instant;

use super::{Absence, Data, DnsError, Kind, Verdict, cache::Cache};

/// Aliases that are followed; a longer chain is no answer.
const ALIASES_MOST: usize = 8;

/// What stands at the end.
#[derive(Debug)]
pub(super) struct Chased {
    pub(super) data: Vec<Data>,
    pub(super) absence: Option<Absence>,
    pub(super) verdict: Verdict,
    pub(super) canonical: Box<str>,
    pub(super) aliased: bool,
    pub(super) until: Instant,
}

/// Follows aliases within each answer, and asks anew where an answer ends with one.
///
/// The verdict is that of all answers together (RFC 7672 §2.1.3).
pub(super) async fn chase(cache: &Cache, name: &str, kind: Kind) -> Result<Chased, DnsError> {
    let mut canonical: Box<str> = name.into();
    let mut verdict = Verdict::Secure;
    let mut until: Option<Instant> = None;
    let mut aliases = 0;
    loop {
        let asked = canonical.clone();
        let reply = cache.ask(&asked, kind).await?;
        verdict = verdict.and(reply.verdict);
        let reply_until = reply.until;
        until = Some(until.map_or(reply_until, |until| until.min(reply_until)));
        while let Some(target) = reply.alias_of(&canonical) {
            aliases += 1;
            if aliases > ALIASES_MOST {
                return Err(DnsError::Indeterminate {
                    name: name.into(),
                    why: "there are too many aliases on the way".into(),
                });
            }
            canonical = target.into();
        }
        let data: Vec<_> = reply
            .records
            .iter()
            .filter(|record| *record.owner == *canonical && record.data.is_of(kind))
            .map(|record| record.data.clone())
            .collect();
        // What an alias leads to was not part of this answer.
        if data.is_empty() && canonical != asked {
            continue;
        }
        return Ok(Chased {
            absence: match data.is_empty() {
                true => Some(reply.absence.unwrap_or(Absence::Type)),
                false => None,
            },
            data,
            verdict,
            aliased: aliases > 0,
            canonical,
            until: until.unwrap_or(reply_until),
        });
    }
}
