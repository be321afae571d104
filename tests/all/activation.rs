//! Sockets passed in by whoever starts the server, as systemd does it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    running::message,
    server::{ALICE, BOB, PATIENCE, Server, Settings, send},
    wire::Client,
};

/// Two sockets come in where a shell expects its input and output, and become descriptors 3 and 4
/// of the server, which has the shell's process id.
const AS_SYSTEMD: &str = r#"
exec 3<&0 4<&1 </dev/null >/dev/null
export LISTEN_PID="${LISTEN_PID-$$}" LISTEN_FDS=2
exec "$0" --config "$1" serve
"#;

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The command that starts `server` on these, called by these names.
fn started_on(server: &Server, sockets: [TcpListener; 2], names: &str) -> Command {
    let [first, second] = sockets.map(OwnedFd::from);
    let mut command = Command::new("sh");
    command
        .args(["-c", AS_SYSTEMD, env!("CARGO_BIN_EXE_gatepost")])
        .arg(server.path("gatepost.toml"))
        .env_remove("LISTEN_PID")
        .env_remove("NOTIFY_SOCKET")
        .env("LISTEN_FDNAMES", names)
        .stdin(first)
        .stdout(second);
    command
}

/// What a start says that must fail.
fn refused(mut command: Command) -> String {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that serves would never end.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// Lists one address for each service.
fn listed(submissions: SocketAddr, submission: SocketAddr) -> Settings {
    Settings::new()
        .with("listeners", &format!("submissions = [\"{submissions}\"]"))
        .with("listeners", &format!("submission = [\"{submission}\"]"))
}

/// Both services take mail, also from a client that came before the server did.
#[test]
fn mail_is_taken_through_sockets_that_were_passed_in() {
    let (first, submission) = socket();
    let (second, submissions) = socket();
    let mut server = Server::stopped(listed(submissions, submission));
    let mut early = Client::plain(submission).unwrap();
    server.run_as(started_on(&server, [first, second], ""));
    assert_eq!(server.submissions, submissions);
    assert_eq!(server.submission, submission);
    for address in [submissions, submission] {
        server.logged(&["listening", &address.to_string(), "\"passed_in\":"]);
    }
    assert!(early.reply().unwrap()[0].starts_with("220 "));
    let mut client = server.signed_in();
    assert!(send(&mut client, ALICE, &[BOB], &message("passed")).starts_with("250 "));
    assert!(server.only(BOB).contains("\nSubject: passed\n"));
    drop(server.upgraded());
}

/// A name tells the service where the configuration lists another address.
#[test]
fn sockets_are_known_by_their_names_too() {
    let (first, submission) = socket();
    let (second, submissions) = socket();
    let mut server = Server::stopped(Settings::new());
    server.run_as(started_on(
        &server,
        [first, second],
        "submission:submissions",
    ));
    assert_eq!(server.submissions, submissions);
    assert_eq!(server.submission, submission);
    drop(server.signed_in());
    drop(server.upgraded());
}

/// The environment may be left from another process, or not be systemd's.
#[test]
fn sockets_for_another_process_are_not_taken() {
    for process in ["1", ""] {
        let ((first, address), (second, _)) = (socket(), socket());
        let mut server = Server::stopped(Settings::new());
        let mut command = started_on(&server, [first, second], "submissions:submission");
        command.env("LISTEN_PID", process);
        server.run_as(command);
        assert_ne!(server.submissions, address);
        assert!(!server.log().contains("passed_in"));
        drop(server.signed_in());
    }
}

#[test]
fn a_socket_that_no_endpoint_wants_ends_the_start() {
    let (first, submissions) = socket();
    let (second, other) = socket();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::stopped(listed(submissions, nowhere));
    let said = refused(started_on(&server, [first, second], ""));
    assert!(
        said.contains("listeners") && said.contains(&other.to_string()),
        "{said}"
    );
}

#[test]
fn a_descriptor_that_does_not_listen_ends_the_start() {
    let ((first, submissions), (second, submission)) = (socket(), socket());
    let connected = TcpStream::connect(submission).unwrap();
    let server = Server::stopped(listed(submissions, submission));
    let mut command = started_on(&server, [first, second], "");
    command.stdout(OwnedFd::from(connected));
    let said = refused(command);
    assert!(said.contains("descriptor 4"), "{said}");
}

/// A reload keeps them, and goes back to one that it left: the client that waits there is served.
#[test]
fn a_reload_keeps_sockets_that_were_passed_in() {
    let (first, submission) = socket();
    let (second, submissions) = socket();
    let both = listed(submissions, submission);
    let mut server = Server::stopped(both.clone());
    server.run_as(started_on(&server, [first, second], ""));
    let mut open = server.signed_in();
    server.reload();
    drop(server.upgraded());

    server.settings = both.clone().with("listeners", "submission = []");
    server.configure();
    server.reload();
    server.logged(&["socket passed in is not served", &submission.to_string()]);
    let mut waiting = Client::plain(submission).unwrap();
    drop(server.signed_in());

    server.settings = both;
    server.configure();
    server.reload();
    assert!(waiting.reply().unwrap()[0].starts_with("220 "));
    drop(server.upgraded());
    assert!(open.ask("NOOP").unwrap().starts_with("250 "));
}

/// Before a start by systemd its sockets are open already: that is no mistake of the configuration.
#[test]
fn check_leaves_the_ports_alone_where_told() {
    let (_held, address) = socket();
    let server = Server::stopped(listed(address, SocketAddr::from(([127, 0, 0, 1], 0))));
    let said = server.gatepost(&["check"], "").unwrap_err();
    assert!(said.contains("listeners.submissions.0"), "{said}");
    let said = server.gatepost(&["check", "--no-ports"], "").unwrap();
    assert!(said.ends_with(": good\n"), "{said}");
}
