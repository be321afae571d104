//! Starts, reloads and stops of whole servers, in this process.

mod queue;

use std::{
    fs,
    net::{IpAddr, TcpListener},
    time::SystemTime,
};

use anyhow::Result;
use tempfile::TempDir;

use super::*;
use crate::{
    admin::control::{self, Answer, Request},
    tls::dev,
};

/// A directory with everything that a server needs.
struct Place {
    directory: TempDir,
    listeners: String,
    more: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        dev::certificate(&directory.path().join("certs"), SystemTime::now()).unwrap();
        Place {
            directory,
            listeners: "submissions = [\"127.0.0.1:0\"]\nsubmission = [\"127.0.0.1:0\"]".into(),
            more: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self) -> String {
        let here = self.directory.path().display();
        let (listeners, more) = (&self.listeners, &self.more);
        format!(
            r#"hostname = "localhost"
data_dir = "{here}/data"
[listeners]
{listeners}
[http]
listen = ["127.0.0.1:0"]
[spool]
reserve = 0
reserve_inodes = 0
[[certificates]]
cert = "{here}/certs/cert.pem"
key = "{here}/certs/key.pem"
[[routes]]
name = "local"
domains = ["example.org"]
path = "{here}/mail/{{address}}"
{more}
"#
        )
    }

    fn loaded(&self) -> Loaded {
        Loaded::parse("f", &self.text()).unwrap()
    }

    async fn start(&self) -> Result<Arc<Running>> {
        let file = self.path("gatepost.toml");
        fs::write(&file, self.text()).unwrap();
        Server::start(Loaded::read(&file)?, Some(file)).await
    }
}

