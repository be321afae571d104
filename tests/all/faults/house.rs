//! The program itself on a directory of its own, to be killed, starved and started again.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::wire::{self, Client};

/// The one account there is.
pub const LOGIN: &str = "ann@example.org";
const PASSWORD: &str = "a long and quiet evening";

/// How long anything may take that should take no time; only a hang is longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What differs between servers.
#[derive(Default)]
pub struct Plan {
    /// More tables for the configuration: `[limits]`, `[timeouts]`, `[queue]`, `[spool]`, `[log]`.
    pub tables: String,
    /// The `[auth]` tables, where the usual ones (quick hashes, no throttle) will not do.
    pub auth: Option<String>,
    /// The data directory, where it is a file system of its own.
    pub data: Option<PathBuf>,
    /// Descriptors that the process may have.
    pub descriptors: Option<u32>,
    /// A program to run the server under, with its arguments.
    pub under: Vec<String>,
}

/// A server and what it needs; killed and removed on drop.
pub struct House {
    directory: TempDir,
    plan: Plan,
    child: Option<Child>,
    starts: usize,
    /// Where its data is.
    pub data: PathBuf,
    /// What clients trust.
    pub trust: Arc<ClientConfig>,
    /// Implicit TLS.
    pub submissions: SocketAddr,
    /// STARTTLS.
    pub submission: SocketAddr,
}

impl House {
    /// A server at work, with one account.
    pub fn open(plan: Plan) -> House {
        let mut house = House::build(plan);
        house.start();
        house
    }

    /// All that a server needs, but not started.
    pub fn build(plan: Plan) -> House {
        let directory = tempfile::tempdir().unwrap();
        let made =
            gatepost::tls::dev::certificate(&directory.path().join("certs"), SystemTime::now());
        let made = made.unwrap();
        let data = plan.data.clone();
        let data = data.unwrap_or_else(|| directory.path().join("data"));
        let auth = plan.auth.as_deref().unwrap_or(
            "[auth]\nargon2_memory = \"64 KiB\"\nargon2_iterations = 1\n\
             [auth.throttle]\nexempt = [\"127.0.0.0/8\"]",
        );
        let text = format!(
            "hostname = \"localhost\"\ndata_dir = {data:?}\n\
             [listeners]\nsubmissions = [\"127.0.0.1:0\"]\nsubmission = [\"127.0.0.1:0\"]\n\
             [[certificates]]\ncert = {:?}\nkey = {:?}\n\
             [[routes]]\nname = \"local\"\ndomains = [\"*\"]\npath = \"{}/{{address}}\"\n\
             recipients = \"any\"\n[http]\nlisten = []\n{auth}\n{}\n",
            made.pair.chain,
            made.pair.key,
            directory.path().join("mail").display(),
            plan.tables,
        );
        fs::write(directory.path().join("gatepost.toml"), text).unwrap();
        let house = House {
            trust: wire::trust(&made.ca),
            directory,
            plan,
            child: None,
            starts: 0,
            data,
            submissions: ([127, 0, 0, 1], 0).into(),
            submission: ([127, 0, 0, 1], 0).into(),
        };
        house.run(&["domain", "add", "example.org"], "");
        house.run(&["user", "add", LOGIN, "--password-stdin"], PASSWORD);
        house
    }

