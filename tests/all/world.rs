//! What a server is started with: configuration, accounts and certificates, made once and copied.
//!
//! The world is the one that the transcripts speak of: alice may send as herself and as anything at
//! wonder.example; bob has an account too; example.org holds accounts only; any.example takes
//! everything; nowhere.example has no route.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tempfile::TempDir;

use crate::server::gatepost;

pub const ALICE: &str = "alice@example.org";
pub const PASSWORD: &str = "tulips-and-4-onions";
pub const BOB: &str = "bob@example.org";

/// Settings that differ from one test to the next: lines of the configuration by table, and routes
/// beside those that are always there.
#[derive(Clone, Debug)]
pub struct Settings {
    lines: Vec<(&'static str, String)>,
    routes: Vec<String>,
}

impl Settings {
    /// Short waits for nothing, cheap hashes, guesses from this machine not counted.
    pub fn new() -> Settings {
        let none = Settings {
            lines: Vec::new(),
            routes: Vec::new(),
        };
        none.with("listeners", "submissions = [\"127.0.0.1:0\"]")
            .with("listeners", "submission = [\"127.0.0.1:0\"]")
            .with("limits", "message_size = 100000")
            .with("limits", "recipients = 100")
            .with("limits", "errors = 25")
            .with("auth", "argon2_memory = 65536")
            .with("auth", "argon2_iterations = 1")
            .with("auth.throttle", "exempt = [\"127.0.0.0/8\"]")
            .with("queue", "retry_first = \"1s\"")
            .with("spool", "reserve = 0")
            .with("spool", "reserve_inodes = 0")
            .with("timeouts", "shutdown = \"5s\"")
    }

    /// Sets `line`, in place of an earlier line of the same key.
    pub fn with(mut self, table: &'static str, line: &str) -> Settings {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        self.lines
            .retain(|(other, old)| *other != table || key(old) != key(line));
        self.lines.push((table, line.to_owned()));
        self
    }

    /// Adds a route: the lines below `[[routes]]`, with sub-tables where it has some.
    pub fn route(mut self, lines: &str) -> Settings {
        self.routes.push(lines.to_owned());
        self
    }

    fn table(&self, table: &str) -> String {
        let lines = self.lines.iter().filter(|(name, _)| *name == table);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }
}

pub fn configuration(directory: &Path, http: SocketAddr, settings: &Settings) -> String {
    let here = directory.display();
    let mut text = format!(
        r#"hostname = "mail.example.org"
data_dir = "{here}/data"
postmaster = "{ALICE}"
{top}
[listeners]
{listeners}
[[certificates]]
cert = "{here}/certs/cert.pem"
key = "{here}/certs/key.pem"
{more}
[[routes]]
name = "accounts"
domains = ["example.org"]
path = "{here}/mail/{{address}}"
recipients = "accounts"

[[routes]]
name = "any"
domains = ["any.example"]
path = "{here}/mail/{{address}}"
recipients = "any"

[http]
listen = ["{http}"]

[log]
level = "debug"
"#,
        top = settings.table(""),
        listeners = settings.table("listeners"),
        more = settings.table("certificates"),
    );
    for table in [
        "limits",
        "timeouts",
        "auth",
        "auth.throttle",
        "oauth",
        "directory",
        "client_certificates",
        "brake",
        "intake",
        "queue",
        "delivery",
        "dns",
        "mta_sts",
        "security",
        "tls_reports",
        "spool",
    ] {
        text += &format!("\n[{table}]\n{}", settings.table(table));
    }
    for route in &settings.routes {
        text += &format!("\n[[routes]]\n{route}\n");
    }
    text
}

/// An address where nobody listens. Its port is below those that the system gives to connections
/// by itself (ip_local_port_range), so that nobody takes it before the one it is for.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(131);
    loop {
        let number = begin.wrapping_add(GIVEN.fetch_add(1, Relaxed)) % 20_000;
        let port = 10_000 + u16::try_from(number).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The data directory with alice and bob in it, made once by the commands a postmaster uses.
pub fn accounts() -> PathBuf {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let directory = MADE.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("accounts-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let here = directory.path();
        copy(&certificates(), &here.join("certs"));
        make_private(&here.join("data"));
        let config = here.join("gatepost.toml");
        fs::write(
            &config,
            configuration(here, free_address(), &Settings::new()),
        )
        .unwrap();
        let password = format!("{PASSWORD}\n");
        for (arguments, input) in [
            (&["domain", "add", "example.org"][..], ""),
            (&["domain", "add", "wonder.example"], ""),
            (&["user", "add", ALICE, "--password-stdin"], &password),
            (
                &["user", "add", BOB, "--password-stdin"],
                "bobs-other-secret\n",
            ),
            (&["user", "address", "add", ALICE, "*@wonder.example"], ""),
        ] {
            gatepost(&config, arguments, input).unwrap();
        }
        directory
    });
    directory.path().join("data")
}

/// An authority and a certificate for localhost, made once.
pub fn certificates() -> PathBuf {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let directory = MADE.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("certs-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        gatepost::tls::dev::certificate(&directory.path().join("certs"), SystemTime::now())
            .unwrap();
        directory
    });
    directory.path().join("certs")
}

fn make_private(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    make_private(to);
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else if path.is_file() {
            fs::copy(&path, &to).unwrap();
        }
    }
}
