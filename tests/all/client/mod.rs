//! The client half against a scripted next hop, against our own server half, and against noise.

mod pair;
mod player;
mod properties;
mod script;

use script::Script;

#[test]
fn every_transcript_plays_against_the_bare_client() {
    let scripts = Script::all();
    assert!(
        scripts.len() > 40,
        "only {} transcripts were found",
        scripts.len()
    );
    let mut failures = Vec::new();
    for script in &scripts {
        // The same dialogue whether octets come at once, one by one, or in odd pieces.
        for pieces in [usize::MAX, 1, 7] {
            if script.whole_only && pieces != usize::MAX {
                continue;
            }
            if let Err(why) = player::play(script, pieces) {
                failures.push(format!("{} in pieces of {pieces}: {why}", script.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
