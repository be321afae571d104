//! The desk from outside: another user, systemd's words, starts that fail, and the queue's list.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        net::UnixDatagram,
    },
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    clients::present,
    server::{ALICE, BOB, PASSWORD, PATIENCE, Server, Settings, gatepost, send},
};

/// Everything under a directory belongs to one user.
fn belongs_to(path: &Path, uid: u32) {
    assert_eq!(fs::symlink_metadata(path).unwrap().uid(), uid, "{path:?}");
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            belongs_to(&entry.unwrap().path(), uid);
        }
    }
}

fn make_over(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            make_over(&entry.unwrap().path(), uid);
        }
    }
}

/// S41: root opens the doors and is gone; commands of root leave no file to root either.
#[test]
fn a_server_started_by_root_becomes_its_user_for_good() {
    let nobody = nix::unistd::User::from_name("nobody").unwrap();
    let is_root = nix::unistd::Uid::effective().is_root();
    if !present("root, and the user nobody", is_root && nobody.is_some()) {
        return;
    }
    let uid = nobody.unwrap().uid.as_raw();
    let mut server = Server::stopped(Settings::new());
    let home = server.path(".");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o711)).unwrap();
    make_over(&server.path("certs"), uid);
    let config = server.path("gatepost.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = format!("user = \"nobody\"\n{text}");
    fs::write(&config, &text).unwrap();

    // A fresh directory is made over; one with root's files in it is not touched.
    let refused = server.gatepost(&["user", "list"], "").unwrap_err();
    assert!(!refused.is_empty());
    fs::rename(server.path("data"), server.path("of-root")).unwrap();
    fs::create_dir(server.path("data")).unwrap();
    fs::create_dir(server.path("mail")).unwrap();
    make_over(&server.path("mail"), uid);
    server.manage(&["domain", "add", "example.org"]);
    for name in [ALICE, BOB] {
        let added = server.gatepost(&["user", "add", name, "--password-stdin"], PASSWORD);
        added.unwrap();
    }
    belongs_to(&server.path("data"), uid);

    server.run();
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // Real, effective, saved and file system's; no capability is left to come back with.
    assert_eq!(field("Uid:"), vec![uid.to_string(); 4]);
    assert!(!field("Gid:").contains(&"0".to_owned()));
    assert!(!field("Groups:").contains(&"0".to_owned()));
    assert_eq!(field("CapPrm:"), ["0000000000000000"]);
    let content = b"From: <alice@example.org>\r\nSubject: of nobody\r\n\r\nhello\r\n";
    let accepted = send(&mut server.signed_in(), ALICE, &[BOB], content);
    assert!(accepted.starts_with("250 2.0.0 "), "{accepted}");
    assert!(server.only(BOB).contains("Subject: of nobody"));
    server.manage(&["user", "disable", BOB]);
    belongs_to(&server.path("data"), uid);
    belongs_to(&server.path("mail"), uid);

    // A key that only root can read would be lost at the next reload: check and start say so.
    let other = server.path("root.toml");
    crate::tls::make_pair(&server.path("certs"), "other");
    let key = server.path("certs/other.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let of_root = text
        .replace("certs/cert.pem", "certs/other.pem")
        .replace("certs/key.pem", "certs/other.key");
    fs::write(&other, of_root).unwrap();
    let said = gatepost(&other, &["check"], "").unwrap_err();
    let told = said
        .lines()
        .find(|line| line.contains(": error: certificates.0.key"));
    assert!(
        told.is_some_and(|line| line.contains("user nobody must be able")),
        "{said}"
    );

    // And so would a password for a smarthost.
    let password = server.path("password");
    fs::write(&password, "tomtom").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let relay = format!(
        "[[routes]]\nname = \"relay\"\ndomains = [\"*\"]\ntransport = \"relay\"\n\
         hosts = [\"a.example:465\"]\nuser = \"u\"\npassword_file = \"{}\"\n",
        password.display()
    );
    // The other server, which is still at work, has this one's port.
    let text = text.replace(&server.http.to_string(), "127.0.0.1:0");
    fs::write(&other, format!("{text}{relay}")).unwrap();
    for command in ["check", "serve"] {
        let said = gatepost(&other, &[command], "").unwrap_err();
        assert!(said.contains("routes.2.password_file"), "{said}");
        assert!(said.contains("user nobody must be able"), "{said}");
        assert!(!said.contains("tomtom"), "{said}");
    }
    make_over(&password, uid);
    let said = gatepost(&other, &["check"], "").unwrap();
    assert!(!said.contains("password"), "{said}");
}

