//! Commands as a postmaster types them.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;

use crate::{
    clients::present,
    server::{Server, Settings, gatepost, send_signal},
};

fn text(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Both messages arrive, through both ports, and nothing is left running.
#[test]
fn the_demonstration_ends_well_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args([
            "demo",
            "--once",
            "--port-submissions",
            "0",
            "--port-submission",
            "0",
        ])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, complaints) = text(&output);
    assert!(output.status.success(), "{said}\n{complaints}");
    let arrived: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("Arrived, octet for octet: "))
        .collect();
    assert_eq!(arrived.len(), 2, "{said}");
    for path in arrived {
        let message = fs::read_to_string(path).unwrap();
        assert!(message.contains("\nSubject: Hello over "), "{message}");
        assert!(message.contains("with ESMTPSA"), "{message}");
    }
    let password = said
        .lines()
        .find_map(|line| line.strip_prefix("Account demo@example.org, password "))
        .unwrap();
    assert_eq!(said.matches(password).count(), 1, "{said}");
    assert!(folder.path().join("certs-dev/ca.pem").is_file());
    assert!(complaints.is_empty(), "{complaints}");
}

/// What it prints to be pasted works as it stands, and Ctrl-C ends it well.
#[test]
fn the_lines_that_the_demonstration_prints_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["demo", "--port-submissions", "0", "--port-submission", "0"])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(demo.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let lines: Vec<String> = printed
        .by_ref()
        .take_while(|line| !line.starts_with("Serving until"))
        .filter_map(|line| line.strip_prefix("  ").map(str::to_owned))
        .filter(|line| {
            ["curl", "swaks", "openssl"]
                .iter()
                .any(|name| line.contains(name))
        })
        .collect();
    let count = lines.len();
    for line in lines {
        let program = ["curl", "swaks", "openssl"]
            .into_iter()
            .find(|name| line.contains(name));
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {}", program.unwrap())])
            .output();
        if !present(program.unwrap(), found.unwrap().status.success()) {
            continue;
        }
        let mut child = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // What a person would type into openssl; the others read nothing.
        let _ = child
            .stdin
            .take()
            .unwrap()
            .write_all(b"EHLO me.example\nQUIT\n");
        let output = child.wait_with_output().unwrap();
        let (said, complaints) = text(&output);
        assert!(output.status.success(), "{line}\n{said}\n{complaints}");
        assert!(
            program != Some("openssl") || said.contains("250-SIZE "),
            "{said}\n{complaints}"
        );
    }
    send_signal(&demo, Signal::INT);
    assert!(demo.wait().unwrap().success());
    assert_eq!(count, 6);
}

#[test]
fn the_demonstration_says_which_port_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args([
            "demo",
            "--once",
            "--port-submissions",
            &port,
            "--port-submission",
            "0",
        ])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let (said, complaints) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaints.contains(&format!("port {port} ")),
        "{complaints}"
    );
    assert!(complaints.contains("--port-submissions"), "{complaints}");
    assert!(!said.contains("Arrived"), "{said}");
}

/// The example needs nothing but a certificate that is there.
#[test]
fn the_example_is_a_good_configuration() {
    let server = Server::stopped(Settings::new());
    let example = server.manage(&["config", "example"]);
    let here = server.path("certs");
    let config = server.path("example.toml");
    let adapted = example
        .replace(
            "/etc/gatepost/cert.pem",
            here.join("cert.pem").to_str().unwrap(),
        )
        .replace(
            "/etc/gatepost/key.pem",
            here.join("key.pem").to_str().unwrap(),
        );
    assert_ne!(adapted, example);
    fs::write(&config, adapted).unwrap();
    let said = gatepost(&config, &["check"], "").unwrap();
    assert!(!said.contains(": error: "), "{said}");
    // As it stands, the certificate is what is wrong with it.
    fs::write(&config, &example).unwrap();
    let said = gatepost(&config, &["check"], "").unwrap_err();
    let errors: Vec<_> = said
        .lines()
        .filter(|line| line.contains(": error: "))
        .collect();
    assert!(
        errors.len() == 1 && errors[0].contains("certificates"),
        "{said}"
    );
}

#[test]
fn check_finds_nothing_wrong_with_what_runs() {
    let server = Server::start();
    let said = server.manage(&["check"]);
    assert!(said.contains(": good\n"), "{said}");
    assert!(!said.contains(": error: "), "{said}");
}

