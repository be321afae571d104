//! Killed without warning, again and again, while mail comes in and goes out.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{scope, sleep},
    time::Duration,
};

use super::house::{House, Plan, count, message, submit};

const TO: [&str; 2] = ["bob@example.net", "cy@example.net"];

/// What clients were told.
#[derive(Default)]
struct Told {
    accepted: Vec<String>,
    refused: Vec<String>,
}

/// S3, S6: a message answered 250 is in every Maildir that it was for; one that was refused is in
/// none; one cut off by the crash is there whole or not at all. Every restart serves.
///
/// `GATEPOST_KILLS` sets the number of kills.
#[test]
fn no_kill_loses_what_was_accepted() {
    let kills = count("GATEPOST_KILLS", 15);
    let told = Mutex::new(Told::default());
    let mut house = House::open(Plan {
        tables: "[spool]\ninline = \"4 KiB\"\n[timeouts]\nidle = \"5s\"".into(),
        ..Plan::default()
    });
    for cycle in 0..kills {
        let stop = AtomicBool::new(false);
        scope(|threads| {
            for who in 0..4 {
                let (house, told, stop) = (&house, &told, &stop);
                threads.spawn(move || send_until_gone(house, told, stop, cycle * 10 + who));
            }
            // Long enough to sign in, and never the same.
            sleep(Duration::from_millis(150 + (cycle as u64 * 137) % 350));
            let pid = rustix::process::Pid::from_raw(house.pid() as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            stop.store(true, Relaxed);
        });
        house.kill();
        house.start();
    }
    house.drain();
    let (told, arrived) = (told.into_inner().unwrap(), house.arrived());
    assert!(
        told.accepted.len() > kills * 5 && told.refused.len() > kills,
        "too little to prove anything: {} accepted, {} refused",
        told.accepted.len(),
        told.refused.len()
    );
    let mut twice = 0;
    for token in &told.accepted {
        for to in TO {
            let copies = arrived.get(&(to.to_owned(), token.clone())).copied();
            let copies = copies.unwrap_or_else(|| panic!("{token} for {to} is lost"));
            twice += copies - 1;
        }
    }
    // Less than one in a hundred.
    assert!(
        twice * 100 < told.accepted.len() * TO.len(),
        "{twice} twice"
    );
    for token in &told.refused {
        let found = TO
            .iter()
            .find(|to| arrived.contains_key(&((**to).to_owned(), token.clone())));
        assert_eq!(found, None, "{token} was refused and arrived");
    }
    eprintln!(
        "{kills} kills: {} accepted, {} refused, {twice} twice",
        told.accepted.len(),
        told.refused.len()
    );
    house.stop();
}

fn send_until_gone(house: &House, told: &Mutex<Told>, stop: &AtomicBool, who: usize) {
    let Ok(mut client) = house.client() else {
        // The kill came first.
        return;
    };
    for number in 0.. {
        let token = format!("m{who}.{number}");
        // Small ones travel in the database, large ones in files. Of five, one has a line too long
        // and is encoded, and one has it in the header and is refused.
        let mut text = message(&token, if number % 3 == 0 { 20_000 } else { 500 });
        let long = "x".repeat(1200);
        match number % 5 {
            2 => text = text.replace("\r\n\r\n", &format!("\r\n\r\n{long}\r\n")),
            4 => text = text.replace("\r\n\r\n", &format!("\r\nX-Long: {long}\r\n\r\n")),
            _ => {}
        }
        let Ok(said) = submit(&mut client, &TO, &text) else {
            assert!(stop.load(Relaxed) || number > 0, "gone before the kill");
            return;
        };
        let mut told = told.lock().unwrap();
        match said.as_bytes()[0] {
            b'2' => told.accepted.push(token),
            _ => told.refused.push(token),
        }
    }
}
