//! Disks that are full, read-only, slow or broken, and a database that somebody else holds: a
//! temporary refusal at once, nothing lost, and mail again as soon as the cause is gone.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::house::{House, Mount, Plan, message, skip, submit, tool};
use crate::wire::Client;

const TO: [&str; 1] = ["bob@example.net"];

/// A refusal takes about a second; this much is only given because machines can be busy.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Mail is taken again within so long after the cause has gone.
const BACK: Duration = Duration::from_secs(5);

/// Sends messages and keeps what was promised.
struct Sender {
    client: Client,
    accepted: Vec<String>,
    number: usize,
}

impl Sender {
    fn new(house: &House) -> Sender {
        Sender {
            client: house.client().unwrap(),
            accepted: Vec::new(),
            number: 0,
        }
    }

    fn send(&mut self, octets: usize) -> String {
        self.number += 1;
        let token = format!("m{}", self.number);
        let begun = Instant::now();
        let said = submit(&mut self.client, &TO, &message(&token, octets)).unwrap();
        assert!(
            begun.elapsed() < AT_ONCE,
            "{said} after {:?}",
            begun.elapsed()
        );
        if said.starts_with("250") {
            self.accepted.push(token);
        } else {
            assert!(
                said.starts_with("452 4.3.1") || said.starts_with("451 4.3"),
                "{said}"
            );
        }
        said
    }

    /// Refused for now, small and large alike.
    fn put_off(&mut self, octets: usize) {
        let said = self.send(octets);
        assert!(said.starts_with("45"), "{said}");
    }

    /// Taken again before long, without a restart.
    fn back(&mut self, octets: usize) {
        let begun = Instant::now();
        while !self.send(octets).starts_with("250") {
            assert!(begun.elapsed() < BACK, "still refused");
            sleep(Duration::from_millis(50));
        }
    }

    /// Everything promised arrives, and nothing else.
    fn settle(self, house: &mut House) {
        house.kill();
        house.start();
        house.drain();
        let mut arrived: Vec<_> = house
            .arrived()
            .into_keys()
            .map(|(_, token)| token)
            .collect();
        let mut accepted = self.accepted;
        arrived.sort();
        accepted.sort();
        assert_eq!(arrived, accepted);
        house.stop();
    }
}

/// Mail stays in custody, and nothing is kept in reserve.
fn on(data: &Path, more: &str) -> House {
    House::open(Plan {
        data: Some(data.to_owned()),
        tables: format!(
            "[queue]\nhold = true\n[spool]\ninline = \"16 KiB\"\nreserve = 0\nreserve_inodes = 0\n{more}"
        ),
        ..Plan::default()
    })
}

fn unhold(house: &House) {
    house.edit("hold = true", "hold = false");
}

/// S37: with nothing in reserve it is the writing that fails.
#[test]
fn a_full_disk_is_452_and_nothing_is_lost() {
    let Some(mount) = Mount::new("size=8m,mode=0700") else {
        return;
    };
    let mut house = on(mount.path(), "");
    let mut sender = Sender::new(&house);
    let mut refused = 0;
    for number in 0..400 {
        let said = sender.send(if number % 2 == 0 { 100_000 } else { 8_000 });
        if !said.starts_with("250") {
            assert!(said.starts_with("452 4.3.1"), "{said}");
            refused += 1;
        }
        if refused > 8 {
            break;
        }
    }
    assert!(refused > 8 && sender.accepted.len() > 10, "never full");
    let path = mount.path().display().to_string();
    assert!(tool("mount", &["-o", "remount,size=32m", &path]));
    sender.back(100_000);
    sender.back(8_000);
    unhold(&house);
    sender.settle(&mut house);
}

/// S37: the room that is to remain is looked after before anything is written.
#[test]
fn room_that_is_to_remain_is_kept() {
    let Some(mount) = Mount::new("size=32m,mode=0700") else {
        return;
    };
    let mut house = House::open(Plan {
        data: Some(mount.path().to_owned()),
        tables: "[spool]\nreserve = \"16 MiB\"\nreserve_inodes = 10".into(),
        ..Plan::default()
    });
    let mut sender = Sender::new(&house);
    sender.back(1000);
    // More than there is room for is told before it is sent.
    let said = sender
        .client
        .ask("MAIL FROM:<ann@example.org> SIZE=20000000")
        .unwrap();
    assert!(said.starts_with("452 4.3.1"), "{said}");
    let filler = mount.path().join("filler");
    fs::write(&filler, vec![0; 20 << 20]).unwrap();
    sleep(Duration::from_millis(2500));
    sender.put_off(1000);
    fs::remove_file(&filler).unwrap();
    sender.back(1000);
    sender.settle(&mut house);
}

