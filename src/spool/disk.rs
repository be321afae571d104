//! The few things that the spool does to files, behind a trait so that tests can write down their
//! order and make each of them fail.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A directory of body files. Every call may block.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// Makes a file that does not exist yet, readable by its owner alone.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Makes the names of all files so far durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// What the file system has left for us.
    fn free(&self) -> io::Result<Free>;
    /// Tells that rows naming these files are about to be committed.
    #[cfg(test)]
    fn rows(&self, _names: &[String]) {}
}

/// A body file being written.
pub(super) trait DiskFile: Send {
    /// Appends, and lets the kernel start to write the octets back.
    fn append(&mut self, octets: &[u8]) -> io::Result<()>;
    /// Makes octets and length durable. To be called once: a failed sync is final (S4).
    fn sync(&mut self) -> io::Result<()>;
}

/// Free space of a file system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Free {
    pub octets: u64,
    pub inodes: u64,
}

/// A real directory.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Creates the directory (0700) and those above it, and makes their names durable.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        for above in path.ancestors().skip(1).take(2) {
            match fs::File::open(above) {
                Ok(directory) => directory.sync_all()?,
                // One that we may not read was not made by us just now.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(_) if above.as_os_str().is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Directory(path.to_path_buf()))
    }
}

impl Disk for Directory {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.0.join(name))?;
        Ok(Box::new(BodyFile { file, octets: 0 }))
    }

    fn sync_directory(&self) -> io::Result<()> {
        // Opened anew each time: a descriptor on which a sync failed is never believed again.
        fs::File::open(&self.0)?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn free(&self) -> io::Result<Free> {
        let found = rustix::fs::statvfs(&self.0)?;
        Ok(Free {
            octets: found.f_bavail.saturating_mul(found.f_frsize),
            // Some file systems (btrfs) count no inodes and say 0 of 0.
            inodes: if found.f_files == 0 {
                u64::MAX
            } else {
                found.f_favail
            },
        })
    }
}

struct BodyFile {
    file: fs::File,
    octets: u64,
}

impl DiskFile for BodyFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)?;
        let length = std::num::NonZeroU64::new(octets.len() as u64);
        // On Linux this starts write-back of dirty pages, so that the sync at the end finds little
        // left to do. Only a hint.
        let _ = rustix::fs::fadvise(
            &self.file,
            self.octets,
            length,
            rustix::fs::Advice::DontNeed,
        );
        self.octets += octets.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}
