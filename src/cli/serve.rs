//! `gatepost serve`: start, obey signals, stop.

use std::path::PathBuf;

use anyhow::Result;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Loaded,
    server::{Server, logging, raise_descriptor_limit},
};

/// Serves until SIGTERM or SIGINT.
pub async fn serve(path: PathBuf) -> Result<()> {
    let loaded = Loaded::read(&path)?;
    logging::start(loaded.config.log.format, &loaded.config.log.level);
    raise_descriptor_limit();
    let (mut terminate, mut interrupt, mut hangup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    let running = Server::start(loaded, Some(path)).await?;
    // Without systemd there is nobody to notify, which is no fault.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => if let Err(error) = running.reload().await {
                tracing::error!(error = format!("{error:#}"), "not reloaded, the old configuration stays in service");
            },
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}
