//! The real server as a child process, in a directory of its own, on ports of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gatepost::sasl::ScramClient;
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use tempfile::TempDir;

use crate::{
    wire::{Client, trust},
    world::{accounts, certificates, configuration, copy},
};

pub use crate::world::{ALICE, BOB, PASSWORD, Settings, free_address};

/// How long anything may take before a test gives up; nothing that works comes near it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub struct Server {
    /// Implicit TLS.
    pub submissions: SocketAddr,
    /// STARTTLS.
    pub submission: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
    /// What a client trusts.
    pub trust: Arc<ClientConfig>,
    pub settings: Settings,
    directory: TempDir,
    process: Option<Process>,
}

struct Process {
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Server {
    /// One with the usual settings.
    pub fn start() -> Server {
        Server::with(Settings::new())
    }

    pub fn with(settings: Settings) -> Server {
        let mut server = Server::stopped(settings);
        server.run();
        server
    }

    /// Everything made ready, nothing started.
    pub fn stopped(settings: Settings) -> Server {
        let directory = tempfile::Builder::new()
            .prefix("gatepost-")
            .tempdir()
            .unwrap();
        copy(&accounts(), &directory.path().join("data"));
        copy(&certificates(), &directory.path().join("certs"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server {
            submissions: nowhere,
            submission: nowhere,
            http: free_address(),
            trust: trust(&directory.path().join("certs/ca.pem")),
            settings,
            directory,
            process: None,
        };
        server.configure();
        server
    }

    /// Writes the configuration again, from the settings as they are.
    pub fn configure(&self) {
        let text = configuration(self.directory.path(), self.http, &self.settings);
        fs::write(self.path("gatepost.toml"), text).unwrap();
    }

    /// Starts the process and waits until it serves.
    pub fn run(&mut self) {
        let mut command = command(&self.path("gatepost.toml"));
        command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        self.run_as(command);
    }

    /// The same by a command that becomes the server.
    pub fn run_as(&mut self, mut command: Command) {
        assert!(self.process.is_none(), "it runs already");
        let notify = self.path("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).unwrap();
        ready.set_nonblocking(true).unwrap();
        // The server may have become another user by then.
        fs::set_permissions(&notify, fs::Permissions::from_mode(0o777)).unwrap();
        let mut child = command
            .stderr(Stdio::piped())
            .env("NOTIFY_SOCKET", &notify)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                sink.lock().unwrap().append(&mut line);
            }
        });
        self.process = Some(Process { child, log, reader });
        wait_for("the server to be ready", || {
            if let Some(status) = self.child().try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.last_words());
            }
            let mut state = [0; 1024];
            let count = ready.recv(&mut state).ok()?;
            state[..count].starts_with(b"READY=1").then_some(())
        });
        self.submissions = self.listening("submissions");
        self.submission = self.listening("submission");
    }

    /// Where this run said to listen; the log is JSON.
    fn listening(&self, service: &str) -> SocketAddr {
        wait_for(&format!("{service} to listen"), || {
            self.log()
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter(|line| line["message"] == "listening" && line["service"] == service)
                .find_map(|line| line["address"].as_str()?.parse().ok())
        })
    }

    fn child(&mut self) -> &mut Child {
        &mut self.process.as_mut().expect("it runs").child
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the running process has logged so far.
    pub fn log(&self) -> String {
        let log = &self.process.as_ref().expect("it runs").log;
        String::from_utf8_lossy(&log.lock().unwrap()).into_owned()
    }

    /// Waits until the log has a line with all of `words`.
    pub fn logged(&self, words: &[&str]) -> String {
        wait_for(&format!("a log line with {words:?}"), || {
            let log = self.log();
            let mut lines = log.lines();
            let found = lines.find(|line| words.iter().all(|word| line.contains(word)));
            found.map(str::to_owned)
        })
    }

    pub fn signal(&mut self, signal: Signal) {
        send_signal(self.child(), signal);
    }

    /// SIGHUP; returns when the configuration is in force.
    pub fn reload(&mut self) {
        let before = self.log().matches("configuration reloaded").count();
        self.signal(Signal::HUP);
        wait_for("the configuration to be reloaded", || {
            let now = self.log().matches("configuration reloaded").count();
            (now > before).then_some(())
        });
    }

    /// Waits for the process to end by itself; its status and all it logged.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let status = wait_for("the server to end", || self.child().try_wait().unwrap());
        (status, self.last_words())
    }

    fn last_words(&mut self) -> String {
        let process = self.process.take().expect("it ran");
        process.reader.join().unwrap();
        String::from_utf8_lossy(&process.log.lock().unwrap()).into_owned()
    }

    /// SIGTERM; what the server logged until its end, which must be a good one.
    pub fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.ended();
        assert!(status.success(), "{status}\n{log}");
        log
    }

    /// Ends it as a crash would.
    pub fn kill9(&mut self) -> String {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
        self.last_words()
    }

    /// Runs a command of the program on this server's configuration; its standard output.
    pub fn gatepost(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        gatepost(&self.path("gatepost.toml"), arguments, input)
    }

    /// As [`Server::gatepost`] where the command must succeed.
    pub fn manage(&self, arguments: &[&str]) -> String {
        self.gatepost(arguments, "").unwrap()
    }

    /// The messages in a recipient's Maildir, oldest name first.
    pub fn mail(&self, recipient: &str) -> Vec<Vec<u8>> {
        let new = self.path("mail").join(recipient).join("new");
        let mut paths: Vec<_> = match fs::read_dir(new) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => Vec::new(),
        };
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// Waits until all mail in custody is handed on, then gives a recipient's messages.
    pub fn delivered(&self, recipient: &str) -> Vec<Vec<u8>> {
        wait_for("an empty queue", || {
            (self.metric("gatepost_queue_messages") == 0.0).then_some(())
        });
        self.mail(recipient)
    }

    /// The only message of a recipient, as text.
    pub fn only(&self, recipient: &str) -> String {
        let mut mail = self.delivered(recipient);
        let shown: Vec<_> = mail
            .iter()
            .map(|octets| String::from_utf8_lossy(octets))
            .collect();
        assert_eq!(mail.len(), 1, "{shown:#?}\n{}", self.log());
        String::from_utf8(mail.remove(0)).unwrap()
    }

    /// GET; status line and body.
    pub fn get(&self, page: &str) -> (String, String) {
        let mut socket = TcpStream::connect(self.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            socket,
            "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// A session inside TLS, behind greeting and EHLO.
    pub fn greeted(&self) -> Client {
        let mut client = Client::implicit(self.submissions, Arc::clone(&self.trust)).unwrap();
        assert!(client.reply().unwrap()[0].starts_with("220 "));
        assert!(
            client
                .ask("EHLO client.example")
                .unwrap()
                .starts_with("250 ")
        );
        client
    }

    /// The same on the other port, by way of STARTTLS.
    pub fn upgraded(&self) -> Client {
        let mut client = Client::plain(self.submission).unwrap();
        assert!(client.reply().unwrap()[0].starts_with("220 "));
        assert!(
            client
                .ask("EHLO client.example")
                .unwrap()
                .starts_with("250 ")
        );
        assert!(client.ask("STARTTLS").unwrap().starts_with("220 "));
        client.handshake(Arc::clone(&self.trust)).unwrap();
        assert!(
            client
                .ask("EHLO client.example")
                .unwrap()
                .starts_with("250 ")
        );
        client
    }

    /// A session of alice's.
    pub fn signed_in(&self) -> Client {
        let mut client = self.greeted();
        assert_eq!(sign_in(&mut client, ALICE, PASSWORD), "235 2.7.0 Signed in");
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            if std::thread::panicking() {
                let log = process.log.lock().unwrap();
                eprintln!("the server's log:\n{}", String::from_utf8_lossy(&log));
            }
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// AUTH PLAIN with an initial response; the reply.
pub fn sign_in(client: &mut Client, name: &str, password: &str) -> String {
    let response = format!("\0{name}\0{password}");
    let encoded = data_encoding::BASE64.encode(response.as_bytes());
    client.ask(&format!("AUTH PLAIN {encoded}")).unwrap()
}

/// AUTH SCRAM-SHA-256, with the server's proof looked at; the last reply.
pub fn sign_in_scram(client: &mut Client, name: &str, password: &str) -> String {
    let encode = |message: &[u8]| data_encoding::BASE64.encode(message);
    let decode = |reply: &str| {
        let message = reply.strip_prefix("334 ")?;
        Some(data_encoding::BASE64.decode(message.as_bytes()).unwrap())
    };
    let (mut scram, first) = ScramClient::start(name, &[7; 24]).unwrap();
    let reply = client.ask(&format!("AUTH SCRAM-SHA-256 {}", encode(&first)));
    let challenge = decode(&reply.unwrap()).expect("a challenge");
    let derivation = scram.challenged(&challenge, &password.into()).unwrap();
    let response = scram.derived(&derivation.run());
    let reply = client.ask(&encode(&response)).unwrap();
    match decode(&reply) {
        None => reply,
        Some(proof) => {
            scram.verified(&proof).unwrap();
            client.ask("").unwrap()
        }
    }
}

/// Hands `content` over in one transaction with DATA (dots are the caller's); the last reply.
pub fn send(client: &mut Client, from: &str, to: &[&str], content: &[u8]) -> String {
    let sender = client.ask(&format!("MAIL FROM:<{from}>")).unwrap();
    assert!(sender.starts_with("250 "), "{sender}");
    for to in to {
        let recipient = client.ask(&format!("RCPT TO:<{to}>")).unwrap();
        assert!(recipient.starts_with("250 "), "{recipient}");
    }
    let data = client.ask("DATA").unwrap();
    assert!(data.starts_with("354 "), "{data}");
    client.send(content).unwrap();
    client.ask(".").unwrap()
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn send_signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(id.expect("a process has an id"), signal).unwrap();
}

pub fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command
        .arg("--config")
        .arg(config)
        .env_remove("NOTIFY_SOCKET");
    command
}

/// Runs the program to its end: standard output, or everything it said where it failed.
pub fn gatepost(config: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = command(config)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that fails at once does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    match output.status.success() {
        true => Ok(said),
        false => Err(said + &String::from_utf8_lossy(&output.stderr)),
    }
}
