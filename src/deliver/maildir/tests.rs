use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    envelope::{BodyType, QueueId},
    policy::routes::{DomainPattern, LocalRecipients, Route, Transport},
    smtp::{Mailbox, ReversePath},
    spool::{Content, StoredBody},
};

/// A directory with Maildirs below it, and a transport for them.
struct Fixture {
    root: TempDir,
    maildirs: Maildirs,
}

const NAME: &str = "1700000000.00000000000000000000000001-1.mx.ours.example";

impl Fixture {
    fn new() -> Fixture {
        Fixture {
            root: tempfile::tempdir().unwrap(),
            maildirs: Maildirs::new("mx.ours.example", 4),
        }
    }

    fn template(&self) -> String {
        format!("{}/mail/{{address}}", self.root.path().display())
    }

    fn maildir(&self, address: &str) -> PathBuf {
        self.root.path().join("mail").join(address)
    }

    async fn attempt(&self, attempt: &Attempt) -> Vec<Outcome> {
        self.maildirs
            .attempt(&self.template(), attempt.clone())
            .await
    }

    /// Names and contents of what lies in one of a Maildir's folders.
    fn files(&self, address: &str, folder: &str) -> Vec<(String, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.maildir(address).join(folder)) else {
            return Vec::new();
        };
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    /// The one message of this address; nothing else of it is about.
    fn only(&self, address: &str) -> Vec<u8> {
        assert!(
            self.files(address, "tmp").is_empty(),
            "something is left in tmp"
        );
        let mut files = self.files(address, "new");
        assert_eq!(files.len(), 1, "messages of {address}");
        files.remove(0).1
    }
}

fn attempt(body: StoredBody, addresses: &[&str]) -> Attempt {
    let mut number = 0;
    Attempt {
        protection: Default::default(),
        timing: Default::default(),
        id: QueueId::new(ulid::Ulid(1)),
        account: None,
        body: BodyType::SevenBit,
        ret: None,
        envelope_id: None,
        sender: ReversePath::parse("sender@ours.example").unwrap(),
        received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        content: Content {
            header: Bytes::from_static(b"Subject: x\r\n\r\n"),
            body,
        },
        recipients: addresses
            .iter()
            .map(|address| {
                number += 1;
                DueRecipient::fresh(number, Mailbox::parse(address).unwrap().into())
            })
            .collect(),
        route: Arc::new(Route {
            name: "ours".into(),
            domains: vec![DomainPattern::Any],
            origins: Vec::new(),
            transport: Transport::Maildir {
                path: "/unused/{address}".into(),
                recipients: LocalRecipients::Any,
                sent_folder: "Sent".into(),
            },
        }),
    }
}

fn memory(body: &[u8]) -> StoredBody {
    StoredBody::Memory(Bytes::copy_from_slice(body))
}

fn code_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(_) => "delivered".into(),
        other => other.status().code.to_string(),
    }
}

const ALICE: &str = "alice@ours.example";
const FIELDS: &str = "Return-Path: <sender@ours.example>\nDelivered-To: alice@ours.example\n";

/// R5321-4.4h.
#[tokio::test]
async fn octets_in_are_octets_out_but_for_line_ends_and_added_fields() {
    for body in [
        &b""[..],
        b"text\r\n",
        b".\r\n..dots\r\n.\r\n",
        b"From here\r\n\r\n\r\n",
        b"\xff\x80 eight bits \xc3\xa4\r\n",
        b"no line end",
    ] {
        let fixture = Fixture::new();
        let outcomes = fixture.attempt(&attempt(memory(body), &[ALICE])).await;
        let expected: Vec<u8> = body
            .iter()
            .copied()
            .filter(|octet| *octet != b'\r')
            .collect();
        let expected = [FIELDS.as_bytes(), b"Subject: x\n\n", &expected].concat();
        assert_eq!(fixture.only(ALICE), expected, "{body:?}");
        let path = fixture.maildir(ALICE).join("new").join(NAME);
        let place = format!("delivered to {}", path.display());
        assert!(matches!(&outcomes[..], [Outcome::Delivered(status)] if status.text == place));
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o7777,
            0o600
        );
    }
}

