//! Dovecot's LMTP server, on a Unix socket and on a port, with three users, and
//! its socket for passwords.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::{fs::chown, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

use super::{NOBODY, Process, directory, free_port, greets, installed, maildir};
use crate::hop::Certificate;

/// The password of everybody there.
pub const SECRET: &str = "dovecots-own-secret";
pub const BOB: &str = "bob@any.example";
pub const CY: &str = "cy@any.example";
/// Is taken at RCPT; the mail cannot be stored, which is said behind the content.
pub const STUCK: &str = "stuck@any.example";

/// A running Dovecot; it shows the good certificate of scripted hops behind STARTTLS.
pub struct Dovecot {
    pub lmtp: SocketAddr,
    pub(super) process: Process,
}

impl Dovecot {
    /// None, loudly, where it cannot be had.
    pub fn start() -> Option<Dovecot> {
        let lmtp = Path::new("/usr/lib/dovecot/lmtp");
        if !installed("Dovecot", Command::new("dovecot").arg("--version"))
            || !installed(
                "Dovecot's LMTP server",
                Command::new("test").arg("-x").arg(lmtp),
            )
        {
            return None;
        }
        let lmtp = free_port();
        let directory = directory("dovecot", &["run", "mail"]);
        let here = directory.path();
        chown(here.join("mail"), Some(NOBODY), Some(NOBODY)).unwrap();
        let user = |name: &str, home: &Path| {
            format!(
                "{name}:{{PLAIN}}{SECRET}:{NOBODY}:{NOBODY}::{}::\n",
                home.display()
            )
        };
        let users = user(BOB, &here.join("mail").join(BOB))
            + &user(CY, &here.join("mail").join(CY))
            + &user(STUCK, Path::new("/proc/stuck"));
        fs::write(here.join("users"), users).unwrap();
        fs::write(here.join("dovecot.conf"), configuration(here, lmtp)).unwrap();
        let path = here.join("dovecot.conf").display().to_string();
        let dovecot = Path::new("dovecot");
        let mut process = Process::start("Dovecot", directory, dovecot, &["-F", "-c", &path]);
        process.wait("a port", |_| greets(TcpStream::connect(lmtp).ok()?));
        process.wait("a socket", |process| {
            UnixStream::connect(process.path("auth")).ok()
        });
        process.wait("a socket", |process| {
            greets(UnixStream::connect(process.path("lmtp")).ok()?)
        });
        Some(Dovecot { lmtp, process })
    }

    /// The Unix socket that speaks LMTP.
    pub fn socket(&self) -> PathBuf {
        self.process.path("lmtp")
    }

    /// The socket that knows passwords.
    pub fn auth(&self) -> PathBuf {
        self.process.path("auth")
    }

    /// What a user has got. It is there before Dovecot says so.
    pub fn mail(&self, user: &str) -> Vec<String> {
        maildir(&self.process.path("mail").join(user).join("Maildir"))
    }
}

/// For 2.4 and for what was before it: the names of many settings differ.
fn configuration(here: &Path, lmtp: SocketAddr) -> String {
    let version = Command::new("dovecot").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let is_old = ["2.2.", "2.3."].iter().any(|old| version.starts_with(old));
    let (certificate, key) = Certificate::Good.files();
    let (certificate, key) = (certificate.display(), key.display());
    let here = here.display();
    let (first, listens, rest) = match is_old {
        true => (
            String::new(),
            "address",
            format!(
                "ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = username_format=%u {here}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {here}/users
}}"
            ),
        ),
        false => (
            "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n".to_owned(),
            "listen",
            format!(
                "ssl_server_cert_file = {certificate}
ssl_server_key_file = {key}
mail_driver = maildir
mail_path = ~/Maildir
auth_username_format = %{{user}}
passdb passwd-file {{
  passwd_file_path = {here}/users
}}
userdb passwd-file {{
  passwd_file_path = {here}/users
}}"
            ),
        ),
    };
    format!(
        "{first}protocols = lmtp
base_dir = {here}/run
state_dir = {here}/run
log_path = {here}/log
listen = 127.0.0.1
auth_mechanisms = plain login scram-sha-256
hostname = dovecot.example
ssl = yes
{rest}
service auth {{
  unix_listener {here}/auth {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener {here}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    {listens} = {ip}
    port = {port}
  }}
}}
",
        ip = lmtp.ip(),
        port = lmtp.port(),
    )
}
