//! A DNS of our own: really signed zones on a real authoritative server (NSD), and a real validating
//! resolver (unbound) that trusts their root.
//!
//! ```text
//! let Some(lab) = Lab::start(&[Zone::signed("secure.test", "@ MX 10 mx1\nmx1 A 127.0.0.2")]) else {
//!     return; // not installed, and said so
//! };
//! … have lab.resolver() in [dns] servers …
//! ```
//!
//! Everything lies in a directory of the test's own and listens on loopback, on ports of its own.

mod https;

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

pub use https::PolicyHost;

use crate::{
    clients::{answers, present},
    peers::{Process, free_port},
};

/// How a zone is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signing {
    /// As it should be; absences by NSEC.
    Nsec,
    /// As it should be; absences by NSEC3.
    Nsec3,
    /// Not at all, and its parent says so.
    None,
    /// With another key than its parent vouches for.
    OtherKey,
    /// Until years ago.
    Expired,
}

/// A zone below the root.
#[derive(Clone, Debug)]
pub struct Zone {
    name: &'static str,
    records: String,
    signing: Signing,
    /// Its servers do not answer.
    silent: bool,
}

impl Zone {
    pub fn new(name: &'static str, signing: Signing, records: impl Into<String>) -> Zone {
        Zone {
            name,
            records: records.into(),
            signing,
            silent: false,
        }
    }

    /// Signed as it should be.
    pub fn signed(name: &'static str, records: impl Into<String>) -> Zone {
        Zone::new(name, Signing::Nsec, records)
    }

    /// Signed by nobody.
    pub fn unsigned(name: &'static str, records: impl Into<String>) -> Zone {
        Zone::new(name, Signing::None, records)
    }

    /// Signed, as the root says, and with no server that answers.
    pub fn silent(name: &'static str) -> Zone {
        Zone {
            silent: true,
            ..Zone::signed(name, "")
        }
    }
}

/// The running servers; they end when dropped.
pub struct Lab {
    resolver: SocketAddr,
    _unbound: Process,
    _nsd: Process,
    /// Holds the questions for silent zones, unanswered.
    _hole: UdpSocket,
}

impl Lab {
    /// None, loudly, where the programs are not installed.
    pub fn start(zones: &[Zone]) -> Option<Lab> {
        Lab::start_with("validator iterator", zones)
    }

    /// One whose resolver answers whatever it is told.
    pub fn start_without_validation(zones: &[Zone]) -> Option<Lab> {
        Lab::start_with("iterator", zones)
    }

    fn start_with(modules: &str, zones: &[Zone]) -> Option<Lab> {
        let installed = [
            ("unbound", answers(Command::new("unbound").arg("-V"))),
            ("nsd", answers(Command::new("nsd").arg("-v"))),
            (
                "ldns-signzone",
                answers(Command::new("ldns-signzone").arg("-v")),
            ),
        ];
        if !installed
            .into_iter()
            .all(|(name, there)| present(name, there))
        {
            return None;
        }
        let directory = directory("dns");
        let here = directory.path();
        let (authority, resolver) = (free_port(), free_port());
        let hole = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut root = String::from("@ NS ns\nns A 127.0.0.1\n");
        for zone in zones {
            let delegated = make(here, zone);
            root += &format!(
                "{0}. NS ns.{0}.\nns.{0}. A 127.0.0.1\n{delegated}",
                zone.name
            );
        }
        let anchor = make(here, &Zone::signed("", root));
        fs::write(here.join("anchor"), anchor).unwrap();
        fs::write(here.join("nsd.conf"), nsd_conf(here, zones, authority)).unwrap();
        fs::write(
            here.join("unbound.conf"),
            unbound_conf(
                here,
                modules,
                zones,
                authority,
                resolver,
                hole.local_addr().unwrap(),
            ),
        )
        .unwrap();
        let conf = here.join("nsd.conf").display().to_string();
        let unbound_conf = here.join("unbound.conf").display().to_string();
        let mut nsd = Process::start("NSD", directory, Path::new("nsd"), &["-d", "-c", &conf]);
        nsd.wait("a port", |_| TcpStream::connect(authority).ok());
        let own = self::directory("unbound");
        let mut unbound = Process::start(
            "unbound",
            own,
            Path::new("unbound"),
            &["-d", "-c", &unbound_conf],
        );
        unbound.wait("a port", |_| TcpStream::connect(resolver).ok());
        Some(Lab {
            resolver,
            _unbound: unbound,
            _nsd: nsd,
            _hole: hole,
        })
    }