/// S37.
#[test]
fn without_inodes_mail_is_put_off() {
    let Some(mount) = Mount::new("size=64m,nr_inodes=60,mode=0700") else {
        return;
    };
    let mut house = on(mount.path(), "");
    let mut sender = Sender::new(&house);
    sender.back(100_000);
    let mut fillers = Vec::new();
    for number in 0.. {
        let path = mount.path().join(format!("filler-{number}"));
        if fs::File::create(&path).is_err() {
            break;
        }
        fillers.push(path);
    }
    assert!(fillers.len() > 10);
    sender.put_off(100_000);
    for path in fillers {
        fs::remove_file(path).unwrap();
    }
    sender.back(100_000);
    unhold(&house);
    sender.settle(&mut house);
}

/// S4: bodies that cannot be written, because the file system takes no writes any more.
#[test]
fn a_read_only_spool_puts_mail_off() {
    let Some(mount) = Mount::new("size=64m,mode=0700") else {
        return;
    };
    let mut house = on(mount.path(), "");
    let mut sender = Sender::new(&house);
    sender.back(100_000);
    let bodies = mount.path().join("spool/bodies").display().to_string();
    assert!(tool("mount", &["--bind", &bodies, &bodies]));
    assert!(tool("mount", &["-o", "remount,bind,ro", &bodies]));
    sender.put_off(100_000);
    assert!(tool("umount", &["-l", &bodies]));
    sender.back(100_000);
    unhold(&house);
    sender.settle(&mut house);
}

/// S4: a spool directory that takes no new entries.
#[test]
fn a_spool_directory_that_takes_no_files_puts_mail_off() {
    let Some(mount) = Mount::new("size=64m,mode=0700") else {
        return;
    };
    let mut house = on(mount.path(), "");
    let mut sender = Sender::new(&house);
    sender.back(100_000);
    let bodies = mount.path().join("spool/bodies");
    let aside = mount.path().join("spool/aside");
    fs::rename(&bodies, &aside).unwrap();
    fs::write(&bodies, "a file where the directory was").unwrap();
    sender.put_off(100_000);
    fs::remove_file(&bodies).unwrap();
    fs::rename(&aside, &bodies).unwrap();
    sender.back(100_000);
    unhold(&house);
    sender.settle(&mut house);
}

