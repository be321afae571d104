//! Maildirs that exist, durably.
//!
//! A directory's entry in its parent is made durable by syncing the parent. An entry that is there
//! may have been made by a process that died before it synced, so the first use of each Maildir by
//! this process syncs the whole line of its ancestors, once.

use std::{
    collections::HashSet,
    fs::DirBuilder,
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::sync_directory;

/// Which directories this process knows to be durable.
#[derive(Debug, Default)]
pub(super) struct Folders {
    durable: Mutex<HashSet<PathBuf>>,
}

/// Paths remembered at most; past that they are forgotten and synced anew.
const REMEMBERED: usize = 65_536;

impl Folders {
    /// Makes `maildir` with its `cur`, `new` and `tmp` where missing, mode 0700, and syncs what
    /// leads to it.
    pub(super) fn prepare(&self, maildir: &Path) -> io::Result<()> {
        if self.durable().contains(maildir) {
            return Ok(());
        }
        self.create(maildir)?;
        for child in ["cur", "new", "tmp"] {
            self.create(&maildir.join(child))?;
        }
        sync_directory(maildir)?;
        for directory in maildir.ancestors() {
            let Some(parent) = directory.parent() else {
                break;
            };
            if self.durable().contains(directory) {
                break;
            }
            match sync_directory(parent) {
                // Where we may only pass through, or nobody may write, the entry is not of our
                // making.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                    ) => {}
                other => other?,
            }
        }
        let mut durable = self.durable();
        if durable.len() > REMEMBERED {
            durable.clear();
        }
        durable.extend(maildir.ancestors().map(Path::to_owned));
        Ok(())
    }

    /// Looks at `maildir` anew next time.
    pub(super) fn forget(&self, maildir: &Path) {
        self.durable().remove(maildir);
    }

    /// Makes a directory and those above it, where missing.
    fn create(&self, directory: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        let mut made = builder.create(directory);
        if let (Err(error), Some(parent)) = (&made, directory.parent())
            && error.kind() == ErrorKind::NotFound
        {
            self.create(parent)?;
            made = builder.create(directory);
        }
        match made {
            Ok(()) => self.forget(directory),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // Nothing panics while it is held, so a poisoned set is whole.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_maildir_is_made_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::default();
        let maildir = root.path().join("ours.example/alice");
        folders.prepare(&maildir).unwrap();
        for directory in [
            "ours.example",
            "ours.example/alice",
            "ours.example/alice/new",
        ] {
            let mode = root
                .path()
                .join(directory)
                .metadata()
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o700, "{directory}");
        }
        for child in ["cur", "new", "tmp"] {
            assert!(maildir.join(child).is_dir(), "{child}");
        }
    }

    #[test]
    fn a_maildir_that_went_away_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::default();
        let maildir = root.path().join("ours.example/alice");
        folders.prepare(&maildir).unwrap();
        std::fs::remove_dir_all(root.path().join("ours.example")).unwrap();
        folders.forget(&maildir);
        folders.prepare(&maildir).unwrap();
        assert!(maildir.join("new").is_dir());
    }
}