    /// Changes the configuration for the next start.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("gatepost.toml")
    }

    /// Runs a command of the program to its end and gives what it printed.
    pub fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let given = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {} {given:?}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the server and waits until it serves.
    pub fn start(&mut self) {
        self.spawn();
        let begun = Instant::now();
        loop {
            let log = self.log();
            let listening: Vec<_> = log
                .lines()
                .filter(|line| line.contains("listening"))
                .collect();
            if let [.., one, two] = listening[..] {
                for line in [one, two] {
                    let address = loopback(line);
                    match line.contains("submissions") {
                        true => self.submissions = address,
                        false => self.submission = address,
                    }
                }
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "no start, {ended:?}: {log}");
            assert!(begun.elapsed() < PATIENCE, "no start in time: {log}");
            sleep(Duration::from_millis(5));
        }
    }

    /// Starts the server, which is expected to end by itself; gives whether it did so well, and
    /// what it said.
    pub fn fail_to_start(&mut self) -> (bool, String) {
        self.spawn();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return (status.success(), self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "it started: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "runs already");
        self.starts += 1;
        let program = env!("CARGO_BIN_EXE_gatepost");
        let config = self.config();
        let mut line = self.plan.under.clone();
        line.extend([
            program.into(),
            "--config".into(),
            config.display().to_string(),
            "serve".into(),
        ]);
        let mut command = match self.plan.descriptors {
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$@\""), "sh"]);
                shell.args(&line);
                shell
            }
            None => {
                let mut command = Command::new(&line[0]);
                command.args(&line[1..]);
                command
            }
        };
        let log = File::create(self.log_path()).unwrap();
        self.child = Some(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join(format!("log-{}", self.starts))
    }

    /// Has the running server read its configuration anew.
    pub fn reload(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        let before = self.log().matches("configuration reloaded").count();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        let begun = Instant::now();
        while self.log().matches("configuration reloaded").count() == before {
            assert!(begun.elapsed() < PATIENCE, "not reloaded: {}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// What the server has logged since its last start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap()).into_owned()
    }

    /// The octets of the log since the last start.
    pub fn log_octets(&self) -> Vec<u8> {
        fs::read(self.log_path()).unwrap()
    }

    /// The server's process; of the server itself, not of what it runs under.
    pub fn pid(&self) -> u32 {
        let pid = self.child.as_ref().expect("runs").id();
        if self.plan.under.is_empty() {
            return pid;
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// Kills without warning.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("runs");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// Stops as a service manager does, and checks that the server ends well.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.take().expect("runs").wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// A client that has signed in.
    pub fn client(&self) -> io::Result<Client> {
        let mut client = Client::implicit(self.submissions, self.trust.clone())?;
        client.reply()?;
        client.ask("EHLO client.example")?;
        let said = client.ask(&sign_in())?;
        match said.starts_with("235") {
            true => Ok(client),
            false => Err(io::Error::other(said)),
        }
    }

    /// Below here are the Maildirs.
    pub fn mail(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    /// How many copies of each message every recipient has: by recipient and token.
    pub fn arrived(&self) -> HashMap<(String, String), usize> {
        let mut found = HashMap::new();
        for folder in fs::read_dir(self.mail()).into_iter().flatten().flatten() {
            let recipient = folder.file_name().into_string().unwrap();
            let new = fs::read_dir(folder.path().join("new"));
            for file in new.into_iter().flatten().flatten() {
                let octets = fs::read(file.path()).unwrap();
                let text = String::from_utf8_lossy(&octets);
                let token = text.lines().find_map(|line| line.strip_prefix("Subject: "));
                let token = token.expect("every message has a subject").to_owned();
                // Whole to its last line, or the copy is torn.
                assert!(text.ends_with(&format!("end of {token}\n")), "torn: {text}");
                *found.entry((recipient.clone(), token)).or_default() += 1;
            }
        }
        found
    }

    /// Waits until nothing is in custody any more.
    pub fn drain(&self) {
        let begun = Instant::now();
        loop {
            let list = self.run(&["queue", "list", "--json"], "");
            if list.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "still in custody: {list}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Forgets the highest use of memory so far, and gives the use now.
    pub fn forget_peak(&self) -> u64 {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
        self.status("VmHWM:")
    }

    /// The highest use of memory since then, in octets.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let kib = line.trim().strip_suffix(" kB").unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Whoever behaves is served.
    pub fn serves(&self, token: &str) {
        if let Err(error) = self.try_to_serve(token) {
            panic!("{token}: {error}, log:\n{}", self.log());
        }
    }

    /// Signs in on either port and submits.
    pub fn try_to_serve(&self, token: &str) -> io::Result<()> {
        let expect = |said: String, code: &str| match said.starts_with(code) {
            true => Ok(()),
            false => Err(io::Error::other(said)),
        };
        let mut client = self.client()?;
        let text = message(token, 500);
        expect(submit(&mut client, &["dora@example.net"], &text)?, "250")?;
        client.ask("QUIT")?;
        let mut client = Client::plain(self.submission)?;
        client.reply()?;
        client.ask("EHLO client.example")?;
        expect(client.ask("STARTTLS")?, "220")?;
        client.handshake(self.trust.clone())?;
        client.ask("EHLO client.example")?;
        expect(client.ask(&sign_in())?, "235")
    }

    /// Processor time used so far, in hundredths of a second.
    pub fn processor_time(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = text.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if !self.plan.under.is_empty() {
                // What it runs under would leave it running.
                let children =
                    fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
                let pid = children.ok().and_then(|text| text.trim().parse().ok());
                if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn loopback(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("127.0.0.1:").expect("an address");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    ([127, 0, 0, 1], digits.parse().unwrap()).into()
}

/// A connection from an address of this machine's own network: every 127.x.y.z is one.
pub fn from(address: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.connect(&to.into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// The `n`th of many addresses, no two in one network.
pub fn address(n: usize) -> [u8; 4] {
    [127, 1 + (n / 200) as u8, 1 + (n % 200) as u8, 7]
}

/// The line that signs in.
pub fn sign_in() -> String {
    let plain = format!("\0{LOGIN}\0{PASSWORD}");
    let plain = data_encoding::BASE64.encode(plain.as_bytes());
    format!("AUTH PLAIN {plain}")
}

/// A whole message, of about so many octets, known by its token.
pub fn message(token: &str, octets: usize) -> String {
    let mut text = format!("From: <{LOGIN}>\r\nSubject: {token}\r\n\r\n");
    while text.len() < octets {
        text.push_str("Line upon line, and every one of them has to be there in the end.\r\n");
    }
    text + "end of " + token + "\r\n"
}

/// Submits to these recipients and gives the last reply; an error is a connection that ended.
pub fn submit(client: &mut Client, to: &[&str], message: &str) -> io::Result<String> {
    let said = client.ask(&format!("MAIL FROM:<{LOGIN}>"))?;
    if !said.starts_with("250") {
        return Ok(said);
    }
    for recipient in to {
        let said = client.ask(&format!("RCPT TO:<{recipient}>"))?;
        if !said.starts_with("250") {
            client.ask("RSET")?;
            return Ok(said);
        }
    }
    let said = client.ask("DATA")?;
    if !said.starts_with("354") {
        client.ask("RSET")?;
        return Ok(said);
    }
    client.send(message.as_bytes())?;
    client.ask(".")
}

/// Runs a tool of the system; whether it did as told.
pub fn tool(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Says loudly that a test cannot run here; on the machine that checks everything, that is a fault.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run: {why}");
    // Past the harness, which keeps what a test that succeeds prints to itself.
    let _ = writeln!(io::stderr(), "\n*** NOT TESTED: {why}\n");
}

/// How often or how much, where the environment asks for more than a usual run does.
pub fn count(variable: &str, usual: usize) -> usize {
    let wanted = std::env::var(variable).ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A file system in memory, mounted on a directory; unmounted on drop.
pub struct Mount {
    directory: TempDir,
}

impl Mount {
    /// With these options (see mount(8)), or a word on why not.
    pub fn new(options: &str) -> Option<Mount> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        if !tool("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &path]) {
            skip("mounting a tmpfs needs root");
            return None;
        }
        Some(Mount { directory })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        tool(
            "umount",
            &["-l", &self.directory.path().display().to_string()],
        );
    }
}
