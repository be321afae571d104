//! Dialogues as data: each file under `tests/transcripts/` claims something, names the requirement
//! it shows, and plays against the bare session and against the running server on both ports.

pub mod bare;
mod script;

use script::Script;

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
