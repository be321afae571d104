//! Dialogues as data: each file under `tests/transcripts/` claims something, names the requirement
//! it shows, and plays against the bare session and against the running server on both ports.

pub mod bare;
mod live;
mod script;

use std::sync::Mutex;

use crate::server::{Server, Settings};
use live::Port;
use script::{Script, Start};

#[test]
fn every_transcript_plays_against_the_bare_session() {
    let scripts = Script::all();
    assert!(
        scripts.len() > 20,
        "only {} transcripts were found",
        scripts.len()
    );
    let mut failures = Vec::new();
    for script in &scripts {
        // The same replies whether octets come at once, one by one, or in odd pieces.
        for pieces in [usize::MAX, 1, 7] {
            if let Err(why) = bare::play(script, pieces) {
                failures.push(format!("{} in pieces of {pieces}: {why}", script.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_transcript_plays_against_the_running_server_on_both_ports() {
    let settings = Settings::new()
        .with("timeouts", "idle = \"60s\"")
        .with("auth", "scram = true\nscram_iterations = 4096");
    let server = Server::with(settings);
    let scripts = Script::all();
    let mut games: Vec<(&Script, Port)> = scripts
        .iter()
        .filter(|script| script.bare_only.is_none())
        .flat_map(|script| [(script, Port::Submissions), (script, Port::Submission)])
        // Nobody speaks in the clear on 465.
        .filter(|(script, port)| script.start != Start::Plain || *port == Port::Submission)
        .collect();
    assert!(games.len() > 60, "only {} were played", games.len());
    games.reverse();
    let (games, failures) = (Mutex::new(games), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some((script, port)) = games.lock().unwrap().pop() else {
                        return;
                    };
                    if let Err(why) = live::play(script, &server, port) {
                        let failure = format!("{} on {port:?}: {why}", script.name);
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
