//! The order in which files are written and synced, cut at every point; and a disk to watch it on.

use std::sync::Mutex;

use super::*;
use crate::spool::disk::DiskFile;

/// Something that happened to the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    Created(String),
    Written(String),
    Synced(String),
    DirectorySynced,
    Rows(Vec<String>),
    Answered(String),
    Removed(String),
}

/// What a disk can be told to fail at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    Create,
    Write,
    Sync,
    SyncDirectory,
}

/// A real directory that writes down what is done to it, and fails when told to.
#[derive(Debug)]
pub(super) struct Watched {
    directory: Directory,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub events: Vec<Event>,
    pub fault: Option<(Operation, rustix::io::Errno)>,
    pub free: Free,
}

impl State {
    fn check(&self, operation: Operation) -> io::Result<()> {
        match self.fault {
            Some((fails, errno)) if fails == operation => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    name: String,
    state: Arc<Mutex<State>>,
}

impl Disk for Watched {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock().unwrap();
        state.check(Operation::Create)?;
        state.events.push(Event::Created(name.to_owned()));
        Ok(Box::new(WatchedFile {
            file: self.directory.create(name)?,
            name: name.to_owned(),
            state: self.state.clone(),
        }))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.check(Operation::SyncDirectory)?;
        state.events.push(Event::DirectorySynced);
        self.directory.sync_directory()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let event = Event::Removed(name.to_owned());
        self.state.lock().unwrap().events.push(event);
        self.directory.remove(name)
    }

    fn free(&self) -> io::Result<Free> {
        Ok(self.state.lock().unwrap().free)
    }

    fn rows(&self, names: &[String]) {
        let event = Event::Rows(names.to_vec());
        self.state.lock().unwrap().events.push(event);
    }
}

impl DiskFile for WatchedFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.check(Operation::Write)?;
        state.events.push(Event::Written(self.name.clone()));
        self.file.append(octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        // Written down also where it fails: S4 allows one try.
        state.events.push(Event::Synced(self.name.clone()));
        state.check(Operation::Sync)?;
        self.file.sync()
    }
}

impl House {
    /// A house whose body files are on a disk that is watched.
    pub(super) async fn watched(change: impl FnOnce(&mut Options)) -> (House, Arc<Mutex<State>>) {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(directory.path());
        change(&mut options);
        let store = Store::open(&directory.path().join("gatepost.sqlite"))
            .await
            .unwrap();
        let state = Arc::new(Mutex::new(State {
            events: Vec::new(),
            fault: None,
            free: Free {
                octets: u64::MAX,
                inodes: u64::MAX,
            },
        }));
        let disk = Watched {
            directory: Directory::open(&options.directory.join("bodies")).unwrap(),
            state: state.clone(),
        };
        let (spool, fresh) = Spool::open_on(store.clone(), options, now(), Arc::new(disk))
            .await
            .unwrap();
        let house = House {
            directory,
            store,
            spool,
            fresh,
        };
        (house, state)
    }
}

/// What is on stable storage of one file after a power cut, by the strictest reading: only what was
/// synced, under a name only if the directory was synced after the file was made.
#[derive(Default)]
struct Survivor {
    created: bool,
    named: bool,
    unsynced: bool,
}

/// S3: cut the order of writes and syncs at every point; wherever the rows may already be durable,
/// the files they name are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_cut_the_rows_name_only_files_that_survive() {
    let (house, state) = House::watched(|_| {}).await;
    let house = Arc::new(house);
    let mut tasks = Vec::new();
    for number in 1..=12 {
        let (house, state) = (house.clone(), state.clone());
        tasks.push(tokio::spawn(async move {
            // Some in memory, some in one piece, some in several.
            let size = [INLINE / 2, 2 * INLINE, 600 * 1024][number as usize % 3];
            let message = house.message(number, &vec![b'x'; size]).await;
            let name = match &message.body.0 {
                body::Kind::File { name, .. } => Some(name.as_str().to_owned()),
                body::Kind::Memory(_) => None,
            };
            house.spool.commit(message).await.unwrap();
            if let Some(name) = name {
                state.lock().unwrap().events.push(Event::Answered(name));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }

    let events = state.lock().unwrap().events.clone();
    let answered = |event: &&Event| matches!(event, Event::Answered(_));
    assert_eq!(events.iter().filter(answered).count(), 8);
    let mut files = std::collections::HashMap::<&String, Survivor>::new();
    for (cut, event) in events.iter().enumerate() {
        match event {
            Event::Created(name) => files.entry(name).or_default().created = true,
            Event::Written(name) => files.entry(name).or_default().unsynced = true,
            Event::Synced(name) => files.entry(name).or_default().unsynced = false,
            Event::DirectorySynced => files
                .values_mut()
                .for_each(|file| file.named = file.created),
            Event::Removed(name) => drop(files.remove(name)),
            Event::Rows(names) => {
                for name in names {
                    let file = files.get(name).expect("rows name a file that was made");
                    assert!(file.named, "at {cut}: {name} has no durable name");
                    assert!(!file.unsynced, "at {cut}: {name} is not synced");
                }
            }
            Event::Answered(name) => {
                let before = events[..cut].iter();
                let rows = before
                    .filter(|event| matches!(event, Event::Rows(names) if names.contains(name)));
                assert_eq!(rows.count(), 1, "{name} was answered before its rows");
            }
        }
    }
}