/// Each mistake is told with its file, its line, its key, and what would be right.
#[test]
fn check_explains_mistakes_where_they_stand() {
    let server = Server::stopped(Settings::new());
    let good = fs::read_to_string(server.path("gatepost.toml")).unwrap();
    let config = server.path("wrong.toml");
    for (right, wrong, words) in [
        ("hostname = ", "hostnam = ", &["hostnam", "hostname"][..]),
        (
            "message_size = 100000",
            "mesage_size = 100000",
            &["limits.mesage_size", "message_size"],
        ),
        ("[listeners]", "[listener]", &["listener", "listeners"]),
        (
            "message_size = 100000",
            "message_size = \"lots\"",
            &["limits.message_size", "50 MiB"],
        ),
        (
            "message_size = 100000",
            "message_size = 1",
            &["limits.message_size", "65536"],
        ),
        (
            "recipients = \"any\"",
            "recipients = \"all\"",
            &["recipients", "any"],
        ),
        (
            "shutdown = \"5s\"",
            "shutdown = 5",
            &["timeouts.shutdown", "30s"],
        ),
        (
            "recipients = \"any\"",
            "transport = \"smtp\"",
            &["transport", "smtp"],
        ),
        (
            "postmaster = \"alice@example.org\"",
            "postmaster = \"alice\"",
            &["postmaster"],
        ),
        (
            "exempt = [\"127.0.0.0/8\"]",
            "exempt = [\"127.0.0.0/33\"]",
            &["auth.throttle.exempt", "192.0.2.0/24"],
        ),
        ("level = \"debug\"", "level = \"loud\"", &["log.level"]),
        ("level = \"debug\"", "level = \"debug", &[]),
    ] {
        assert!(good.contains(right), "{right}");
        let changed = good.replacen(right, wrong, 1);
        let place = changed.find(wrong).unwrap();
        let line = changed[..place].matches('\n').count() + 1;
        fs::write(&config, &changed).unwrap();
        let said = gatepost(&config, &["check"], "").unwrap_err();
        let start = format!("{}:{line}:", config.display());
        let told = said.lines().any(|told| {
            told.starts_with(&start)
                && told.contains(": error: ")
                && words.iter().all(|word| told.contains(word))
        });
        assert!(told, "{wrong}: {start}: {words:?} in\n{said}");
        // What check refuses does not start either, and says the same.
        let refused = gatepost(&config, &["serve"], "").unwrap_err();
        assert!(refused.contains(&start), "{refused}");
        let said = gatepost(&config, &["check", "--json"], "").unwrap_err();
        let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        assert!(
            first["file"].is_string() && first["line"].is_u64(),
            "{said}"
        );
    }
}

/// R7817-4a: a certificate for another host, and a key for another certificate.
#[test]
fn check_looks_at_certificates() {
    let server = Server::stopped(Settings::new());
    // The test's certificate is for localhost, the host is mail.example.org.
    let said = server.manage(&["check"]);
    assert!(
        said.contains("hostname: no certificate names this host"),
        "{said}"
    );
    crate::tls::make_pair(&server.path("certs"), "other");
    fs::copy(server.path("certs/other.key"), server.path("certs/key.pem")).unwrap();
    let said = server.gatepost(&["check"], "").unwrap_err();
    assert!(said.contains(": error: certificates.0"), "{said}");
}

/// A key that others can read, and a certificate whose time is up.
#[test]
fn check_looks_at_permissions_and_expiry() {
    let server = Server::stopped(Settings::new());
    let (cert, key) = (server.path("certs/cert.pem"), server.path("certs/key.pem"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(server.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = server.manage(&["check"]);
    for words in [
        &["warning: certificates.0", "key.pem"][..],
        &["warning: data_dir", "0700"],
    ] {
        let told = said
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(told, "{words:?}: {said}");
    }
    let mut past = rcgen::CertificateParams::new(vec!["mail.example.org".into()]).unwrap();
    past.not_before = rcgen::date_time_ymd(2020, 1, 1);
    past.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let pair = rcgen::KeyPair::generate().unwrap();
    fs::write(&cert, past.self_signed(&pair).unwrap().pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    let said = server.gatepost(&["check"], "").unwrap_or_else(|said| said);
    let told = said
        .lines()
        .any(|line| line.contains("certificates.0") && line.contains("expired"));
    assert!(told, "{said}");
}

/// What was done is told in one line; what cannot be is refused, with a reason.
#[test]
fn accounts_are_kept_by_commands() {
    let server = Server::stopped(Settings::new());
    let add = |name: &str, password: &str| {
        server.gatepost(&["user", "add", name, "--password-stdin"], password)
    };
    assert_eq!(
        add("dave@example.org", "long-enough-1\n").unwrap(),
        "Added account dave@example.org.\n"
    );
    assert!(add("dave@example.org", "long-enough-1\n").is_err());
    assert!(add("eve@unknown.example", "long-enough-1\n").is_err());
    assert!(add("frank@example.org", "\n").is_err());
    let listed = server.manage(&["user", "list"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let dave = listed
        .lines()
        .find(|line| line.starts_with("dave@example.org "));
    assert!(
        dave.is_some_and(|line| line.contains(" enabled ")),
        "{listed}"
    );
    let shown = server.manage(&["user", "show", "dave@example.org", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["enabled"], true);
    server.manage(&["user", "disable", "dave@example.org"]);
    assert!(
        server
            .manage(&["user", "show", "dave@example.org"])
            .contains("disabled")
    );
    assert!(
        server
            .gatepost(&["domain", "remove", "example.org"], "")
            .is_err()
    );
    server.manage(&["user", "remove", "dave@example.org"]);
    assert!(
        server
            .gatepost(&["user", "show", "dave@example.org"], "")
            .is_err()
    );
    assert!(
        server
            .gatepost(&["user", "disable", "dave@example.org"], "")
            .is_err()
    );
    let generated = server.manage(&["user", "add", "gina@example.org", "--generate", "--json"]);
    let generated: serde_json::Value = serde_json::from_str(&generated).unwrap();
    assert!(
        generated["password"].as_str().unwrap().len() >= 16,
        "{generated}"
    );
    assert_eq!(
        server.manage(&["domain", "list"]),
        "example.org\nwonder.example\n"
    );
}
