//! Real mail programs send on both ports, and what they sent arrives.
//!
//! A program that is not there is skipped by name; where CI is set it must be there.

use std::{
    env,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use lettre::{
    SmtpTransport, Transport,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

use crate::server::{ALICE, BOB, PASSWORD, Server, Settings};

/// What a program needs to know, whatever its options are called.
pub struct Way<'a> {
    /// `implicit` or `starttls`.
    pub mode: &'static str,
    pub port: u16,
    pub ca: &'a Path,
    pub subject: String,
}

/// Has a program send to bob through both ports; gives the messages as they arrived, one for each
/// port.
fn on_both_ports(program: &str, send: impl Fn(&Way) -> Command) -> Vec<String> {
    on_both_ports_of(&start(), program, send)
}

fn start() -> Server {
    Server::with(Settings::new().with("limits", "message_size = 10000000"))
}

pub fn on_both_ports_of(
    server: &Server,
    program: &str,
    send: impl Fn(&Way) -> Command,
) -> Vec<String> {
    let ca = server.path("certs/ca.pem");
    [
        ("implicit", server.submissions),
        ("starttls", server.submission),
    ]
    .into_iter()
    .map(|(mode, address)| {
        let subject = format!("Hello from {program} over {mode}");
        let way = Way {
            mode,
            port: address.port(),
            ca: &ca,
            subject,
        };
        let output = send(&way).stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{program} over {mode}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        arrived(server, &way.subject)
    })
    .collect()
}

/// The one message with this subject, after the fields that every message gets were looked at.
fn arrived(server: &Server, subject: &str) -> String {
    let line = format!("\nSubject: {subject}\n");
    let mail = server.delivered(BOB).into_iter();
    let mut found: Vec<_> = mail
        .map(|octets| String::from_utf8(octets).unwrap())
        .filter(|text| text.contains(&line))
        .collect();
    assert_eq!(found.len(), 1, "{subject}: {found:#?}\n{}", server.log());
    let text = found.remove(0);
    let top = format!("\nDelivered-To: {BOB}\nReceived: from mail.example.org");
    let (path, rest) = text.split_at(text.find('\n').unwrap());
    assert!(
        path.starts_with("Return-Path: <") && rest.starts_with(&top),
        "{text}"
    );
    for field in ["\nFrom: ", "\nDate: ", "\nMessage-ID: "] {
        let count = text.to_lowercase().matches(&field.to_lowercase()).count();
        assert_eq!(count, 1, "{field}: {text}");
    }
    text
}

/// The body of a message in a Maildir.
fn body(message: &str) -> &str {
    message.split_once("\n\n").unwrap().1
}

/// Whether to go on with a test that needs this program.
pub fn present(program: &str, there: bool) -> bool {
    if !there {
        assert!(env::var_os("CI").is_none(), "{program} is not installed");
        // Past the harness, which keeps what a test that succeeds prints to itself.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: {program} is not installed");
    }
    there
}

pub fn answers(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where `.ci/run` puts what it installs.
fn tools() -> PathBuf {
    let place = env::var_os("GATEPOST_TOOLS").map(PathBuf::from);
    place.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"))
}

/// A Python that knows this module.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let import = format!("import {module}");
    let here = tools().join("python/bin/python");
    ["python3".into(), here]
        .into_iter()
        .find(|python| answers(Command::new(python).args(["-c", &import])))
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// The arguments of the scripts under `tests/clients`.
pub fn arguments(command: &mut Command, way: &Way) {
    command
        .args([way.mode, &way.port.to_string()])
        .arg(way.ca)
        .args([ALICE, ALICE, BOB, &way.subject])
        .env("GATEPOST_PASSWORD", PASSWORD);
}

#[test]
fn swaks_sends() {
    // TLS comes from a Perl module that swaks only suggests.
    let perl = answers(Command::new("perl").args(["-MNet::SSLeay", "-e1"]));
    if !present("swaks", answers(Command::new("swaks").arg("--version")))
        || !present("Net::SSLeay", perl)
    {
        return;
    }
    let text = "Gr\u{fc}\u{df}e\n.\n..two dots\n";
    for message in on_both_ports("swaks", |way| {
        let mut command = Command::new("swaks");
        command
            .args(["--server", "localhost", "--port", &way.port.to_string()])
            .arg(if way.mode == "implicit" {
                "--tls-on-connect"
            } else {
                "--tls"
            })
            .arg("--tls-verify")
            .arg("--tls-ca-path")
            .arg(way.ca)
            .args([
                "--auth",
                "LOGIN",
                "--auth-user",
                ALICE,
                "--auth-password",
                PASSWORD,
            ])
            .args(["--from", ALICE, "--to", BOB])
            .args(["--header", &format!("Subject: {}", way.subject)])
            .args(["--body", text]);
        command
    }) {
        assert!(body(&message).contains(text), "{message}");
        assert!(message.contains("\nX-Mailer: swaks"), "{message}");
    }
}

#[test]
fn curl_sends() {
    if !present("curl", answers(Command::new("curl").arg("--version"))) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    let text = "Gr\u{fc}\u{df}e\r\n.\r\n..two dots\r\nno line end";
    for message in on_both_ports("curl", |way| {
        let content = format!(
            "From: {ALICE}\r\nTo: {BOB}\r\nSubject: {}\r\n\r\n{text}",
            way.subject
        );
        std::fs::write(&file, content).unwrap();
        let mut command = Command::new("curl");
        let scheme = if way.mode == "implicit" {
            "smtps"
        } else {
            "smtp"
        };
        command
            .args(["--silent", "--show-error", "--ssl-reqd", "--cacert"])
            .arg(way.ca)
            .args(["--url", &format!("{scheme}://localhost:{}", way.port)])
            .args(["--user", &format!("{ALICE}:{PASSWORD}")])
            .args(["--mail-from", ALICE, "--mail-rcpt", BOB])
            .arg("--upload-file")
            .arg(&file);
        command
    }) {
        assert_eq!(
            body(&message),
            text.replace("\r\n", "\n") + "\n",
            "{message}"
        );
    }
}

#[test]
fn msmtp_sends() {
    if !present("msmtp", answers(Command::new("msmtp").arg("--version"))) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    let text = "Gr\u{fc}\u{df}e\n.\n..two dots\n";
    for message in on_both_ports("msmtp", |way| {
        let content = format!(
            "From: {ALICE}\nTo: {BOB}\nSubject: {}\n\n{text}",
            way.subject
        );
        std::fs::write(&file, content).unwrap();
        let starttls = if way.mode == "implicit" { "off" } else { "on" };
        let mut command = Command::new("sh");
        let mut line =
            String::from("exec msmtp --file=/dev/null --host=localhost --tls=on --auth=plain");
        write!(line, " --port={} --tls-starttls={starttls}", way.port).unwrap();
        write!(
            line,
            " --tls-trust-file='{}' --user={ALICE} --from={ALICE}",
            way.ca.display()
        )
        .unwrap();
        write!(
            line,
            " --passwordeval='echo {PASSWORD}' {BOB} <'{}'",
            file.display()
        )
        .unwrap();
        command.args(["-c", &line]);
        command
    }) {
        assert_eq!(body(&message), text, "{message}");
    }
}

#[test]
fn smtplib_sends() {
    if !present("python3", answers(Command::new("python3").arg("--version"))) {
        return;
    }
    let text = "Gr\u{fc}\u{df}e aus smtplib.\n.\n..two dots\n>From here on.\n";
    for message in on_both_ports("smtplib", |way| {
        let mut command = Command::new("python3");
        command.arg(script("send_smtplib.py"));
        arguments(&mut command, way);
        command
    }) {
        // Python writes the text as base64 or as it stands, by its own rules.
        let encoded = data_encoding::BASE64.encode(text.replace(">From", "From").as_bytes());
        let plain = body(&message).replace('\n', "");
        assert!(body(&message) == text || plain == encoded, "{message}");
    }
}

#[test]
fn aiosmtplib_sends() {
    let found = python_with("aiosmtplib");
    if !present("aiosmtplib", found.is_some()) {
        return;
    }
    for message in on_both_ports("aiosmtplib", |way| {
        let mut command = Command::new(found.as_ref().unwrap());
        command.arg(script("send_aiosmtplib.py"));
        arguments(&mut command, way);
        command
    }) {
        assert_eq!(body(&message), "Hello from aiosmtplib.\n.\n", "{message}");
    }
}

#[test]
fn nodemailer_sends() {
    let modules =
        env::var_os("NODE_PATH").unwrap_or_else(|| tools().join("node/node_modules").into());
    let found = answers(
        Command::new("node")
            .args(["-e", "require('nodemailer')"])
            .env("NODE_PATH", &modules),
    );
    if !present("nodemailer", found) {
        return;
    }
    let server = start();
    for message in on_both_ports_of(&server, "nodemailer", |way| {
        let mut command = Command::new("node");
        command
            .arg(script("send_nodemailer.js"))
            .env("NODE_PATH", &modules);
        arguments(&mut command, way);
        command
    }) {
        assert!(body(&message).contains("Nodemailer.\n.\n"), "{message}");
    }
    // The same connection carried a second message, with 100,000 octets of 7 attached.
    let sevens = data_encoding::BASE64.encode(&[7; 100_000]);
    let again: Vec<_> = server
        .mail(BOB)
        .into_iter()
        .filter(|message| {
            String::from_utf8_lossy(message)
                .replace('\n', "")
                .contains(&sevens)
        })
        .collect();
    assert_eq!(again.len(), 2);
}

#[test]
fn lettre_sends() {
    let server = Server::start();
    let pem = std::fs::read(server.path("certs/ca.pem")).unwrap();
    let parameters = TlsParameters::builder("localhost".into())
        .add_root_certificate(Certificate::from_pem(&pem).unwrap())
        .build_rustls()
        .unwrap();
    for (tls, address) in [
        (Tls::Wrapper(parameters.clone()), server.submissions),
        (Tls::Required(parameters.clone()), server.submission),
    ] {
        let subject = format!("Hello from lettre to port {}", address.port());
        let mailbox = |text: &str| text.parse::<Mailbox>().unwrap();
        // lettre adds the last line end itself.
        let text = "Gr\u{fc}\u{df}e\r\n.\r\n..two dots";
        let message = lettre::Message::builder()
            .from(mailbox(ALICE))
            .to(mailbox(BOB))
            .bcc(mailbox("hidden@any.example"))
            .subject(&subject)
            .header(ContentType::TEXT_PLAIN)
            .body(lettre::message::Body::dangerous_pre_encoded(
                text.into(),
                lettre::message::header::ContentTransferEncoding::EightBit,
            ))
            .unwrap();
        let transport = SmtpTransport::builder_dangerous("localhost")
            .port(address.port())
            .tls(tls)
            .credentials(Credentials::new(ALICE.into(), PASSWORD.into()))
            .build();
        assert!(transport.send(&message).unwrap().is_positive());
        let message = arrived(&server, &subject);
        assert_eq!(
            body(&message),
            text.replace("\r\n", "\n") + "\n",
            "{message}"
        );
        assert!(!message.contains("hidden"), "{message}");
    }
    assert_eq!(server.delivered("hidden@any.example").len(), 2);
}