#[tokio::test]
async fn the_null_reverse_path_is_written_as_such() {
    let fixture = Fixture::new();
    let mut attempt = attempt(memory(b""), &[ALICE]);
    attempt.sender = ReversePath::Null;
    let _ = fixture.attempt(&attempt).await;
    assert!(
        fixture
            .only(ALICE)
            .starts_with(b"Return-Path: <>\nDelivered-To:")
    );
}

#[tokio::test]
async fn each_recipient_gets_a_copy_of_its_own() {
    let fixture = Fixture::new();
    let two = attempt(memory(b"x\r\n"), &[ALICE, "Bob@ours.example"]);
    let outcomes = fixture.attempt(&two).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| code_of(outcome) == "delivered")
    );
    for (folder, address) in [(ALICE, ALICE), ("bob@ours.example", "Bob@ours.example")] {
        let text = String::from_utf8(fixture.only(folder)).unwrap();
        assert!(
            text.contains(&format!("\nDelivered-To: {address}\n")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn two_recipients_with_one_maildir_get_two_files() {
    let fixture = Fixture::new();
    let two = attempt(memory(b"x\r\n"), &[ALICE, "ALICE@ours.example"]);
    let outcomes = fixture.attempt(&two).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| code_of(outcome) == "delivered")
    );
    assert_eq!(fixture.files(ALICE, "new").len(), 2);
}

#[tokio::test]
async fn a_large_body_comes_out_of_its_file() {
    let fixture = Fixture::new();
    // Lines of an odd length put a line end across a border between pieces.
    let lines = "a line of some odd length\r\n".repeat(100_000);
    let path = fixture.root.path().join("body");
    fs::write(&path, &lines).unwrap();
    let octets = lines.len() as u64;
    let outcomes = fixture
        .attempt(&attempt(
            StoredBody::File { path, octets },
            &[ALICE, "bob@ours.example"],
        ))
        .await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| code_of(outcome) == "delivered")
    );
    for address in [ALICE, "bob@ours.example"] {
        let file = fixture.only(address);
        let body = &file[file.windows(2).position(|w| w == b"\n\n").unwrap() + 2..];
        assert!(
            body == lines.replace("\r\n", "\n").as_bytes(),
            "the body differs"
        );
    }
}

/// S4: a message that cannot be read whole leaves nothing behind.
#[tokio::test]
async fn a_body_that_is_missing_or_of_another_length_is_deferred() {
    let fixture = Fixture::new();
    let path = fixture.root.path().join("body");
    for (content, octets) in [(None, 5), (Some("four"), 5), (Some("sixsix"), 5)] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let body = StoredBody::File {
            path: path.clone(),
            octets,
        };
        let outcomes = fixture.attempt(&attempt(body, &[ALICE])).await;
        assert_eq!(code_of(&outcomes[0]), "4.3.0", "{content:?}");
        assert!(fixture.files(ALICE, "new").is_empty(), "{content:?}");
        assert!(fixture.files(ALICE, "tmp").is_empty(), "{content:?}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_defers_only_its_own_recipient() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.root.path().join("mail")).unwrap();
    fs::write(fixture.maildir(ALICE), "a file where a Maildir should be").unwrap();
    let two = attempt(memory(b"x\r\n"), &[ALICE, "bob@ours.example"]);
    let outcomes = fixture.attempt(&two).await;
    assert_eq!(code_of(&outcomes[0]), "4.2.0");
    assert_eq!(code_of(&outcomes[1]), "delivered");

    fs::remove_file(fixture.maildir(ALICE)).unwrap();
    let outcomes = fixture.attempt(&two).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| code_of(outcome) == "delivered")
    );
    fixture.only(ALICE);
    fixture.only("bob@ours.example");
}

#[tokio::test]
async fn a_maildir_removed_meanwhile_is_made_again() {
    let fixture = Fixture::new();
    let one = attempt(memory(b"x\r\n"), &[ALICE]);
    let _ = fixture.attempt(&one).await;
    fs::remove_dir_all(fixture.root.path().join("mail")).unwrap();
    let outcomes = fixture.attempt(&one).await;
    assert_eq!(code_of(&outcomes[0]), "delivered");
    fixture.only(ALICE);
}

