//! `gatepost doctor`: looks at what mail depends on outside of the configuration: the resolver, the
//! way out, certificates, names and other records, the clock, the disk.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{answer::Answer, timestamp};
use crate::{
    config::Loaded,
    dns::{Dns, Exchange, Validation},
    policy::routes::{Mx, Transport},
    server::{DATABASE, inspect_pairs, logging::escape},
    smtp::Domain,
    store::{Store, StoreError},
};

/// Whose mail hosts are connected to where nobody says otherwise: one that always answers.
const REACHED: &str = "gmail.com";
/// How long the way out may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Domains whose records are looked for.
const DOMAINS_MOST: usize = 50;
/// Writes that are timed.
const SYNCS: u32 = 20;
/// No disk that keeps what it says answers faster: the fastest need some tens of microseconds.
const TOO_FAST: Duration = Duration::from_micros(15);

/// What to look at.
#[derive(Args, Debug)]
pub struct Doctor {
    /// A domain whose mail hosts are connected to, to see whether port 25 is open; nothing is sent.
    #[arg(long, value_name = "DOMAIN", default_value = REACHED)]
    mail_host_of: String,
}

/// How a matter stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Good,
    Warning,
    Bad,
}

/// One matter that was looked at.
#[derive(Debug)]
struct Matter {
    name: &'static str,
    state: State,
    words: String,
}

impl Matter {
    fn new(name: &'static str, state: State, words: impl Into<String>) -> Self {
        Matter {
            name,
            state,
            words: words.into(),
        }
    }
}

