//! Plays a transcript against the running server.

use crate::{server::Server, wire::Client};

use super::{
    bare::SIGN_IN,
    script::{Script, Start, Step, matches},
};

/// Which listener a transcript is played against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Port {
    /// Implicit TLS.
    Submissions,
    /// STARTTLS.
    Submission,
}

pub fn play(script: &Script, server: &Server, port: Port) -> Result<(), String> {
    let error = |why: std::io::Error| why.to_string();
    let mut client = match port {
        Port::Submissions => Client::implicit(server.submissions, server.trust.clone()),
        Port::Submission => Client::plain(server.submission),
    }
    .map_err(error)?;
    expect(&mut client, "220 mail.example.org")?;
    if port == Port::Submission && script.start != Start::Plain {
        client.send(b"EHLO client.example\r\n").map_err(error)?;
        expect(&mut client, "250")?;
        client.send(b"STARTTLS\r\n").map_err(error)?;
        expect(&mut client, "220 2.0.0")?;
        client.handshake(server.trust.clone()).map_err(error)?;
    }
    if script.start == Start::Ready {
        client.send(b"EHLO client.example\r\n").map_err(error)?;
        expect(&mut client, "250")?;
        client.send(SIGN_IN.as_bytes()).map_err(error)?;
        expect(&mut client, "235 2.7.0")?;
    }
    let mut last = Vec::new();
    for (line, step) in &script.steps {
        let at = |why: String| format!("line {line}: {why}");
        match step {
            // A server that gives up closes while the client still sends.
            Step::Send(octets) => drop(client.send(octets)),
            Step::Question { .. } => {}
            Step::Handshake => client
                .handshake(server.trust.clone())
                .map_err(error)
                .map_err(at)?,
            Step::Reply(expected) => last = expect(&mut client, expected).map_err(at)?,
            Step::ReplyHas(start) => has(&last, start, true).map_err(at)?,
            Step::ReplyLacks(start) => has(&last, start, false).map_err(at)?,
            Step::HalfClose => client.half_close().map_err(error).map_err(at)?,
            Step::Wait(_) => return Err(at("time cannot be turned here".into())),
            Step::Closed => {
                let rest = client.closed().map_err(error).map_err(at)?;
                if !rest.is_empty() {
                    return Err(at(format!(
                        "before the end: {}",
                        String::from_utf8_lossy(&rest)
                    )));
                }
            }
        }
    }
    Ok(())
}

fn expect(client: &mut Client, expected: &str) -> Result<Vec<String>, String> {
    let reply = client
        .reply()
        .map_err(|error| format!("due: {expected}: {error}"))?;
    matches(&reply, expected)?;
    Ok(reply)
}

fn has(reply: &[String], start: &str, wanted: bool) -> Result<(), String> {
    let found = reply.iter().any(|line| line[4..].starts_with(start));
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{start:?} is {found} in {reply:?}"))
    }
}