/// What systemd is told, and the last lines of the log, which are not lost at the end.
#[test]
fn systemd_is_told_of_start_reload_and_stop() {
    let server = Server::stopped(Settings::new());
    let (config, notify) = (server.path("gatepost.toml"), server.path("told"));
    let told = UnixDatagram::bind(&notify).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut state = [0; 4096];
        let count = told.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..count]).into_owned()
    };
    let child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["serve", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &notify)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let id = child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-s", name, &id]).status().unwrap().success());
    };
    assert_eq!(next(), "READY=1\nSTATUS=serving\n");
    signal("HUP");
    assert_eq!(next(), "RELOADING=1\n");
    assert_eq!(next(), "READY=1\nSTATUS=serving\n");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("node = \"other\"\n{good}")).unwrap();
    signal("HUP");
    assert_eq!(next(), "RELOADING=1\n");
    assert_eq!(
        next(),
        "READY=1\nSTATUS=serving; a restart is needed for node\n"
    );
    fs::write(&config, format!("nod = 1\n{good}")).unwrap();
    signal("HUP");
    assert_eq!(next(), "RELOADING=1\n");
    assert!(next().contains("STATUS=serving; the new configuration is wrong"));
    signal("TERM");
    assert!(next().starts_with("STOPPING=1\n"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    let place = format!("{}:1:1: error: nod: no such key", config.display());
    assert!(log.contains(&place), "{log}");
    assert!(
        log.lines()
            .last()
            .unwrap()
            .contains("\"message\":\"stopped\""),
        "{log}"
    );
}

/// 1, and one line behind what the log says; nothing on standard output.
#[test]
fn a_start_that_fails_says_why_in_one_line() {
    let server = Server::stopped(Settings::new());
    let config = server.path("gatepost.toml");
    let good = fs::read_to_string(&config).unwrap();
    let database = server.path("data/gatepost.sqlite");
    let kept = fs::read(&database).unwrap();
    for (what, text, words) in [
        (
            "a user that is not",
            format!("user = \"no-such-user\"\n{good}"),
            "there is no user no-such-user",
        ),
        (
            "a key that is not",
            good.replace("key.pem", "gone.pem"),
            "certificates.0.key",
        ),
        ("a damaged database", good.clone(), "damaged"),
    ] {
        fs::write(&config, text).unwrap();
        if what.contains("database") {
            fs::write(&database, [b'x'; 8192]).unwrap();
        }
        let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(["serve", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{what}: {said}");
        assert!(output.stdout.is_empty());
        let complaints: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("gatepost: "))
            .collect();
        assert_eq!(complaints.len(), 1, "{what}: {said}");
        assert_eq!(said.lines().last(), Some(complaints[0]), "{what}: {said}");
        assert!(complaints[0].contains(words), "{what}: {said}");
    }
    fs::write(&database, kept).unwrap();
}

/// Beside a running server and without one, and what is left out is said.
#[test]
fn the_queue_is_listed_for_people_and_programs() {
    let mut server = Server::with(Settings::new().with("queue", "hold = true"));
    assert_eq!(
        server.manage(&["queue", "list"]),
        "Nothing is in custody.\n"
    );
    assert_eq!(server.manage(&["queue", "list", "--json"]), "");
    let mut client = server.signed_in();
    for n in 0..3 {
        let content = format!("From: <{ALICE}>\r\nSubject: {n}\r\n\r\n{n}\r\n");
        let accepted = send(&mut client, ALICE, &[BOB, ALICE], content.as_bytes());
        assert!(accepted.starts_with("250 2.0.0 "), "{accepted}");
    }
    for running in [true, false] {
        if !running {
            server.stop();
        }
        let listed = server.manage(&["queue", "list", "--json", "--limit", "2"]);
        let listed: Vec<serde_json::Value> = listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(listed.len(), 3, "{listed:?}");
        assert_eq!(listed[2]["more"], 1);
        let first = &listed[0];
        assert_eq!(first["sender"], ALICE);
        for time in [
            &first["received_at"],
            &first["recipients"][0]["next_attempt_at"],
        ] {
            let time = time.as_str().unwrap();
            assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        }
        let states: Vec<_> = first["recipients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|to| {
                (
                    to["address"].as_str().unwrap(),
                    to["state"].as_str().unwrap(),
                    to["attempts"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(states, [(BOB, "due", 0), (ALICE, "due", 0)]);
        let text = server.manage(&["queue", "list", "--limit", "2"]);
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.ends_with("1 more; see them with --limit.\n"), "{text}");
    }
}
