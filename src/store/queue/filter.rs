//! Which recipients in custody an operator means, and the conditions that find them.
//!
//! Every statement that filters is constant and takes all of a filter's values as parameters `$1`
//! to `$14` (S16); a value that is NULL asks for nothing. Texts are compared with the case of ASCII
//! letters folded on both sides, which is all the folding that SQLite knows.

use std::{fmt, str::FromStr, time::SystemTime};

use serde::{Deserialize, Serialize};
use sqlx::{Arguments, sqlite::SqliteArguments};

use super::{LEASE, RecipientState, milliseconds, span};
use crate::{
    smtp::{AddressError, Domain, Mailbox},
    store::StoreError,
};

/// What recipients have in common; an empty one means every recipient in custody.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Filter {
    /// Queue ids of their messages, as stored; none: any message.
    pub ids: Vec<String>,
    /// Who sent them.
    pub sender: Option<Party>,
    /// Who they are.
    pub recipient: Option<Party>,
    /// Accepted before this time.
    pub received_before: Option<SystemTime>,
    /// Accepted after this time.
    pub received_after: Option<SystemTime>,
    /// What they wait for, one of these; none: anything.
    pub states: Vec<RecipientState>,
    /// Login name of the account that submitted them.
    pub account: Option<String>,
}

/// An address, or all addresses of a domain.
///
/// An internationalized domain is found in the spelling that is given and as A-labels.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Party {
    /// The null reverse-path, `<>`.
    Null,
    /// This address.
    Mailbox(Mailbox),
    /// Any address of this domain, and of none below it.
    Domain(Domain),
}

impl FromStr for Party {
    type Err = AddressError;

    /// Reads `<>`, an address, `@domain` or `domain`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let inner = text.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
        match inner.unwrap_or(text) {
            "" if inner.is_some() => Ok(Party::Null),
            text => match text.strip_prefix('@') {
                Some(domain) => Domain::parse(domain).map(Party::Domain),
                None if text.contains('@') => Mailbox::parse(text).map(Party::Mailbox),
                None => Domain::parse(text).map(Party::Domain),
            },
        }
    }
}

impl TryFrom<String> for Party {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Party> for String {
    fn from(party: Party) -> String {
        party.to_string()
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Null => f.write_str("<>"),
            Party::Mailbox(mailbox) => mailbox.fmt(f),
            Party::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

/// What a stored address must equal, and what it must end with: two spellings of each.
type Spellings = [Option<String>; 4];

impl Party {
    fn spellings(&self) -> Spellings {
        let of = |local: &str, domain: &Domain| {
            let (given, canonical) = (domain.as_str(), domain.canonical());
            [given, &canonical].map(|domain| Some(format!("{local}@{domain}").to_ascii_lowercase()))
        };
        match self {
            Party::Null => [Some(String::new()), Some(String::new()), None, None],
            Party::Mailbox(mailbox) => {
                let [given, canonical] = of(mailbox.local_part(), mailbox.domain());
                [given, canonical, None, None]
            }
            Party::Domain(domain) => {
                let [given, canonical] = of("", domain);
                [None, None, given, canonical]
            }
        }
    }
}

impl Filter {
    /// Whether it means every recipient.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// The values of `$1` to `$14`.
    pub(super) fn arguments(
        &self,
        states: &[RecipientState],
        now: SystemTime,
    ) -> Result<SqliteArguments, StoreError> {
        let spellings = |party: &Option<Party>| match party {
            Some(party) => party.spellings(),
            None => Spellings::default(),
        };
        let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        let states = (!words.is_empty()).then(|| serde_json::json!(words).to_string());
        let mut arguments = SqliteArguments::default();
        add(&mut arguments, milliseconds(now))?;
        add(&mut arguments, span(LEASE))?;
        for spelling in spellings(&self.sender) {
            add(&mut arguments, spelling)?;
        }
        for spelling in spellings(&self.recipient) {
            add(&mut arguments, spelling)?;
        }
        add(&mut arguments, self.received_before.map(milliseconds))?;
        add(&mut arguments, self.received_after.map(milliseconds))?;
        add(&mut arguments, self.account.clone())?;
        add(&mut arguments, states)?;
        Ok(arguments)
    }

    /// The queue ids as a JSON array, each once.
    pub(super) fn id_array(&self) -> String {
        let ids: std::collections::BTreeSet<_> = self.ids.iter().collect();
        serde_json::json!(ids).to_string()
    }
}

/// Appends a value to those of a statement.
pub(super) fn add<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), StoreError>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    Arguments::add(arguments, value).map_err(|error| StoreError::Database(error.to_string()))
}

/// What recipient `r` waits for: a word of [`RecipientState`]. `$1` now, `$2` lease.
///
/// A claim lives while its incarnation was seen within the lease of now, on either side.
macro_rules! state {
    () => {
        r#"
        CASE WHEN r.status <> 'due' THEN r.status
             WHEN r.claimed_by IN (SELECT incarnation FROM nodes WHERE abs(seen_at - $1) < $2)
             THEN 'claimed'
             WHEN r.attempts > 0 THEN 'deferred'
             ELSE 'due'
        END
        "#
    };
}

/// Whether the filter means message `m`. `$3` to `$6` sender, `$11`, `$12` age, `$13` account.
macro_rules! message_matches {
    () => {
        r#"
        ($3 IS NULL OR lower(m.sender) IN ($3, $4))
        AND ($5 IS NULL
             OR substr(lower(m.sender), -length($5)) = $5
             OR substr(lower(m.sender), -length($6)) = $6)
        AND ($11 IS NULL OR m.received_at < $11)
        AND ($12 IS NULL OR m.received_at > $12)
        AND ($13 IS NULL OR m.account_name = $13)
        "#
    };
}

/// Whether the filter means recipient `r`. `$7` to `$10` address, `$14` states.
macro_rules! recipient_matches {
    () => {
        concat!(
            r#"
            ($7 IS NULL OR lower(r.address) IN ($7, $8))
            AND ($9 IS NULL
                 OR substr(lower(r.address), -length($9)) = $9
                 OR substr(lower(r.address), -length($10)) = $10)
            AND ($14 IS NULL OR "#,
            $crate::store::queue::filter::state!(),
            " IN (SELECT value FROM json_each($14)))"
        )
    };
}

pub(super) use {message_matches, recipient_matches, state};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_are_written_as_they_are_read() {
        for (text, written) in [
            ("<>", "<>"),
            ("Ann@Example.org", "Ann@Example.org"),
            ("<ann@example.org>", "ann@example.org"),
            ("\"a@b\"@example.org", "\"a@b\"@example.org"),
            ("example.org", "@example.org"),
            ("@example.org", "@example.org"),
        ] {
            let party: Party = text.parse().unwrap();
            assert_eq!(party.to_string(), written);
            let json = serde_json::to_string(&party).unwrap();
            assert_eq!(serde_json::from_str::<Party>(&json).unwrap(), party);
        }
        for text in ["", "@", "a b", "ann@", "<ann@example.org", "x@y@z"] {
            assert!(text.parse::<Party>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_international_domain_is_found_in_both_spellings() {
        let party: Party = "例え.JP".parse().unwrap();
        let [_, _, given, canonical] = party.spellings();
        assert_eq!(given.as_deref(), Some("@例え.jp"));
        assert_eq!(canonical.as_deref(), Some("@xn--r8jz45g.jp"));
    }
}
