//! SCRAM as clients of others speak it, on both ports.

use std::{process::Command, slice};

use data_encoding::BASE64;
use rsasl::{
    callback::{Context, Request, SessionCallback, SessionData},
    config::SASLConfig,
    mechanisms::scram::{SCRAM_SHA256, SCRAM_SHA256_PLUS},
    mechname::Mechname,
    prelude::{Mechanism, Registry, SASLClient, SessionError},
    property::{AuthId, ChannelBindings, Password},
};

use crate::{
    clients::{self, Way},
    server::{ALICE, BOB, PASSWORD, Server, Settings},
    wire::Client,
};

/// A server that offers SCRAM, with passwords that can be proved.
fn start() -> Server {
    with_keys(Settings::new().with("auth", "scram = true\nscram_iterations = 4096"))
}

fn with_keys(settings: Settings) -> Server {
    let server = Server::with(settings);
    let set = ["user", "passwd", ALICE, "--password-stdin"];
    server.gatepost(&set, PASSWORD).unwrap();
    let shown = server.manage(&["user", "show", ALICE]);
    assert!(shown.contains("SCRAM         4096 iterations"), "{shown}");
    server
}

/// Sends as this user, by SCRAM and nothing else, from both ports; what bob got. None without msmtp.
pub fn by_msmtp(server: &Server, user: &str, password: &str) -> Option<Vec<String>> {
    if !clients::present(
        "msmtp",
        clients::answers(Command::new("msmtp").arg("--version")),
    ) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    Some(clients::on_both_ports_of(server, "msmtp", |way| {
        let content = format!("From: {user}\nSubject: {}\n\nProved.\n", way.subject);
        std::fs::write(&file, content).unwrap();
        let starttls = if way.mode == "implicit" { "off" } else { "on" };
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!(
                "exec msmtp --file=/dev/null --host=localhost --tls=on --auth=scram-sha-256 \
                 --port={} --tls-starttls={starttls} --tls-trust-file='{}' --user={user} \
                 --from={user} --passwordeval='echo {password}' {BOB} <'{}'",
                way.port,
                way.ca.display(),
                file.display()
            ),
        ]);
        command
    }))
}

#[test]
fn msmtp_proves_its_password() {
    for message in by_msmtp(&start(), ALICE, PASSWORD).into_iter().flatten() {
        assert!(message.ends_with("Proved.\n"), "{message}");
    }
}

#[test]
fn scramp_proves_its_password_and_binds_it_to_the_certificate() {
    let found = clients::python_with("scramp");
    if !clients::present("scramp", found.is_some()) {
        return;
    }
    let server = start();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] {
        let send = |way: &Way| {
            let mut command = Command::new(found.as_ref().unwrap());
            command.arg(clients::script("send_scram.py"));
            clients::arguments(&mut command, way);
            command.arg(mechanism);
            command
        };
        let program = format!("scramp with {mechanism}");
        for message in clients::on_both_ports_of(&server, &program, send) {
            assert!(message.contains("Proved, not shown."), "{message}");
        }
    }
}

struct Login {
    password: &'static str,
    exporter: [u8; 32],
}

impl SessionCallback for Login {
    fn enable_channel_binding(&self) -> bool {
        true
    }

    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        request.satisfy::<AuthId>(ALICE)?;
        request.satisfy::<Password>(self.password.as_bytes())?;
        request.satisfy::<ChannelBindings>(&self.exporter)?;
        Ok(())
    }
}

/// Signs in with rsasl, bound to `exporter`; gives the last reply.
fn with_rsasl(
    client: &mut Client,
    mechanism: &'static Mechanism,
    password: &'static str,
    exporter: [u8; 32],
) -> String {
    let registry = Registry::with_mechanisms(slice::from_ref(mechanism));
    let config = SASLConfig::builder()
        .with_registry(registry)
        .with_callback(Login { password, exporter })
        .unwrap();
    let name: &Mechname = mechanism.mechanism;
    let mut session = SASLClient::new(config).start_suggested(&[name]).unwrap();
    let mut response = Vec::new();
    let _ = session.step(None, &mut response).unwrap();
    let begin = format!("AUTH {} {}", name.as_str(), BASE64.encode(&response));
    let mut reply = client.ask(&begin).unwrap();
    while let Some(challenge) = reply.strip_prefix("334 ") {
        let challenge = BASE64.decode(challenge.as_bytes()).unwrap();
        response.clear();
        // Fails where the server's own proof is wrong.
        let _ = session.step(Some(&challenge), &mut response).unwrap();
        reply = client.ask(&BASE64.encode(&response)).unwrap();
    }
    reply
}

