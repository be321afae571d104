//! Look-ups in the DNS, each with the word whether DNSSEC vouches for its answer.
//!
//! The word comes from a validating resolver on this machine (unbound), by its AD bit; we do not
//! validate ourselves. It is believed only from a loopback address, or from one that the operator
//! has named, for on the way from anywhere else it could be forged. One small trait, [`Source`],
//! hides where answers come from.
//!
//! What failed is never "no record": an attacker who can break an answer must not be able to make
//! it look like an absence. Aliases are followed here, and one that is not signed makes everything
//! behind it unsigned (RFC 7672 §2.1.3).
//!
//! The room knows no mail: what records mean is found out in `reach`. Speaks RFC 1035, 2308 (negative
//! answers), 4035 (AD, CD, DO), 6698 (TLSA), 6891 (EDNS), 7505 (null MX).

mod cache;
mod chase;
#[cfg(test)]
pub(crate) mod fake;
mod name;
mod options;
mod records;
mod resolv_conf;
mod resolver;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

pub use options::Options;
pub use records::{Exchange, Mx, Srv, is_null_mx};
pub use source::{Asked, Data, Kind, Record, Reply, Source};

use self::{cache::Cache, chase::Chased};
use crate::{envelope::Tlsa, smtp::Domain};

/// What DNSSEC says of an answer that it does not contradict.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// Every record of it, and every alias on the way, is signed by who may sign it.
    Secure,
    /// Nobody vouches for it.
    Insecure,
}

impl Verdict {
    /// Both together.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Secure, Verdict::Secure) => Verdict::Secure,
            _ => Verdict::Insecure,
        }
    }
}

/// What is not there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Absence {
    /// The name (NXDOMAIN).
    Name,
    /// Records of this type; the name may have others.
    Type,
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer<T> {
    /// The records; empty where there are none.
    pub records: Vec<T>,
    /// What is not there, where nothing is.
    pub absence: Option<Absence>,
    /// Whether DNSSEC vouches for records or absence.
    pub verdict: Verdict,
    /// The name at the end of its aliases.
    pub canonical: Box<str>,
    /// There were aliases on the way.
    pub aliased: bool,
    /// How long it may be remembered.
    pub valid_for: Duration,
}

/// Why nobody knows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DnsError {
    /// Signatures are wrong, missing or expired: somebody tampers with the answer, or the domain's
    /// own signing is broken.
    #[error(
        "the DNS answer for {} does not stand up to DNSSEC: forged on the way, or signed wrongly",
        shown(.name)
    )]
    Bogus {
        /// What was asked for.
        name: Box<str>,
    },
    /// No answer, or none that can be used.
    #[error("the DNS gives no answer for {}: {why}", shown(.name))]
    Indeterminate {
        /// What was asked for.
        name: Box<str>,
        /// In which way.
        why: Box<str>,
    },
}

/// A name for people; that of the root is empty.
fn shown(name: &str) -> &str {
    if name.is_empty() { "the root" } else { name }
}

/// Whether this server's resolver validates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Validation {
    /// It does, and is believed.
    Works,
    /// It answers, and vouches for nothing, not even for the root.
    Missing,
    /// It is not on this machine, and not one that the operator trusts.
    NotTrusted,
    /// It does not answer.
    Unreachable(DnsError),
}

impl Validation {
    /// Why DANE and verified delivery cannot work; `None` where they can.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Validation::Works => None,
            Validation::Missing => Some("the resolver does not validate DNSSEC".to_owned()),
            Validation::NotTrusted => Some(
                "the resolver is not on this machine, and not in dns.trusted: its word could be \
                 forged on the way"
                    .to_owned(),
            ),
            Validation::Unreachable(error) => Some(error.to_string()),
        }
    }
}

/// The keeper of the DNS. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Dns(Arc<ArcSwap<State>>);

struct State {
    options: Options,
    cache: Cache,
}

/// Records of one answer at most; whoever publishes more is served by the first of them.
const RECORDS_MOST: usize = 128;

impl Dns {
    /// A keeper that asks the resolvers that the options name, or else those of the system.
    pub fn new(options: Options) -> Self {
        let source = Arc::new(resolver::Resolver::new(&options));
        Dns::with_source(source, options)
    }

    /// A keeper with another source of answers.
    pub fn with_source(source: Arc<dyn Source>, options: Options) -> Self {
        let cache = Cache::new(source, &options);
        Dns(Arc::new(ArcSwap::from_pointee(State { options, cache })))
    }

    /// Other settings; what was known is forgotten where they differ.
    pub fn reload(&self, options: Options) {
        if self.0.load().options != options {
            let cache = Cache::new(Arc::new(resolver::Resolver::new(&options)), &options);
            self.0.store(Arc::new(State { options, cache }));
        }
    }

    /// The mail hosts of a domain.
    ///
    /// Names that no host can bear are left out.
    ///
    /// # Errors
    /// [`DnsError`], as in every look-up, where nobody knows.
    pub async fn mx(&self, domain: &Domain) -> Result<Answer<Mx>, DnsError> {
        let chased = self.chase(&domain.canonical(), Kind::Mx).await?;
        Ok(chased.answer(|data| match data {
            Data::Mx(preference, exchange) => records::mx(*preference, exchange),
            _ => None,
        }))
    }