    /// Where the resolver listens.
    pub fn resolver(&self) -> SocketAddr {
        self.resolver
    }
}

fn directory(name: &str) -> TempDir {
    let prefix = format!("{name}-");
    tempfile::Builder::new().prefix(&prefix).tempdir().unwrap()
}

/// The file of a zone as it is served.
fn file(here: &Path, zone: &str) -> PathBuf {
    let name = if zone.is_empty() { "root" } else { zone };
    here.join(format!("{name}.zone"))
}

/// Writes and signs a zone; gives the records by which its parent vouches for it.
fn make(here: &Path, zone: &Zone) -> String {
    let path = file(here, zone.name);
    let origin = if zone.name.is_empty() { "." } else { zone.name };
    let dot = if zone.name.is_empty() { "" } else { "." };
    let mut text =
        format!("$ORIGIN {origin}{dot}\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 5\n");
    if !zone.name.is_empty() {
        text += "@ NS ns\nns A 127.0.0.1\n";
    }
    text += &zone.records;
    fs::write(&path, text + "\n").unwrap();
    let key = key(here, origin);
    let ds = match zone.signing {
        Signing::None => return String::new(),
        // The parent knows another one.
        Signing::OtherKey => self::key(here, origin),
        Signing::Nsec | Signing::Nsec3 | Signing::Expired => key.clone(),
    };
    let mut sign = Command::new("ldns-signzone");
    sign.current_dir(here);
    match zone.signing {
        Signing::Nsec3 => drop(sign.arg("-n")),
        Signing::Expired => drop(sign.args(["-i", "20200101000000", "-e", "20200201000000"])),
        Signing::Nsec | Signing::None | Signing::OtherKey => {}
    }
    let signed = here.join("signed");
    sign.arg("-f").arg(&signed).arg(&path).arg(&key);
    run(&mut sign);
    fs::rename(&signed, &path).unwrap();
    let what = if zone.name.is_empty() { "key" } else { "ds" };
    fs::read_to_string(here.join(format!("{ds}.{what}"))).unwrap()
}

/// Makes a key; its name.
fn key(here: &Path, zone: &str) -> String {
    let mut generate = Command::new("ldns-keygen");
    generate
        .current_dir(here)
        .args(["-a", "ECDSAP256SHA256", "-k", zone]);
    run(&mut generate).trim().to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn nsd_conf(here: &Path, zones: &[Zone], authority: SocketAddr) -> String {
    let mut text = format!(
        "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  \
         zonesdir: \"{here}\"\n  pidfile: \"\"\n  xfrdfile: \"{here}/xfrd\"\n  \
         zonelistfile: \"{here}/list\"\n  xfrdir: \"{here}\"\n  server-count: 1\n\
         remote-control:\n  control-enable: no\n",
        authority.ip(),
        authority.port(),
        here = here.display(),
    );
    let names = zones.iter().map(|zone| zone.name).chain([""]);
    for name in names {
        let path = file(here, name);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "zone:\n  name: \"{name}.\"\n  zonefile: \"{}\"",
            path.display()
        );
    }
    text
}

fn unbound_conf(
    here: &Path,
    modules: &str,
    zones: &[Zone],
    authority: SocketAddr,
    resolver: SocketAddr,
    hole: SocketAddr,
) -> String {
    let mut text = format!(
        "server:\n  interface: {}@{}\n  do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n  \
         directory: \"{here}\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: 1\n  do-ip6: no\n  \
         do-not-query-localhost: no\n  trust-anchor-file: \"{here}/anchor\"\n  \
         module-config: \"{modules}\"\n  local-zone: \"test.\" nodefault\n  \
         val-log-level: 1\n  access-control: 127.0.0.0/8 allow\n  minimal-responses: no\n\
         remote-control:\n  control-enable: no\n",
        resolver.ip(),
        resolver.port(),
        here = here.display(),
    );
    let served = zones.iter().map(|zone| (zone.name, zone.silent));
    for (name, silent) in served.chain([("", false)]) {
        let at = if silent { hole } else { authority };
        let _ = writeln!(
            text,
            "stub-zone:\n  name: \"{name}.\"\n  stub-addr: {}@{}\n  stub-prime: no",
            at.ip(),
            at.port()
        );
    }
    text
}