fn connections(server: &Server) -> [Client; 2] {
    let implicit = Client::implicit(server.submissions, server.trust.clone()).unwrap();
    let mut upgraded = Client::plain(server.submission).unwrap();
    upgraded.reply().unwrap();
    upgraded.ask("EHLO client.example").unwrap();
    assert!(upgraded.ask("STARTTLS").unwrap().starts_with("220"));
    upgraded.handshake(server.trust.clone()).unwrap();
    let mut both = [implicit, upgraded];
    both[0].reply().unwrap();
    for client in &mut both {
        client.send(b"EHLO client.example\r\n").unwrap();
        client.reply().unwrap();
    }
    both
}

/// Keys can only be made when a password is set: whoever turns SCRAM on hears who has none.
#[test]
fn check_names_those_who_cannot_prove_their_password() {
    let settings = Settings::new().with("auth", "scram = true\nscram_iterations = 4096");
    let server = with_keys(settings);
    let said = server.manage(&["check"]);
    let why = "1 of 2 accounts, such as bob@example.org, cannot prove their password";
    assert!(said.contains(why), "{said}");
    server
        .gatepost(&["user", "passwd", BOB, "--password-stdin"], PASSWORD)
        .unwrap();
    let said = server.manage(&["check"]);
    assert!(!said.contains("cannot prove"), "{said}");
}

/// S32: the seat of whoever signed in is safe, however the sign-in ended.
#[test]
fn a_flood_of_silent_connections_pushes_out_nobody_who_proved_a_password() {
    let settings = Settings::new()
        .with("auth", "scram = true\nscram_iterations = 4096")
        .with("limits", "sessions = 4");
    let server = with_keys(settings);
    let mut signed_in = connections(&server);
    for client in &mut signed_in {
        let ours = exporter(client);
        let reply = with_rsasl(client, &SCRAM_SHA256_PLUS, PASSWORD, ours);
        assert!(reply.starts_with("235 2.7.0"), "{reply}");
    }
    // Each is greeted inside TLS and says nothing: as good as one that guesses.
    let mut silent = Vec::new();
    for _ in 0..12 {
        let trust = server.trust.clone();
        let mut client = Client::implicit(server.submissions, trust).unwrap();
        client.reply().unwrap();
        silent.push(client);
    }
    for client in &mut signed_in {
        assert_eq!(&client.ask("NOOP").unwrap()[..3], "250");
    }
}

fn exporter(client: &Client) -> [u8; 32] {
    let label = b"EXPORTER-Channel-Binding";
    let tls = client.tls().unwrap();
    tls.export_keying_material([0; 32], label, Some(b""))
        .unwrap()
}

/// R9266-2a, R9266-3a.
#[test]
fn rsasl_proves_its_password_and_binds_it_to_the_connection() {
    let server = start();
    for mut client in connections(&server) {
        let ours = exporter(&client);
        let reply = with_rsasl(&mut client, &SCRAM_SHA256_PLUS, "wrong", ours);
        assert!(reply.starts_with("535 5.7.8"), "{reply}");
        let reply = with_rsasl(&mut client, &SCRAM_SHA256_PLUS, PASSWORD, [0; 32]);
        assert!(reply.starts_with("535 5.7.8"), "{reply}");
        let reply = with_rsasl(&mut client, &SCRAM_SHA256_PLUS, PASSWORD, ours);
        assert!(reply.starts_with("235 2.7.0"), "{reply}");
    }
}

/// R5802-6b: -PLUS was on offer, and a client that could bind did not see it.
#[test]
fn rsasl_that_was_kept_from_binding_is_refused() {
    let server = start();
    for mut client in connections(&server) {
        let ours = exporter(&client);
        let reply = with_rsasl(&mut client, &SCRAM_SHA256, PASSWORD, ours);
        assert!(reply.starts_with("535 5.7.8"), "{reply}");
    }
}

/// R9266-4.1a among them: on TLS 1.2 nothing can be bound, so nothing is offered that would be.
#[test]
fn what_is_offered_depends_on_the_channel_and_the_settings() {
    let offered = |server: &Server, versions: &[&'static rustls::SupportedProtocolVersion]| {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(crate::wire::roots(&server.path("certs/ca.pem")))
            .with_no_client_auth();
        let mut client = Client::implicit(server.submissions, config.into()).unwrap();
        client.reply().unwrap();
        client.send(b"EHLO client.example\r\n").unwrap();
        let list = client.reply().unwrap();
        let auth = list
            .iter()
            .find_map(|line| line.get(4..)?.strip_prefix("AUTH "));
        auth.unwrap().to_owned()
    };
    let new = [&rustls::version::TLS13];
    let old = [&rustls::version::TLS12];
    let server = start();
    assert_eq!(
        offered(&server, &new),
        "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"
    );
    assert_eq!(offered(&server, &old), "SCRAM-SHA-256 PLAIN LOGIN");
    let mut server = Server::start();
    assert_eq!(offered(&server, &new), "PLAIN LOGIN");
    server.settings = server.settings.clone().with("auth", "login = false");
    server.configure();
    server.reload();
    assert_eq!(offered(&server, &new), "PLAIN");
}