impl Doctor {
    /// Looks at everything and prints it; fails where something keeps mail from being delivered.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub async fn run(self, loaded: &Loaded, json: bool) -> Result<ExitCode> {
        let mx = mail_hosts(loaded);
        let dns = Dns::new(loaded.options.dns.clone());
        let validation = dns.validation().await;
        let mut matters = vec![resolver(loaded, &validation, mx.is_some())];
        matters.push(clock(&validation));
        matters.extend(certificates(loaded));
        matters.extend(own_names(loaded, &dns).await);
        if let Some(mx) = mx {
            matters.push(way_out(&dns, &self.mail_host_of, &mx).await);
        }
        matters.extend(records(loaded, &dns).await);
        matters.push(disk(&loaded.config.data_dir));
        let is_bad = matters.iter().any(|it| it.state == State::Bad);
        answer(&matters).print(json)?;
        Ok(match is_bad {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

fn answer(matters: &[Matter]) -> Answer {
    let word = |state| match state {
        State::Good => "good",
        State::Warning => "warning",
        State::Bad => "bad",
    };
    Answer {
        text: matters
            .iter()
            .map(|it| {
                format!(
                    "{:8} {:12} {}\n",
                    word(it.state),
                    it.name,
                    escape(&it.words)
                )
            })
            .collect(),
        objects: matters
            .iter()
            .map(|it| json!({ "matter": it.name, "state": word(it.state), "words": it.words }))
            .collect(),
    }
}

fn mail_hosts(loaded: &Loaded) -> Option<Mx> {
    let routes = loaded.options.queue.routes.routes().iter();
    let mut hosts = routes.filter_map(|route| match &route.transport {
        Transport::Mx(mx) => Some(mx.clone()),
        _ => None,
    });
    hosts.next()
}

fn resolver(loaded: &Loaded, validation: &Validation, has_mail_hosts: bool) -> Matter {
    let Some(why) = validation.why_not() else {
        return Matter::new(
            "resolver",
            State::Good,
            "it validates DNSSEC, and is believed",
        );
    };
    let is_strict = loaded.options.forecast.levels.has_strict();
    let text =
        format!("{why}; DANE and verified delivery are not to be had: run unbound on this machine");
    match (has_mail_hosts, is_strict) {
        (true, true) => Matter::new("resolver", State::Bad, text),
        (true, false) => Matter::new("resolver", State::Warning, text),
        (false, _) => Matter::new("resolver", State::Good, format!("{why}; no route needs it")),
    }
}

/// Signatures of the root are good for about two weeks: who can check them has the right date.
fn clock(validation: &Validation) -> Matter {
    let now = timestamp(SystemTime::now());
    match validation {
        Validation::Works => Matter::new(
            "clock",
            State::Good,
            format!("{now}; signatures of the DNS root are valid at this time"),
        ),
        _ => Matter::new(
            "clock",
            State::Warning,
            format!("{now}; nothing here can tell whether that is right"),
        ),
    }
}

fn certificates(loaded: &Loaded) -> Vec<Matter> {
    let host = &loaded.config.hostname;
    let (mut matters, mut named) = (Vec::new(), false);
    for pair in inspect_pairs(loaded, SystemTime::now()) {
        match pair {
            Err(finding) => {
                named = true;
                matters.push(Matter::new("certificate", State::Bad, finding.text));
            }
            Ok(found) => {
                let names = &found.certificate.names;
                named |= names.iter().any(|name| super::check::covers(name, host));
                let until = timestamp(found.certificate.not_after);
                let about = format!("for {}, until {until}", names.join(" "));
                matters.push(match found.warnings.as_slice() {
                    [] => Matter::new("certificate", State::Good, about),
                    warnings => {
                        let text = format!("{about}: {}", warnings.join("; "));
                        Matter::new("certificate", State::Warning, text)
                    }
                });
            }
        }
    }
    if !named {
        let text = format!("none is for {host}, by which clients will know this server");
        matters.push(Matter::new("certificate", State::Bad, text));
    }
    matters
}

/// The host's own name, and the names of its addresses.
async fn own_names(loaded: &Loaded, dns: &Dns) -> Vec<Matter> {
    let host = &loaded.options.deliver.hops.hello_name;
    let addresses = match dns.addresses(host).await {
        Ok(answer) if answer.records.is_empty() => {
            let text =
                format!("{host} has no address in the DNS; clients and other servers need one");
            return vec![Matter::new("own name", State::Bad, text)];
        }
        Ok(answer) => answer.records,
        Err(error) => return vec![Matter::new("own name", State::Warning, error.to_string())],
    };
    let mut matters = Vec::new();
    for address in addresses {
        matters.push(pointer(dns, host, address).await);
    }
    matters
}

/// Many servers take no mail from an address whose name does not lead back to it.
async fn pointer(dns: &Dns, host: &Domain, address: IpAddr) -> Matter {
    let names = match dns.ptr(address).await {
        Ok(answer) => answer.records,
        Err(error) => return Matter::new("own address", State::Warning, error.to_string()),
    };
    if names
        .iter()
        .any(|name| name.canonical() == host.canonical())
    {
        let text = format!("{address} is named {host} (PTR)");
        return Matter::new("own address", State::Good, text);
    }
    let named: Vec<_> = names.iter().map(Domain::canonical).collect();
    let named = match named.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(" "),
    };
    let text = format!(
        "{address} is named {named} (PTR), not {host}; many servers refuse mail for that. The \
         provider of the address sets it"
    );
    Matter::new("own address", State::Warning, text)
}

/// Whether what our domains need is published.
async fn records(loaded: &Loaded, dns: &Dns) -> Vec<Matter> {
    let name = "records";
    let failed = |error: String| vec![Matter::new(name, State::Bad, error)];
    let path = loaded.config.data_dir.join(DATABASE);
    let store = match Store::open_read_only(&path).await {
        Ok(store) => store,
        // Nothing was added yet.
        Err(StoreError::NotFound) => return Vec::new(),
        Err(error) => return failed(error.to_string()),
    };
    let domains = match store.domains().await {
        Ok(domains) => domains,
        Err(error) => return failed(error.to_string()),
    };
    let mut matters = Vec::new();
    for domain in domains.iter().take(DOMAINS_MOST) {
        let Ok(parsed) = Domain::parse(domain) else {
            continue;
        };
        let look = format!("see gatepost dns {domain} --check");
        matters.push(
            match super::dns::standing(loaded, dns, &store, &parsed).await {
                Err(error) => Matter::new(name, State::Warning, format!("{domain}: {error:#}")),
                Ok((bad, wanting)) => match (bad.as_slice(), wanting.as_slice()) {
                    ([], []) => {
                        let text = format!("{domain}: everything is published");
                        Matter::new(name, State::Good, text)
                    }
                    ([], wanting) => {
                        let text = format!("{domain}: {}; {look}", wanting.join(", "));
                        Matter::new(name, State::Warning, text)
                    }
                    (bad, _) => {
                        let text = format!("{domain}: {}; {look}", bad.join(", "));
                        Matter::new(name, State::Bad, text)
                    }
                },
            },
        );
    }
    store.close().await;
    matters
}

/// Whether anybody can be reached on the port of mail hosts.
async fn way_out(dns: &Dns, domain: &str, mx: &Mx) -> Matter {
    let name = "way out";
    let Ok(parsed) = Domain::parse(domain) else {
        return Matter::new(name, State::Bad, format!("{domain} is no domain"));
    };
    let hosts = match dns.mx(&parsed).await {
        Ok(answer) => answer.records,
        Err(error) => return Matter::new(name, State::Bad, error.to_string()),
    };
    let first = hosts.iter().min_by_key(|host| host.preference);
    let host = match first.map(|it| &it.exchange) {
        Some(Exchange::Host(host)) => host.clone(),
        Some(Exchange::Null) | None => parsed,
    };
    let addresses = match dns.addresses(&host).await {
        Ok(answer) => answer.records,
        Err(error) => return Matter::new(name, State::Bad, error.to_string()),
    };
    let mut why = format!("{host} has no address");
    for address in addresses {
        let to = SocketAddr::new(address, mx.port);
        let connected =
            tokio::task::spawn_blocking(move || TcpStream::connect_timeout(&to, PATIENCE));
        match connected.await {
            Ok(Ok(_)) => {
                let text = format!("{host} ({to}) can be connected to");
                return Matter::new(name, State::Good, text);
            }
            Ok(Err(error)) => why = format!("{host} ({to}): {error}"),
            Err(error) => why = error.to_string(),
        }
    }
    let text = format!(
        "{why}; many providers block port 25 until they are asked to open it. Without it, mail needs \
         a smarthost (transport = \"relay\")"
    );
    Matter::new(name, State::Bad, text)
}

/// Whether a sync takes as long as it must.
fn disk(directory: &Path) -> Matter {
    match sync_time(directory) {
        Err(error) => {
            let text = format!("{}: {error}", directory.display());
            Matter::new("disk", State::Bad, text)
        }
        Ok(time) if time < TOO_FAST => {
            let text = format!(
                "a sync takes {} µs: faster than any disk is. It may not keep what it says at a power \
                 cut",
                time.as_micros()
            );
            Matter::new("disk", State::Warning, text)
        }
        Ok(time) => Matter::new(
            "disk",
            State::Good,
            format!("a sync takes {} µs", time.as_micros()),
        ),
    }
}

fn sync_time(directory: &Path) -> std::io::Result<Duration> {
    let path = directory.join("doctor.tmp");
    let timed = || {
        let mut file = fs::File::create(&path)?;
        let mut least = Duration::MAX;
        for _ in 0..SYNCS {
            file.write_all(&[0x55; 4096])?;
            let begun = Instant::now();
            file.sync_data()?;
            least = least.min(begun.elapsed());
        }
        Ok(least)
    };
    let time = timed();
    let _ = fs::remove_file(&path);
    time
}
