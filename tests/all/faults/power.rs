//! What a power cut would find: at each 250 every octet and every directory entry that the message
//! depends on has been synced, and the record that ends a recipient is written only when its
//! Maildir copy has been.
//!
//! The server runs under strace, and its system calls are replayed against a disk that keeps only
//! what was synced. How a start recovers from each cut is shown beside the spool.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use super::house::{House, Plan, message, skip, submit, tool};

const CALLS: &str = "trace=openat,write,writev,pwrite64,pwritev,sendto,sendmsg,ftruncate,fallocate,\
                     fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat";

/// A server whose system calls are written to a file; `None` where that cannot be.
fn recorded(tables: &str) -> Option<(House, PathBuf, tempfile::TempDir)> {
    let side = tempfile::tempdir().unwrap();
    let trial = side.path().join("trial").display().to_string();
    if !tool("strace", &["-f", "-yy", "-o", &trial, "true"]) {
        skip("recording system calls needs strace and the right to trace");
        return None;
    }
    let out = side.path().join("trace");
    let path = out.display().to_string();
    let under = ["strace", "-f", "-yy", "-s", "0", "-o", &path, "-e", CALLS];
    let house = House::open(Plan {
        tables: tables.into(),
        under: under.iter().map(|word| (*word).to_owned()).collect(),
        ..Plan::default()
    });
    Some((house, out, side))
}

/// One system call as strace wrote it; in two halves where another thread's came between.
struct Call<'a> {
    thread: &'a str,
    name: &'a str,
    arguments: &'a str,
    begins: bool,
    ends: bool,
    failed: bool,
}

fn read(line: &str) -> Option<Call<'_>> {
    let (thread, rest) = line.split_once(char::is_whitespace)?;
    let (rest, failed) = (rest.trim_start(), line.contains(") = -1 "));
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (name, arguments) = resumed.split_once(" resumed>")?;
        return Some(Call {
            thread,
            name,
            arguments,
            begins: false,
            ends: true,
            failed,
        });
    }
    let (name, arguments) = rest.split_once('(')?;
    let ends = !rest.ends_with("<unfinished ...>");
    Some(Call {
        thread,
        name,
        arguments,
        begins: true,
        ends,
        failed,
    })
}

/// What is not on stable storage, as the calls go by.
#[derive(Default)]
struct Disk {
    /// Files with octets that no sync has covered, and the call that wrote last.
    octets: BTreeMap<PathBuf, usize>,
    /// Names that no sync of their directory has covered.
    entries: BTreeMap<PathBuf, usize>,
    /// Names that are there.
    known: BTreeSet<PathBuf>,
    /// What calls under way are on, and when they began.
    under_way: HashMap<String, (String, usize)>,
    /// Syncs that ended.
    syncs: usize,
}

impl Disk {
    /// Takes one line in; `number` is its place. A change counts from its beginning, a sync from
    /// its end and for what was there when it began.
    fn replay(&mut self, call: &Call<'_>, number: usize) {
        let key = format!("{} {}", call.thread, call.name);
        if call.begins {
            self.change(call.name, call.arguments, number);
            if !call.ends {
                self.under_way
                    .insert(key, (call.arguments.to_owned(), number));
                return;
            }
            self.ended(call, call.arguments, number);
        } else if let Some((arguments, begun)) = self.under_way.remove(&key) {
            self.ended(call, &arguments, begun);
        }
    }