    /// The addresses of a host, of both kinds.
    ///
    /// The verdict is secure where it is for both kinds. Where one of them cannot be had the whole
    /// cannot: it could have been suppressed to make the rest look like all.
    ///
    /// # Errors
    /// As [`Dns::mx`].
    pub async fn addresses(&self, host: &Domain) -> Result<Answer<IpAddr>, DnsError> {
        let name = host.canonical();
        let (six, four) = tokio::join!(self.chase(&name, Kind::Aaaa), self.chase(&name, Kind::A));
        let address = |data: &Data| match data {
            Data::Address(address) => Some(*address),
            _ => None,
        };
        let (six, four) = (six?.answer(address), four?.answer(address));
        let absence = match (six.absence, four.absence) {
            (Some(Absence::Name), _) | (_, Some(Absence::Name)) => Some(Absence::Name),
            (Some(Absence::Type), Some(Absence::Type)) => Some(Absence::Type),
            _ => None,
        };
        let mut records = six.records;
        records.extend(four.records);
        Ok(Answer {
            absence: absence.filter(|_| records.is_empty()),
            verdict: six.verdict.and(four.verdict),
            canonical: four.canonical,
            aliased: four.aliased || six.aliased,
            valid_for: six.valid_for.min(four.valid_for),
            records,
        })
    }

    /// The TLSA records for a TCP port of a host (RFC 6698 §3).
    ///
    /// # Errors
    /// As [`Dns::mx`].
    pub async fn tlsa(&self, base: &Domain, port: u16) -> Result<Answer<Tlsa>, DnsError> {
        let name = format!("_{port}._tcp.{}", base.canonical());
        let chased = self.chase(&name, Kind::Tlsa).await?;
        Ok(chased.answer(|data| match data {
            Data::Tlsa(record) => Some(record.clone()),
            _ => None,
        }))
    }

    /// The TXT records of a name, the strings of each put together.
    ///
    /// # Errors
    /// As [`Dns::mx`].
    pub async fn txt(&self, name: &str) -> Result<Answer<String>, DnsError> {
        let chased = self.chase(&name.to_ascii_lowercase(), Kind::Txt).await?;
        Ok(chased.answer(|data| match data {
            Data::Txt(text) => Some(text.clone()),
            _ => None,
        }))
    }

    /// The hosts of a service, by a name such as `_submissions._tcp.example.org` (RFC 2782).
    ///
    /// # Errors
    /// As [`Dns::mx`].
    pub async fn srv(&self, name: &str) -> Result<Answer<Srv>, DnsError> {
        let chased = self.chase(&name.to_ascii_lowercase(), Kind::Srv).await?;
        Ok(chased.answer(|data| match data {
            Data::Srv(record) => Some(record.clone()),
            _ => None,
        }))
    }

    /// The names of an address.
    ///
    /// # Errors
    /// As [`Dns::mx`].
    pub async fn ptr(&self, address: IpAddr) -> Result<Answer<Domain>, DnsError> {
        let chased = self.chase(&name::reverse(address), Kind::Ptr).await?;
        Ok(chased.answer(|data| match data {
            Data::Name(name) => Domain::parse(name).ok(),
            _ => None,
        }))
    }

    /// Whether a name is an alias for which DNSSEC vouches, wherever it leads (RFC 7672 §2.2.2).
    ///
    /// # Errors
    /// As [`Dns::mx`].
    pub async fn is_alias_secure(&self, host: &Domain) -> Result<bool, DnsError> {
        let reply = self.0.load_full();
        let reply = reply.cache.ask(&host.canonical(), Kind::Cname).await?;
        Ok(reply.verdict == Verdict::Secure && reply.absence.is_none())
    }

    /// Whether the resolver validates: it must vouch for the root, which is signed.
    pub async fn validation(&self) -> Validation {
        let state = self.0.load_full();
        match state.cache.ask("", Kind::Soa).await {
            Ok(reply) if reply.verdict == Verdict::Secure => Validation::Works,
            Ok(reply) if !reply.is_trusted => Validation::NotTrusted,
            Ok(_) => Validation::Missing,
            Err(error) => Validation::Unreachable(error),
        }
    }

    async fn chase(&self, name: &str, kind: Kind) -> Result<Chased, DnsError> {
        let state = self.0.load_full();
        chase::chase(&state.cache, name, kind).await
    }
}

impl Chased {
    /// The records that `read` makes of the data, each once.
    fn answer<T>(self, read: impl Fn(&Data) -> Option<T>) -> Answer<T>
    where
        T: Clone + Eq + std::hash::Hash,
    {
        let mut seen = HashSet::new();
        let mut records = Vec::new();
        for data in self.data.iter().take(RECORDS_MOST) {
            if let Some(record) = read(data)
                && seen.insert(record.clone())
            {
                records.push(record);
            }
        }
        let left = self.until.saturating_duration_since(Instant::now());
        Answer {
            records,
            absence: self.absence,
            verdict: self.verdict,
            canonical: self.canonical,
            aliased: self.aliased,
            valid_for: left,
        }
    }
}
