//! `gatepost serve`: start, obey signals, stop.

use std::path::PathBuf;

use anyhow::Result;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Loaded,
    listener::Activated,
    server::{Running, Server, logging, raise_descriptor_limit},
};

/// Serves until SIGTERM or SIGINT.
pub async fn serve(path: PathBuf) -> Result<()> {
    let activated = Activated::from_environment()?;
    let loaded = Loaded::read(&path)?;
    logging::start(loaded.config.log.format, &loaded.config.log.level);
    raise_descriptor_limit();
    if loaded.config.user.is_empty() && nix::unistd::Uid::effective().is_root() {
        tracing::warn!("running as root; the key user names an account to become");
    }
    // Before anything starts: a signal while starting ends the server in order, once it runs.
    let (mut terminate, mut interrupt, mut hangup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    let running = Server::start_on(activated, loaded, Some(path)).await?;
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&running).await,
        }
    }
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing what is under way"),
    ]);
    tracing::info!("stopping");
    running.stop().await;
    tracing::info!("stopped");
    Ok(())
}

async fn reload(running: &Running) {
    tell(&[NotifyState::Reloading]);
    let status = match running.reload().await {
        Ok(waiting) if waiting.is_empty() => "serving".to_owned(),
        Ok(waiting) => format!("serving; a restart is needed for {}", waiting.join(", ")),
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "not reloaded, the old configuration stays in service"
            );
            "serving; the new configuration is wrong, see the log".to_owned()
        }
    };
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Without systemd there is nobody to tell, which is no fault.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd not notified");
    }
}