    fn change(&mut self, name: &str, arguments: &str, number: usize) {
        let mut paths = quoted(arguments);
        match name {
            "write" | "writev" | "pwrite64" | "pwritev" | "ftruncate" | "fallocate" => {
                if let Some(file) = descriptor(arguments).filter(|file| counts(file)) {
                    self.octets.insert(file, number);
                }
            }
            "openat" if arguments.contains("O_CREAT") => {
                if let Some(path) = paths.next().filter(|path| counts(path))
                    && self.known.insert(path.clone())
                {
                    self.entries.insert(path, number);
                }
            }
            "mkdir" | "mkdirat" => {
                if let Some(path) = paths.next().filter(|path| counts(path))
                    && self.known.insert(path.clone())
                {
                    self.entries.insert(path, number);
                }
            }
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
                let (Some(from), Some(to)) = (paths.next(), paths.next()) else {
                    return;
                };
                if let Some(at) = self.octets.remove(&from) {
                    self.octets.insert(to.clone(), at);
                }
                self.entries.remove(&from);
                self.known.remove(&from);
                self.known.insert(to.clone());
                self.entries.insert(to, number);
            }
            _ => {}
        }
    }

    fn ended(&mut self, call: &Call<'_>, arguments: &str, begun: usize) {
        let mut paths = quoted(arguments);
        match call.name {
            // It was there before, or is not there now.
            "openat" | "mkdir" | "mkdirat" if call.failed => {
                if let Some(path) = paths.next()
                    && self.entries.get(&path) == Some(&begun)
                {
                    self.entries.remove(&path);
                }
            }
            "fsync" | "fdatasync" if !call.failed => {
                self.syncs += 1;
                let Some(synced) = descriptor(arguments) else {
                    return;
                };
                if self.octets.get(&synced).is_some_and(|at| *at < begun) {
                    self.octets.remove(&synced);
                }
                self.entries
                    .retain(|path, at| *at > begun || path.parent() != Some(&synced));
            }
            "unlink" | "unlinkat" => {
                if let Some(path) = paths.next() {
                    self.octets.remove(&path);
                    self.entries.remove(&path);
                    self.known.remove(&path);
                }
            }
            _ => {}
        }
    }

    fn unsynced(&self) -> impl Iterator<Item = &PathBuf> {
        self.octets.keys().chain(self.entries.keys())
    }
}

/// The file or directory that the first descriptor stands for.
fn descriptor(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    Some(rest.split('>').next()?.into())
}

fn quoted(arguments: &str) -> impl Iterator<Item = PathBuf> {
    arguments.split('"').skip(1).step_by(2).map(PathBuf::from)
}

/// Whether a file has to survive: not the index of the database's log, which is made anew, nor a
/// lock.
fn counts(path: &Path) -> bool {
    let text = path.to_string_lossy();
    (text.contains("/data/") || text.contains("/mail/"))
        && !text.ends_with("-shm")
        && !text.ends_with("lock")
}

fn is_reply(call: &Call<'_>) -> bool {
    let sends = ["sendto", "sendmsg", "write", "writev"].contains(&call.name);
    sends && call.begins && call.arguments.contains("<TCP")
}

fn is_database_write(call: &Call<'_>) -> bool {
    call.name == "pwrite64"
        && call.begins
        && descriptor(call.arguments).is_some_and(|file| file.ends_with("gatepost.sqlite-wal"))
}

