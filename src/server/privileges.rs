//! Leaving root for good, and room for many connections (S41).

use std::{ffi::CString, fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, User, initgroups, setgid, setuid};

/// Becomes `name`; makes a `data_dir` that is missing, or root's and empty, over to it first.
///
/// Does nothing where the process is that user already.
///
/// # Errors
/// Where there is no such user, or the system refuses.
pub fn become_user(name: &str, data_dir: &Path) -> Result<()> {
    let user = User::from_name(name)
        .with_context(|| format!("failed to look up user {name}"))?
        .with_context(|| format!("user: there is no user {name} on this system"))?;
    if Uid::effective() == user.uid {
        return Ok(());
    }
    ensure!(
        Uid::effective().is_root(),
        "user: only root can become user {name}"
    );
    make_over(data_dir, &user).with_context(|| {
        let data_dir = data_dir.display();
        format!("failed to make {data_dir} over to user {name}")
    })?;
    leave_root(&user)
}

/// What holds files already belongs to somebody, and stays as it is.
fn make_over(data_dir: &Path, user: &User) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, chown};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)?;
    let found = fs::symlink_metadata(data_dir)?;
    if found.is_dir() && found.uid() == 0 && fs::read_dir(data_dir)?.next().is_none() {
        chown(data_dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}

/// Becomes `user`, with the groups that the system lists for it and no others.
///
/// # Errors
/// The system refuses, or root could be regained.
pub fn leave_root(user: &User) -> Result<()> {
    let name = CString::new(user.name.as_str()).context("a user's name holds NUL")?;
    initgroups(&name, user.gid).context("failed to take the user's groups for root's")?;
    setgid(user.gid).context("failed to drop root's group")?;
    setuid(user.uid).context("failed to drop root")?;
    // A way back would make all of this an ornament.
    ensure!(setuid(Uid::from_raw(0)).is_err(), "root can be regained");
    Ok(())
}

/// Lets the process open as many descriptors as the system allows it.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "descriptor limit not raised");
    }
}