/// Another process holds the database's write lock.
#[test]
fn a_locked_database_puts_mail_off() {
    let data = tempfile::tempdir().unwrap();
    let mut house = on(data.path(), "");
    let mut sender = Sender::new(&house);
    sender.back(1000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A write that fails has the database opened anew, and nothing may be forgotten with that.
    if let Some(tracer) = Tracer::attach(&house, "pwrite64", "error=EIO") {
        sender.put_off(1000);
        tracer.detach();
        sender.back(1000);
    }
    let lock = runtime.block_on(hold_lock(&data.path().join("gatepost.sqlite")));
    for octets in [1000, 1000, 100_000] {
        sender.put_off(octets);
    }
    // Whoever signed in before still signs in.
    let mut other = house.client().unwrap();
    assert!(other.ask("NOOP").unwrap().starts_with("250"));
    runtime.block_on(async move {
        use sqlx::Connection as _;
        lock.close().await.unwrap();
    });
    sender.back(1000);
    unhold(&house);
    sender.settle(&mut house);
}

async fn hold_lock(database: &Path) -> sqlx::SqliteConnection {
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE")
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

const SYNCS: &str = "fsync,fdatasync";

/// A tracer that makes system calls of the server fail or wait; ends on drop.
struct Tracer(Child);

impl Tracer {
    fn attach(house: &House, calls: &str, inject: &str) -> Option<Tracer> {
        let mut child = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={calls}"),
            ])
            .args(["-e", &format!("inject={calls}:{inject}")])
            .args(["-p", &house.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let begun = Instant::now();
        while !is_traced(house.pid()) {
            if child.try_wait().ok()?.is_some() || begun.elapsed() > Duration::from_secs(5) {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            sleep(Duration::from_millis(10));
        }
        Some(Tracer(child))
    }

    /// Lets the server go.
    fn detach(mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether every thread of a process has a tracer.
fn is_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

/// S4: a sync that fails is the end of that message, and only of that.
#[test]
fn a_disk_that_fails_to_sync_puts_mail_off() {
    let data = tempfile::tempdir().unwrap();
    let mut house = on(data.path(), "");
    let mut sender = Sender::new(&house);
    sender.back(1000);
    let Some(tracer) = Tracer::attach(&house, SYNCS, "error=EIO") else {
        return skip("failing syncs need strace and the right to trace");
    };
    for octets in [1000, 100_000, 1000] {
        sender.put_off(octets);
    }
    tracer.detach();
    sender.back(1000);
    sender.back(100_000);
    unhold(&house);
    sender.settle(&mut house);
}

/// S4: what was refused because its sync failed does not come back, though its octets are in the
/// database's log and the server is killed before it writes anything else there.
#[test]
fn what_was_refused_for_a_failing_sync_does_not_come_back() {
    let data = tempfile::tempdir().unwrap();
    let mut house = on(data.path(), "");
    let mut sender = Sender::new(&house);
    sender.back(1000);
    let Some(tracer) = Tracer::attach(&house, SYNCS, "error=EIO") else {
        return skip("failing syncs need strace and the right to trace");
    };
    for octets in [1000, 100_000, 1000, 1000] {
        sender.put_off(octets);
    }
    unhold(&house);
    sender.settle(&mut house);
    drop(tracer);
}

/// S4, S37: whatever the kernel says when the database's log is written.
#[test]
fn a_database_that_takes_no_writes_puts_mail_off() {
    let data = tempfile::tempdir().unwrap();
    let mut house = on(data.path(), "");
    let mut sender = Sender::new(&house);
    for (error, code) in [
        ("EROFS", "451"),
        ("ENOSPC", "452"),
        ("EIO", "451"),
        ("EDQUOT", "45"),
    ] {
        sender.back(1000);
        let Some(tracer) = Tracer::attach(&house, "pwrite64", &format!("error={error}")) else {
            return skip("failing writes need strace and the right to trace");
        };
        for octets in [1000, 100_000] {
            let said = sender.send(octets);
            assert!(said.starts_with(code), "{error}: {said}");
        }
        tracer.detach();
        sender.back(100_000);
    }
    unhold(&house);
    sender.settle(&mut house);
}

/// S5: while each sync takes long, other sessions are answered between.
#[test]
fn a_slow_disk_keeps_nobody_else_waiting() {
    let data = tempfile::tempdir().unwrap();
    let mut house = on(data.path(), "");
    let mut sender = Sender::new(&house);
    let mut other = house.client().unwrap();
    sender.back(1000);
    let Some(tracer) = Tracer::attach(&house, SYNCS, "delay_enter=400000") else {
        return skip("slow syncs need strace and the right to trace");
    };
    for octets in [1000, 100_000] {
        sender.number += 1;
        let token = format!("m{}", sender.number);
        let client = &mut sender.client;
        for line in [
            "MAIL FROM:<ann@example.org>",
            "RCPT TO:<bob@example.net>",
            "DATA",
        ] {
            client.ask(line).unwrap();
        }
        client.send(message(&token, octets).as_bytes()).unwrap();
        client.send(b".\r\n").unwrap();
        let mut answered = 0;
        let said = std::thread::scope(|threads| {
            let waiting = threads.spawn(|| client.reply().unwrap());
            while !waiting.is_finished() {
                assert!(other.ask("NOOP").unwrap().starts_with("250"));
                answered += 1;
            }
            waiting.join().unwrap().pop().unwrap()
        });
        assert!(said.starts_with("250"), "{said}");
        sender.accepted.push(token);
        // A reactor that waits for the disk would have answered once or twice.
        assert!(answered > 20, "only {answered} answers during a commit");
    }
    tracer.detach();
    unhold(&house);
    sender.settle(&mut house);
}

/// What cannot be handed off stays, is tried again, and arrives once it can.
#[test]
fn a_maildir_that_cannot_be_written_keeps_mail_in_custody() {
    let mut house = House::build(Plan {
        tables: "[queue]\nretry_first = \"1s\"\nretry_longest = \"1s\"".into(),
        ..Plan::default()
    });
    // A file where the Maildirs would go.
    let mut file = fs::File::create(house.mail()).unwrap();
    file.write_all(b"in the way").unwrap();
    house.start();
    let mut sender = Sender::new(&house);
    sender.back(1000);
    let begun = Instant::now();
    loop {
        let list = house.run(&["queue", "list", "--json"], "");
        assert!(
            list.contains("bob@example.net"),
            "gone from custody: {list}"
        );
        if !list.contains("\"attempts\":0") {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "never tried: {list}"
        );
        sleep(Duration::from_millis(50));
    }
    fs::remove_file(house.mail()).unwrap();
    sender.settle(&mut house);
}

/// S4: copies that cannot be synced are no deliveries, and outcomes that cannot be recorded are not
/// forgotten: once the disk works again each message is there, once.
#[test]
fn a_disk_that_fails_during_the_hand_off_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let retry = "retry_first = \"1s\"\nretry_longest = \"1s\"";
    let mut house = on(data.path(), "");
    house.edit("hold = true", &format!("hold = true\n{retry}"));
    house.reload();
    let mut sender = Sender::new(&house);
    for number in 0..20 {
        sender.back(if number % 4 == 0 { 100_000 } else { 1_000 });
    }
    for inject in ["error=EIO", "error=ENOSPC:when=1+3"] {
        let Some(tracer) = Tracer::attach(&house, SYNCS, inject) else {
            return skip("failing syncs need strace and the right to trace");
        };
        if inject == "error=EIO" {
            unhold(&house);
            house.reload();
        }
        sleep(Duration::from_secs(2));
        tracer.detach();
    }
    let trouble = house.log();
    assert!(
        trouble.contains("disk I/O error"),
        "nothing failed: {trouble}"
    );
    house.drain();
    assert!(house.arrived().values().all(|copies| *copies == 1));
    sender.settle(&mut house);
}
