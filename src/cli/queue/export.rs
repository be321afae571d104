//! `gatepost queue export`: a message out of custody, which keeps it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{database, reader};
use crate::{
    cli::{answer::Answer, as_service},
    config::Loaded,
    server::logging::escape,
    spool::{Remains, remains},
};

/// Writes header section and body as they are, CRLF and all.
pub async fn export(
    id: &str,
    output: Option<&Path>,
    config: &Path,
    json: bool,
) -> Result<ExitCode> {
    let Some(path) = output else {
        let left = left_of(id, &as_service(config)?).await?;
        let mut out = io::stdout().lock();
        return match write(&left, &mut out) {
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            written => written.map(|_| ExitCode::SUCCESS),
        };
    };
    // Before we become the service's user: the file is of whoever asked for it.
    let mut file = create(path)?;
    let written = to_file(id, &mut file, config).await;
    let octets = match written {
        Ok(octets) => octets,
        Err(error) => {
            if file.metadata().is_ok_and(|file| file.len() == 0) {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
    };
    Answer::done(
        format!("Exported {id} to {}, {octets} octets.", path.display()),
        json!({ "done": "exported", "queue_id": id, "file": path, "size_octets": octets }),
    )
    .print(json)?;
    Ok(ExitCode::SUCCESS)
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    opened.with_context(|| format!("failed to create {}", path.display()))
}

async fn to_file(id: &str, file: &mut File, config: &Path) -> Result<u64> {
    let left = left_of(id, &as_service(config)?).await?;
    let octets = write(&left, file)?;
    // Somebody may cancel the message next.
    file.sync_all()?;
    Ok(octets)
}

async fn left_of(id: &str, loaded: &Loaded) -> Result<Remains> {
    let left = match reader(&database(loaded)).await? {
        None => None,
        Some(store) => {
            let left = remains(&store, &loaded.options.spool.directory, id).await;
            store.close().await;
            left?
        }
    };
    left.with_context(|| format!("no message {} with content is in custody", escape(id)))
}

/// All that is there; an error where that is not all that there was.
fn write(left: &Remains, out: &mut dyn Write) -> Result<u64> {
    let body = left.write_to(out).context("failed to export all of it")?;
    if body != left.body_octets {
        bail!(
            "exported, but damaged: the body has {body} octets, {} were accepted",
            left.body_octets
        );
    }
    Ok(left.header.len() as u64 + body)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
