//! Leaving root for good, and room for many connections (S41).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, User, setgid, setgroups, setuid};

/// Becomes `name` with its own group and no others; makes `data_dir` over to it first.
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
    std::fs::create_dir_all(data_dir)
        .and_then(|()| {
            std::os::unix::fs::chown(data_dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        })
        .with_context(|| format!("failed to make {} over to user {name}", data_dir.display()))?;
    setgroups(&[user.gid]).context("failed to drop root's groups")?;
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