#[tokio::test]
async fn many_messages_at_once_into_one_maildir_all_arrive() {
    let fixture = Fixture::new();
    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (maildirs, template) = (fixture.maildirs.clone(), fixture.template());
        let mut one = attempt(memory(b"x\r\n"), &[ALICE]);
        one.id = QueueId::new(ulid::Ulid(number));
        attempts.spawn(async move { maildirs.attempt(&template, one).await });
    }
    for outcomes in attempts.join_all().await {
        assert_eq!(code_of(&outcomes[0]), "delivered");
    }
    assert_eq!(fixture.files(ALICE, "new").len(), 100);
    assert!(fixture.files(ALICE, "tmp").is_empty());
}

/// Runs a delivery up to a step and leaves everything as a killed process would.
fn killed_after(step: &str, maildir: &Path, content: &Content) {
    Folders::default().prepare(maildir).unwrap();
    let mut staged = Staged::create(maildir, NAME, Seen::No).unwrap();
    if step == "creating" {
        return std::mem::forget(staged);
    }
    let half = Content {
        header: Bytes::from_static(b"Subj"),
        body: memory(b""),
    };
    let written = if step == "half of writing" {
        &half
    } else {
        content
    };
    staged
        .write(&FIELDS.replace('\n', "\r\n"), written)
        .unwrap();
    if matches!(step, "half of writing" | "writing") {
        return std::mem::forget(staged);
    }
    staged.sync().unwrap();
    if step == "syncing" {
        return std::mem::forget(staged);
    }
    let path = staged.publish().unwrap();
    if step == "renaming" {
        return;
    }
    sync_directory(path.parent().unwrap()).unwrap();
}

/// S3, S4: the table at the top of this room.
#[tokio::test]
async fn a_kill_at_any_step_leaves_no_half_message_and_no_duplicate() {
    for (step, visible) in [
        ("creating", 0),
        ("half of writing", 0),
        ("writing", 0),
        ("syncing", 0),
        ("renaming", 1),
        ("syncing new", 1),
    ] {
        let fixture = Fixture::new();
        let one = attempt(memory(b"whole\r\n"), &[ALICE]);
        let whole = format!("{FIELDS}Subject: x\n\nwhole\n").into_bytes();
        killed_after(step, &fixture.maildir(ALICE), &one.content);
        let seen = fixture.files(ALICE, "new");
        assert_eq!(seen.len(), visible, "after {step}");
        assert!(
            seen.iter().all(|(_, text)| *text == whole),
            "half a message after {step}"
        );

        let outcomes = fixture.attempt(&one).await;
        assert_eq!(code_of(&outcomes[0]), "delivered", "after {step}");
        assert_eq!(fixture.only(ALICE), whole, "after {step}");
    }
}

#[test]
fn every_fault_defers_with_its_status() {
    for (kind, code) in [
        (ErrorKind::QuotaExceeded, "4.2.2"),
        (ErrorKind::StorageFull, "4.3.1"),
        (ErrorKind::PermissionDenied, "4.2.0"),
        (ErrorKind::ReadOnlyFilesystem, "4.3.0"),
        (ErrorKind::NotADirectory, "4.2.0"),
        (ErrorKind::Other, "4.2.0"),
    ] {
        assert_eq!(
            code_of(&outcome_of(&Fault::Folder(kind.into()))),
            code,
            "{kind}"
        );
    }
    let spool = Fault::Custody(ErrorKind::PermissionDenied.into());
    assert_eq!(code_of(&outcome_of(&spool)), "4.3.0");
}

#[test]
fn host_names_become_parts_of_file_names() {
    for (hostname, part) in [
        ("mx.ours.example", "mx.ours.example"),
        ("a/b:c", "a\\057b\\072c"),
        ("ü\n", "__"),
        ("", "localhost"),
    ] {
        assert_eq!(host_part(hostname), part);
    }
}
