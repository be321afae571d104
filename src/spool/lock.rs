//! One process per spool: the lock goes with the process, however that ends.

use std::{io, path::Path, time::Duration};

use tokio::task::spawn_blocking;

use super::CustodyError;

/// Makes sure that no other process uses the directory.
pub(super) async fn lock(directory: &Path) -> Result<std::fs::File, CustodyError> {
    let path = directory.join("lock");
    let failed = |error: io::Error| CustodyError::from_io("lock of the spool", &error);
    let file = spawn_blocking(move || {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
    })
    .await
    .map_err(|error| CustodyError::Failed(error.to_string()))?
    .map_err(failed)?;
    // A process that is on its way out gets a moment.
    for _ in 0..100 {
        use rustix::fs::{FlockOperation, flock};
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(error.into())),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(CustodyError::Failed(format!(
        "another process uses {}",
        directory.display()
    )))
}