/// Replays a trace. At each call of the kind, from octet `from` on, nothing that concerns may be
/// unsynced: gives what was, the number of such calls, and of syncs since then.
fn check(
    trace: &str,
    from: usize,
    data: &Path,
    is_barrier: fn(&Call<'_>) -> bool,
    concerns: fn(&Path) -> bool,
) -> (Vec<String>, usize, usize) {
    let mut disk = Disk::default();
    disk.known.insert(data.join("gatepost.sqlite"));
    let (mut faults, mut barriers, mut syncs_before) = (Vec::new(), 0, 0);
    let mut offset = 0;
    for (number, line) in trace.lines().enumerate() {
        offset += line.len() + 1;
        let Some(call) = read(line) else { continue };
        if offset > from && is_barrier(&call) {
            barriers += 1;
            let unsynced = disk.unsynced().filter(|path| concerns(path));
            faults.extend(unsynced.map(|path| format!("line {number}: {}", path.display())));
        }
        disk.replay(&call, number);
        if offset <= from {
            syncs_before = disk.syncs;
        }
    }
    (faults, barriers, disk.syncs - syncs_before)
}

/// The trace without calls that sync what the words are found in.
fn without_syncs(trace: &str, of: &str) -> String {
    let other = |line: &&str| !(line.contains("sync(") && line.contains(of));
    trace
        .lines()
        .filter(other)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// S3: 0 files and 0 directory entries are unsynced when the server says anything at all, its 250
/// among it, for small messages and for large ones.
#[test]
fn nothing_is_unsynced_at_a_250() {
    let hold = "[queue]\nhold = true\n[spool]\ninline = \"16 KiB\"";
    let Some((mut house, path, _side)) = recorded(hold) else {
        return;
    };
    // The first sign-in from here is noted in the database, behind its reply.
    drop(house.client().unwrap());
    sleep(Duration::from_millis(500));
    let from = fs::metadata(&path).unwrap().len() as usize;
    let mut client = house.client().unwrap();
    for number in 0..8 {
        let octets = if number % 2 == 0 { 2_000 } else { 700_000 };
        let text = message(&format!("m{number}"), octets);
        let said = submit(&mut client, &["bob@example.net"], &text).unwrap();
        assert!(said.starts_with("250"), "{said}");
    }
    drop(client);
    let trace = fs::read_to_string(&path).unwrap();
    let data = house.data.clone();
    house.stop();
    let at_replies = |trace: &str| check(trace, from, &data, is_reply, |_| true);
    let (faults, replies, syncs) = at_replies(&trace);
    assert_eq!(faults, Vec::<String>::new());
    // MAIL, RCPT, DATA and the end of data of 8 messages; a commit each, and a file and its
    // directory for every other.
    assert!(
        replies >= 32 && syncs >= 16,
        "{replies} replies, {syncs} syncs"
    );
    eprintln!("8 messages: {replies} replies, {syncs} syncs, nothing unsynced");
    // The check sees a sync that is missing, whichever it is.
    for kind in ["gatepost.sqlite-wal>", "/bodies>", "/bodies/"] {
        let cut: String = {
            let (before, after) = trace.split_at(from);
            before.to_owned() + &without_syncs(after, kind)
        };
        assert!(!at_replies(&cut).0.is_empty(), "blind to {kind}");
    }
}

/// S3: custody ends only when the next keeper has it: a copy and its name are synced before the
/// record is written that lets go of the message.
#[test]
fn custody_ends_after_the_copy_is_synced() {
    let Some((mut house, path, _side)) = recorded("[spool]\ninline = \"16 KiB\"") else {
        return;
    };
    let mut client = house.client().unwrap();
    for number in 0..6 {
        let octets = if number % 2 == 0 { 2_000 } else { 200_000 };
        let text = message(&format!("m{number}"), octets);
        let to = format!("bob{}@example.net", number / 3);
        let said = submit(&mut client, &[&to], &text).unwrap();
        assert!(said.starts_with("250"), "{said}");
        // One at a time, so that each record stands alone in the trace.
        let begun = Instant::now();
        while house.arrived().len() <= number {
            assert!(begun.elapsed() < Duration::from_secs(20), "not handed off");
            sleep(Duration::from_millis(20));
        }
        house.drain();
    }
    let trace = fs::read_to_string(&path).unwrap();
    let data = house.data.clone();
    house.stop();
    let in_mail = |path: &Path| path.to_string_lossy().contains("/mail/");
    let at_records = |trace: &str| check(trace, 0, &data, is_database_write, in_mail);
    let (faults, writes, _) = at_records(&trace);
    assert_eq!(faults, Vec::<String>::new());
    assert!(writes >= 12, "{writes} writes of the database");
    let renames = trace.lines().filter(|line| line.contains("/new/"));
    assert!(renames.count() >= 6);
    for kind in ["/new>", "example.net/tmp/"] {
        assert!(
            !at_records(&without_syncs(&trace, kind)).0.is_empty(),
            "blind to {kind}"
        );
    }
}
