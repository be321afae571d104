//! Mail straight to the mail hosts of its recipients' domains: a real validating resolver over signed
//! zones, and hosts that are as they should be, or are not.

mod attacks;
mod choices;
mod commands;
mod evidence;
mod forecast;
mod levels;
mod peers;
mod requiretls;
mod tlsrpt;

use std::net::SocketAddr;

use crate::{
    hop::{Behaviour, Certificate, Hop, authority},
    lab::{Lab, PolicyHost, Signing, Zone},
    peers::free_port,
    server::{Server, Settings, wait_for},
};

/// Mail hosts that all listen on one port, each at an address of its own, and what the DNS says of
/// them.
struct Hosts {
    port: u16,
    next: u8,
    /// Records of the zones secure.test, insecure.test, sts.test and bogus.test.
    secure: String,
    insecure: String,
    sts: String,
    bogus: String,
}

impl Hosts {
    fn new() -> Hosts {
        Hosts {
            port: free_port().port(),
            next: 10,
            secure: String::new(),
            insecure: String::new(),
            sts: String::new(),
            bogus: String::new(),
        }
    }

    /// The next address, where something is about to listen.
    fn address(&mut self) -> SocketAddr {
        self.next += 1;
        SocketAddr::from(([127, 0, 0, self.next], self.port))
    }

    /// A host that listens.
    fn host(&mut self, behaviour: Behaviour) -> Hop {
        Hop::start_at(self.address(), behaviour)
    }

    /// The TLSA record of a host for its certificate.
    fn tlsa(&self, host: &str, certificate: Certificate) -> String {
        let digest = data_encoding::HEXLOWER.encode(&certificate.fingerprint());
        format!("_{}._tcp.{host} TLSA 3 0 1 {digest}\n", self.port)
    }

    fn zones(&self) -> Vec<Zone> {
        vec![
            Zone::signed("secure.test", self.secure.clone()),
            Zone::unsigned("insecure.test", self.insecure.clone()),
            Zone::unsigned("sts.test", self.sts.clone()),
            Zone::new("bogus.test", Signing::OtherKey, self.bogus.clone()),
        ]
    }
}

/// What a zone says of a domain with one mail host.
fn one_host(domain: &str, hop: &Hop) -> String {
    let address = hop.address().ip();
    format!("{domain} MX 10 {domain}-mx\n{domain}-mx A {address}\n")
}

/// Settings of a server that hands mail to the mail hosts of the laboratory.
fn settings(lab: &Lab, port: u16, policies: Option<&PolicyHost>) -> Settings {
    let ca = authority();
    let ca = ca.display();
    let settings = Settings::new()
        .with("queue", "retry_longest = \"2s\"")
        .with("delivery", "back_off = \"1s\"")
        .with("delivery", "back_off_longest = \"1s\"")
        .with("dns", &format!("servers = [\"{}\"]", lab.resolver()))
        .with("security", "forecast = \"0s\"")
        .route(&format!(
            "name = \"mx\"\ndomains = [\"*.test\"]\ntransport = \"mx\"\nport = {port}\nca = \"{ca}\"\n"
        ));
    match policies {
        Some(host) => settings
            .with("mta_sts", &format!("port = {}", host.port()))
            .with("mta_sts", &format!("ca = \"{ca}\"")),
        None => settings,
    }
}

/// Waits until nothing is in custody any more.
fn drained(server: &Server) {
    wait_for("an empty queue", || {
        (server.metric("gatepost_queue_messages") == 0.0).then_some(())
    });
}

/// The reports in a Maildir, as text.
fn reports(server: &Server, of: &str) -> Vec<String> {
    let mail = server.mail(of);
    let text = mail
        .iter()
        .map(|it| String::from_utf8_lossy(it).into_owned());
    text.collect()
}
