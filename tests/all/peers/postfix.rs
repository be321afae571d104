//! Postfix as a smarthost: submission with STARTTLS and AUTH, and a relay with implicit TLS; and as the
//! mail hosts of other domains.
//!
//! One installation of its own with everything in one directory. It takes mail for every domain
//! and keeps it in one Maildir; `Delivered-To` there is the recipient. Accounts are in Cyrus SASL's
//! own database, so that Postfix offers SCRAM too and needs no second server.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    os::unix::fs::{DirBuilderExt, chown},
    path::Path,
    process::{Command, Stdio},
};

use super::{NOBODY, Process, directory, free_port, greets, installed, maildir};
use crate::hop::{Certificate, NAME, PASSWORD, authority};

/// A running Postfix that shows the good certificate of scripted hops.
pub struct Postfix {
    /// STARTTLS and AUTH are needed here.
    pub submission: SocketAddr,
    /// Implicit TLS; whoever comes from this machine may send.
    pub submissions: SocketAddr,
    pub(super) process: Process,
}

/// A mail host of other domains, which takes whatever comes.
pub struct MailHost<'a> {
    pub address: SocketAddr,
    /// What its lines in the log begin with, behind "postfix/".
    pub name: &'a str,
    /// Whether it offers STARTTLS.
    pub tls: bool,
    pub certificate: Certificate,
    /// Whether it shows the authority's certificate behind its own.
    pub shows_authority: bool,
}

impl Postfix {
    /// None, loudly, where it cannot be had.
    pub fn start() -> Option<Postfix> {
        Postfix::with(&[])
    }

    /// One that is these mail hosts too.
    pub fn with(mail_hosts: &[MailHost]) -> Option<Postfix> {
        if !installed(
            "Postfix",
            Command::new("postconf").args(["-d", "mail_version"]),
        ) || !installed("saslpasswd2", Command::new("saslpasswd2").arg("-v"))
        {
            return None;
        }
        let (submission, submissions) = (free_port(), free_port());
        let directory = directory("postfix", &["conf", "conf/sasl", "queue", "data", "mail"]);
        let here = directory.path();
        let postfix = setting("mail_owner");
        chown(here.join("data"), Some(user(&postfix)), None).unwrap();
        chown(here.join("mail"), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::write(here.join("conf/main.cf"), main_cf(here)).unwrap();
        fs::write(
            here.join("conf/master.cf"),
            master_cf(submission, submissions) + &services(here, mail_hosts),
        )
        .unwrap();
        make_account(here);
        chown(here.join("users"), Some(user(&postfix)), None).unwrap();
        make_queue(&here.join("queue"), user(&postfix));
        let conf = here.join("conf").display().to_string();
        let master = Path::new(&setting("daemon_directory")).join("master");
        let mut process = Process::start("Postfix", directory, &master, &["-c", &conf]);
        process.wait("a port", |_| {
            TcpStream::connect(submissions).ok()?;
            for host in mail_hosts {
                greets(TcpStream::connect(host.address).ok()?)?;
            }
            greets(TcpStream::connect(submission).ok()?)
        });
        Some(Postfix {
            submission,
            submissions,
            process,
        })
    }

    /// Waits for so many messages, one for each recipient; there may be more.
    pub fn wait_for_mail(&mut self, count: usize) -> Vec<String> {
        self.process.wait("mail", |process| {
            let mail = maildir(&process.path("mail/all"));
            (mail.len() >= count).then_some(mail)
        })
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// What `postfix check` makes too, which takes two seconds over it.
fn make_queue(queue: &Path, owner: u32) {
    let names =
        "active bounce corrupt defer deferred flush hold incoming private public saved trace";
    for name in names.split(' ') {
        let path = queue.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        chown(&path, Some(owner), None).unwrap();
    }
    fs::create_dir(queue.join("pid")).unwrap();
}

/// A setting as the system's Postfix was built with.
fn setting(name: &str) -> String {
    let output = Command::new("postconf").args(["-d", "-h", name]).output();
    let value = String::from_utf8(output.unwrap().stdout).unwrap();
    value.trim().to_owned()
}

fn user(name: &str) -> u32 {
    let output = Command::new("id").args(["-u", name]).output().unwrap();
    let number = String::from_utf8(output.stdout).unwrap();
    number.trim().parse().unwrap()
}

/// The account of scripted hops.
fn make_account(here: &Path) {
    let configuration = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}/users\n\
         mech_list: PLAIN LOGIN SCRAM-SHA-256\n",
        here.display()
    );
    // Debian's Postfix looks beside main.cf whatever else it was told.
    fs::write(here.join("conf/sasl/smtpd.conf"), configuration).unwrap();
    let mut child = Command::new("saslpasswd2")
        .args(["-p", "-c", "-u", "postfix.example", "-f"])
        .arg(here.join("users"))
        .arg(NAME)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(PASSWORD.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "saslpasswd2");
}

fn main_cf(here: &Path) -> String {
    let (certificate, key) = Certificate::Good.files();
    format!(
        r#"compatibility_level = 3.6
queue_directory = {here}/queue
data_directory = {here}/data
maillog_file = {here}/log
maillog_file_prefixes = {here}
myhostname = postfix.example
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
biff = no
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {here}/mail
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_tls_auth_only = yes
cyrus_sasl_config_path = {here}/conf/sasl
smtpd_sasl_local_domain = postfix.example
"#,
        here = here.display(),
        certificate = certificate.display(),
        key = key.display(),
    )
}

fn master_cf(submission: SocketAddr, submissions: SocketAddr) -> String {
    format!(
        "{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
{submissions} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o mynetworks=127.0.0.0/8
  -o smtpd_relay_restrictions=permit_mynetworks,reject
anvil unix - - n - 1 anvil
bounce unix - - n - 0 bounce
cleanup unix n - n - 0 cleanup
defer unix - - n - 0 bounce
error unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
virtual unix - n n - - virtual
"
    )
}

/// The lines of mail hosts, and their certificates.
fn services(here: &Path, mail_hosts: &[MailHost]) -> String {
    let mut text = String::new();
    for host in mail_hosts {
        let (certificate, key) = host.certificate.files();
        let mut chain = fs::read_to_string(certificate).unwrap();
        if host.shows_authority {
            chain += &fs::read_to_string(authority()).unwrap();
        }
        let file = here.join(format!("{}.pem", host.name));
        fs::write(&file, chain).unwrap();
        let level = if host.tls { "may" } else { "none" };
        text += &format!(
            "{address} inet n - n - - smtpd\n  -o syslog_name=postfix/{name}\n  \
             -o smtpd_tls_security_level={level}\n  -o smtpd_tls_cert_file={file}\n  \
             -o smtpd_tls_key_file={key}\n  -o mynetworks=127.0.0.0/8\n  \
             -o smtpd_relay_restrictions=permit_mynetworks,reject\n",
            address = host.address,
            name = host.name,
            file = file.display(),
            key = key.display(),
        );
    }
    text
}
