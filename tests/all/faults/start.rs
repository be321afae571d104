//! Starts on data that is damaged, or another release's.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::house::{House, Plan, message, submit};

/// Names and content of the files that hold data: not locks, and not an empty log with its index,
/// which SQLite makes when it looks.
fn fingerprint(data: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_file = entry.file_type().unwrap().is_file();
        if !is_file || name.ends_with("lock") || name.ends_with("-shm") {
            continue;
        }
        let octets = fs::read(entry.path()).unwrap();
        if !octets.is_empty() {
            found.push((name, Sha256::digest(octets).to_vec()));
        }
    }
    found.sort();
    found
}

fn execute(database: &Path, statements: &'static [&'static str]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        for statement in statements {
            sqlx::query(*statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection.close().await.unwrap();
    });
}

/// S36: a database that cannot be trusted stops the start, says why, and stays as it is.
#[test]
fn a_database_that_cannot_be_used_stops_the_start_and_stays_as_it_is() {
    type Damage = fn(&Path);
    let table: [(&str, Damage, &str); 4] = [
        (
            "a head of junk",
            |path| {
                let mut octets = fs::read(path).unwrap();
                octets[..100].fill(b'x');
                fs::write(path, octets).unwrap();
            },
            "damaged",
        ),
        (
            "half of it",
            |path| {
                let octets = fs::read(path).unwrap();
                fs::write(path, &octets[..octets.len() / 2]).unwrap();
            },
            "damaged",
        ),
        (
            "a newer release's",
            |path| {
                execute(
                    path,
                    &["INSERT INTO _sqlx_migrations \
                       (version, description, success, checksum, execution_time) \
                       VALUES (9999, 'later', 1, x'00', 0)"],
                );
            },
            "9999",
        ),
        (
            "another program's",
            |path| {
                fs::remove_file(path).unwrap();
                execute(path, &["CREATE TABLE notes (text TEXT)"]);
            },
            "another program",
        ),
    ];
    for (name, damage, word) in table {
        let mut house = House::build(Plan::default());
        let data = house.data.clone();
        damage(&data.join("gatepost.sqlite"));
        let before = fingerprint(&data);
        let (well, said) = house.fail_to_start();
        assert!(!well && said.contains(word), "{name}: {said}");
        assert!(!said.contains("panicked"), "{name}: {said}");
        let after = fingerprint(&data);
        assert!(before == after, "{name}: the data was changed");
    }
}

/// S36: entries that cannot be read are set aside and told of; the others go their way.
#[test]
fn entries_that_cannot_be_read_are_set_aside_and_the_rest_is_served() {
    let mut house = House::open(Plan {
        tables: "[queue]\nhold = true\n[spool]\ninline = \"16 KiB\"".into(),
        ..Plan::default()
    });
    let mut client = house.client().unwrap();
    let mut ids = Vec::new();
    for number in 0..8 {
        let octets = if number < 4 { 100_000 } else { 1_000 };
        let text = message(&format!("m{number}"), octets);
        let said = submit(&mut client, &["bob@example.net"], &text).unwrap();
        assert!(said.starts_with("250"), "{said}");
        ids.push(said.rsplit(' ').next().unwrap().to_owned());
    }
    house.kill();
    // The first body is gone, the second cut short; two rows make no sense.
    let bodies = house.data.join("spool/bodies");
    let mut files: Vec<_> = fs::read_dir(&bodies).unwrap().flatten().collect();
    files.sort_by_key(|file| file.file_name());
    assert_eq!(files.len(), 4);
    fs::remove_file(files[0].path()).unwrap();
    fs::write(files[1].path(), "short").unwrap();
    execute(
        &house.data.join("gatepost.sqlite"),
        &[
            "UPDATE messages SET sender = 'no address' WHERE number = 5",
            "UPDATE recipients SET address = '<<>>' WHERE message = 6",
        ],
    );
    house.edit("hold = true", "hold = false");
    house.start();
    house.serves("newer");
    let wanted = ["m2", "m3", "m6", "m7"];
    let begun = std::time::Instant::now();
    while house.arrived().len() < wanted.len() + 1 {
        assert!(
            begun.elapsed() < super::house::PATIENCE,
            "{:?}",
            house.arrived()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let arrived = house.arrived();
    for token in wanted {
        assert!(
            arrived.contains_key(&("bob@example.net".into(), token.into())),
            "{token}"
        );
    }
    let list = house.run(&["queue", "list", "--json"], "");
    let log = house.log();
    for id in [&ids[0], &ids[1], &ids[4], &ids[5]] {
        let line = list.lines().find(|line| line.contains(id.as_str()));
        let line = line.unwrap_or_else(|| panic!("{id} is gone: {list}"));
        assert!(line.contains("aside"), "{line}");
        assert!(log.contains(id.as_str()), "{id} is not in the log");
    }
    house.stop();
}
