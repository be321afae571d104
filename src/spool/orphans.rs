//! Body files that no row names: left by a crash, removed in the background after the start.

use std::{fs, io, path::PathBuf, sync::Arc};

use tokio::task::spawn_blocking;

use super::{body, disk::Disk};
use crate::store::{Store, queue::Incarnation};

/// Removes files of earlier incarnations that no message needs.
///
/// Files of this incarnation may be waiting for their rows, and files of other names are not ours:
/// both stay.
pub(super) async fn remove(
    store: Store,
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    incarnation: Incarnation,
) {
    let listed = spawn_blocking(move || list(directory, incarnation)).await;
    let names = match listed {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => {
            tracing::warn!(%error, "spool directory not searched for orphans");
            return;
        }
        Err(_) => return,
    };
    for name in names {
        match store.knows_body_file(&name).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!(%name, "body file without a message removed");
                body::remove(disk.clone(), vec![name]);
            }
            // Not known to be an orphan, so it stays.
            Err(error) => {
                tracing::warn!(%error, "search for orphans given up");
                return;
            }
        }
    }
}

fn list(directory: PathBuf, incarnation: Incarnation) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if is_earlier(&name, incarnation) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether the name is one that an earlier incarnation gave.
fn is_earlier(name: &str, incarnation: Incarnation) -> bool {
    let Some((number, ulid)) = name.split_once('-') else {
        return false;
    };
    number
        .parse()
        .is_ok_and(|number: i64| number < incarnation.0)
        && ulid.parse::<ulid::Ulid>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_earlier_incarnations_are_candidates() {
        let table = [
            ("2-01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
            ("3-01ARZ3NDEKTSV4RRFFQ69G5FAV", false),
            ("4-01ARZ3NDEKTSV4RRFFQ69G5FAV", false),
            ("2-notes.txt", false),
            ("x-01ARZ3NDEKTSV4RRFFQ69G5FAV", false),
            ("lost+found", false),
            ("", false),
        ];
        for (name, earlier) in table {
            assert_eq!(is_earlier(name, Incarnation(3)), earlier, "{name}");
        }
    }
}