/// A port that is in use, at an address that no connection has for its own: free again, it stays so.
fn taken() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Each start fails with one clear line, and a server that starts next finds nothing in its way.
#[tokio::test]
async fn a_start_that_fails_leaves_nothing_running() {
    type Spoil = fn(&Place);
    let spoils: [(&str, Spoil, Spoil, &[&str]); 5] = [
        (
            "a damaged database",
            |place| {
                fs::create_dir_all(place.path("data")).unwrap();
                fs::write(place.path("data").join(DATABASE), "no database".repeat(500)).unwrap();
            },
            |place| fs::remove_file(place.path("data").join(DATABASE)).unwrap(),
            &["damaged", DATABASE],
        ),
        (
            "a missing key",
            |place| fs::rename(place.path("certs/key.pem"), place.path("k")).unwrap(),
            |place| fs::rename(place.path("k"), place.path("certs/key.pem")).unwrap(),
            &["gatepost.toml:13:", "certificates.0.key", "key.pem"],
        ),
        (
            "a spool that is a file",
            |place| {
                fs::create_dir_all(place.path("data")).unwrap();
                fs::write(place.path("data/spool"), "").unwrap();
            },
            |place| fs::remove_file(place.path("data/spool")).unwrap(),
            &["spool"],
        ),
        (
            "a control socket that cannot be made",
            |place| fs::create_dir_all(place.path("data/control.sock/x")).unwrap(),
            |place| fs::remove_dir_all(place.path("data/control.sock")).unwrap(),
            &["control socket", "control.sock"],
        ),
        (
            "a data directory below a file",
            |place| fs::write(place.path("data"), "").unwrap(),
            |place| fs::remove_file(place.path("data")).unwrap(),
            &["data", DATABASE],
        ),
    ];
    for (what, spoil, mend, words) in spoils {
        let mut place = Place::new();
        let (socket, address) = taken();
        place.listeners = format!("submissions = [\"{address}\"]\nsubmission = []");
        drop(socket);
        spoil(&place);
        let error = place.start().await.err().expect(what);
        let text = format!("{error:#}");
        assert!(!text.contains('\n'), "{what}: {text}");
        for word in words {
            assert!(text.contains(word), "{what}: {text}");
        }
        mend(&place);
        let running = place
            .start()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:#}"));
        running.stop().await;
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_its_place_in_the_file() {
    let mut place = Place::new();
    let (_socket, address) = taken();
    place.listeners = format!("submissions = [\"127.0.0.1:0\", \"{address}\"]\nsubmission = []");
    let text = format!("{:#}", place.start().await.err().unwrap());
    for word in [
        "gatepost.toml:4:",
        "listeners.submissions.1",
        "in use",
        &address.to_string(),
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn two_servers_never_share_a_directory() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let error = Server::start(place.loaded(), None).await.err().unwrap();
    assert!(
        format!("{error:#}").contains("another process uses"),
        "{error:#}"
    );
    // The one that was there first still answers.
    let answer = ask(&place, Request::Addresses).await.unwrap();
    let mut expected: Vec<_> = running
        .addresses()
        .iter()
        .map(|(_, address)| *address)
        .collect();
    expected.extend(running.http_addresses());
    assert_eq!(answer, Some(Answer::Addresses(expected)));
    running.stop().await;
}

#[tokio::test]
async fn after_a_stop_ports_and_control_socket_are_gone() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    assert!(place.path("data/control.sock").exists());
    assert!(running.troubles().await.is_empty());
    running.stop().await;
    assert!(!place.path("data/control.sock").exists());
    assert_eq!(ask(&place, Request::AccountsChanged).await.unwrap(), None);
    for (_, address) in running.addresses() {
        TcpListener::bind(address).unwrap();
    }
    assert!(!running.troubles().await.is_empty());
}

async fn ask(place: &Place, request: Request) -> Result<Option<Answer>> {
    let data = place.path("data");
    tokio::task::spawn_blocking(move || control::ask(&data, request)).await?
}

/// What a client would meet.
async fn in_service(running: &Running) -> (usize, String, Vec<SocketAddr>) {
    let session = running.desk.session_options.load();
    let listening = running.listening().await;
    (session.recipients, session.contact.clone(), listening)
}

/// S44.
#[tokio::test]
async fn a_broken_new_configuration_leaves_the_whole_old_one_in_service() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let before = in_service(&running).await;
    let file = place.path("gatepost.toml");
    let good = place
        .text()
        .replace("hostname", "contact = \"new\"\nhostname")
        + "[limits]\nrecipients = 200\n";
    let (_socket, address) = taken();
    let port = format!("submission = [\"{address}\"]");
    let relay = "[[routes]]\nname = \"relay\"\ndomains = [\"*\"]\ntransport = \"relay\"\n\
                 hosts = [\"a.example:465\"]\n";
    let cases = [
        (
            good.replace("recipients", "recipient"),
            "gatepost.toml:21:1",
            "limits.recipient",
        ),
        (
            good.replace("200", "20"),
            "gatepost.toml:21:1",
            "limits.recipients",
        ),
        (
            good.replace("key.pem", "gone.pem"),
            "gatepost.toml:14:1",
            "certificates.0.key",
        ),
        (
            good.replace("submission = [\"127.0.0.1:0\"]", &port),
            "gatepost.toml:6:",
            "listeners.submission.0",
        ),
        (
            format!("{good}{relay}user = \"u\"\npassword_file = \"/nowhere/password\"\n"),
            "gatepost.toml:28:1",
            "routes.1.password_file",
        ),
        (
            format!("{good}{relay}ca = \"/nowhere/ca.pem\"\n"),
            "gatepost.toml:27:1",
            "routes.1.ca",
        ),
        (
            good.replace("[[routes]]", "[[routes"),
            "gatepost.toml:15:",
            "",
        ),
    ];
    for (text, place, key) in cases.iter() {
        assert_ne!(*text, good);
        fs::write(&file, text).unwrap();
        let error = format!("{:#}", running.reload().await.unwrap_err());
        assert!(
            error.contains(place) && error.contains(key),
            "{key}: {error}"
        );
        assert_eq!(in_service(&running).await, before, "{key}");
    }
    fs::remove_file(&file).unwrap();
    let error = format!("{:#}", running.reload().await.unwrap_err());
    assert!(error.contains("cannot be read"), "{error}");
    assert_eq!(in_service(&running).await, before);

    fs::write(&file, good).unwrap();
    assert!(running.reload().await.unwrap().is_empty());
    let (recipients, contact, listening) = in_service(&running).await;
    assert_eq!((recipients, contact.as_str()), (200, "new"));
    assert_eq!(listening, before.2);
    running.stop().await;
}

#[tokio::test]
async fn a_reload_moves_listeners_and_tells_what_waits_for_a_restart() {
    let mut place = Place::new();
    let running = place.start().await.unwrap();
    let before = running.addresses().to_vec();
    // Where a list is left out, the default ports are meant.
    place.listeners = "submissions = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nsubmission = []".into();
    place.more = "[log]\nlevel = \"debug\"\n".into();
    fs::write(place.path("gatepost.toml"), place.text()).unwrap();
    // Told at every reload until the restart.
    assert_eq!(running.reload().await.unwrap(), ["log.level"]);
    let answer = ask(&place, Request::Reload).await.unwrap();
    assert_eq!(answer, Some(Answer::Reloaded(vec!["log.level".into()])));
    let listening = running.listening().await;
    let added = |address: &SocketAddr| address.ip() == IpAddr::from([127, 0, 0, 2]);
    assert!(listening.contains(&before[0].1) && listening.iter().any(added));
    assert!(!listening.contains(&before[1].1));
    assert!(running.troubles().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn health_tells_what_keeps_mail_out_until_it_is_over() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    assert!(running.troubles().await.is_empty());
    let id = crate::envelope::QueueId::new(ulid::Ulid::nil());
    for (statement, told) in [
        ("ALTER TABLE tries RENAME TO away", true),
        ("ALTER TABLE away RENAME TO tries", false),
    ] {
        running.store.execute(statement).await;
        assert_eq!(running.spool.release(&id).await.is_err(), told);
        let troubles = running.troubles().await.join("; ");
        assert_eq!(
            troubles.contains("the last commit failed"),
            told,
            "{troubles}"
        );
    }
    running.doors.cancel();
    assert_eq!(running.troubles().await, ["the server is stopping"]);
    running.stop().await;
}
