//! Whether a message lies in a Maildir octet for octet as it was given.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// Fields that may stand in front of a message as given, which has all the others.
const ADDED: [&str; 3] = ["Return-Path", "Delivered-To", "Received"];

/// Waits for the file in which `text` stands, and compares it.
pub async fn arrived(mail: &Path, text: &str, message: &str) -> Result<PathBuf> {
    for _ in 0..400 {
        for file in files(mail) {
            let octets = fs::read(&file)?;
            if memchr::memmem::find(&octets, text.as_bytes()).is_some() {
                let compared = compare(&octets, message);
                compared.with_context(|| format!("{} is not as given", file.display()))?;
                return Ok(file);
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    bail!("the message did not arrive below {}", mail.display())
}

/// The files in every Maildir's `new`.
fn files(mail: &Path) -> Vec<PathBuf> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    entries(mail)
        .flat_map(|maildir| entries(&maildir.path().join("new")).collect::<Vec<_>>())
        .map(|file| file.path())
        .collect()
}

/// Whether `octets` are `message`, but for Maildir's line ends and trace fields in front.
fn compare(octets: &[u8], message: &str) -> Result<()> {
    let given = message.replace("\r\n", "\n");
    let in_front = octets
        .strip_suffix(given.as_bytes())
        .context("the content was changed")?;
    let in_front = std::str::from_utf8(in_front).context("octets in front are no text")?;
    ensure!(in_front.ends_with('\n'), "the first field was changed");
    for line in in_front
        .lines()
        .filter(|line| !line.starts_with([' ', '\t']))
    {
        let name = line.split_once(':').map_or(line, |(name, _)| name);
        ensure!(ADDED.contains(&name), "in front stands {line:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_gatepost_adds_may_differ() {
        let given = "From: a\r\nSubject: s\r\n\r\nline \r\n.\r\n";
        let body = "From: a\nSubject: s\n\nline \n.\n";
        for (front, rest, same) in [
            ("", body, false),
            ("Received: from x\n\tby y\n", body, true),
            (
                "Return-Path: <a>\nDelivered-To: b\nReceived: x\n",
                body,
                true,
            ),
            ("Received: x\nX-Spam: no\n", body, false),
            ("Received: x\nSubject: more\n", body, false),
            ("Received: x\n\n", body, false),
            ("Received: x", body, false),
            ("Received: x\n", "From: a\nSubject: s\n\nline\n.\n", false),
            (
                "Received: x\n",
                "From: a\nSubject: s\n\nline \n.\n\n",
                false,
            ),
            (
                "Received: x\n",
                "From: a\r\nSubject: s\r\n\r\nline \r\n.\r\n",
                false,
            ),
        ] {
            let file = format!("{front}{rest}");
            assert_eq!(compare(file.as_bytes(), given).is_ok(), same, "{file:?}");
        }
    }
}
