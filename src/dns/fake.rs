//! A DNS for tests: what it says is set by hand, and changed at will.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{Absence, Asked, Data, Dns, DnsError, Kind, Options, Record, Reply, Source, Verdict};
use crate::envelope::Tlsa;

/// Whether DNSSEC vouches for what is set.
pub(crate) use super::Verdict::{Insecure, Secure};

/// Answers what was set; nobody has heard of other names.
#[derive(Default)]
pub(crate) struct Fake(Mutex<State>);

/// What is said of one question; nothing where nobody can tell.
type Said = Option<(Vec<Data>, Verdict)>;

#[derive(Default)]
struct State {
    said: HashMap<(String, Kind), Said>,
    aliases: HashMap<String, (String, Verdict)>,
    asked: Vec<(String, Kind)>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Fake> {
        Arc::default()
    }

    /// One that asks it, and remembers nothing from before.
    pub(crate) fn dns(self: &Arc<Self>) -> Dns {
        Dns::with_source(self.clone(), Options::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn say(&self, name: &str, kind: Kind, data: Vec<Data>, verdict: Verdict) {
        let said = Some((data, verdict));
        self.state().said.insert((name.to_owned(), kind), said);
    }

    /// Mail hosts with their preferences; the name `""` is the root.
    pub(crate) fn mx(&self, name: &str, hosts: &[(u16, &str)], verdict: Verdict) {
        let data = hosts.iter().map(|(n, host)| Data::Mx(*n, (*host).into()));
        self.say(name, Kind::Mx, data.collect(), verdict);
    }

    pub(crate) fn address(&self, name: &str, address: IpAddr, verdict: Verdict) {
        let kind = if address.is_ipv4() {
            Kind::A
        } else {
            Kind::Aaaa
        };
        self.say(name, kind, vec![Data::Address(address)], verdict);
        let other = if address.is_ipv4() {
            Kind::Aaaa
        } else {
            Kind::A
        };
        self.say(name, other, Vec::new(), verdict);
    }

    pub(crate) fn txt(&self, name: &str, texts: &[&str]) {
        let data = texts.iter().map(|text| Data::Txt((*text).to_owned()));
        self.say(name, Kind::Txt, data.collect(), Insecure);
    }

    pub(crate) fn tlsa(&self, name: &str, records: &[Tlsa], verdict: Verdict) {
        let data = records.iter().cloned().map(Data::Tlsa);
        self.say(name, Kind::Tlsa, data.collect(), verdict);
    }

    /// A name that stands for another one.
    pub(crate) fn alias(&self, name: &str, target: &str, verdict: Verdict) {
        let to = (target.to_owned(), verdict);
        self.state().aliases.insert(name.to_owned(), to);
    }

    /// Nobody can tell; what DNSSEC contradicts.
    pub(crate) fn bogus(&self, name: &str, kind: Kind) {
        self.state().said.insert((name.to_owned(), kind), None);
    }

    /// What was set is gone.
    pub(crate) fn forget(&self, name: &str, kind: Kind) {
        self.state().said.remove(&(name.to_owned(), kind));
    }

    /// The questions so far.
    pub(crate) fn asked(&self) -> Vec<(String, Kind)> {
        self.state().asked.clone()
    }

    fn answer(&self, name: &str, kind: Kind) -> Result<Reply, DnsError> {
        let mut state = self.state();
        state.asked.push((name.to_owned(), kind));
        if let Some((target, verdict)) = state.aliases.get(name) {
            let data = vec![Data::Alias(target.as_str().into())];
            return Ok(reply(name, data, *verdict, None));
        }
        let has_other_records = state.said.keys().any(|(other, _)| other == name);
        match state.said.get(&(name.to_owned(), kind)) {
            Some(Some((data, verdict))) => {
                let absence = data.is_empty().then_some(Absence::Type);
                Ok(reply(name, data.clone(), *verdict, absence))
            }
            Some(None) => Err(DnsError::Bogus { name: name.into() }),
            None => {
                let absence = match has_other_records {
                    true => Absence::Type,
                    false => Absence::Name,
                };
                Ok(reply(name, Vec::new(), Secure, Some(absence)))
            }
        }
    }
}

impl Source for Fake {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asked<'a> {
        Box::pin(async move { self.answer(name, kind) })
    }
}

fn reply(name: &str, data: Vec<Data>, verdict: Verdict, absence: Option<Absence>) -> Reply {
    let record = |data| Record {
        owner: name.into(),
        ttl: Duration::from_secs(1),
        data,
    };
    Reply {
        records: data.into_iter().map(record).collect(),
        absence,
        verdict,
        is_trusted: true,
        absent_for: Duration::ZERO,
    }
}
