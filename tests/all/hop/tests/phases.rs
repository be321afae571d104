//! What may happen in the place of any reply.

use super::*;

/// A hop that acts at this phase.
fn hop(phase: Phase, act: Act) -> Hop {
    Hop::start(Behaviour::starttls().at(phase, act))
}

fn end(hop: &Hop) -> End {
    let transcript = hop.wait_for_ends(1);
    transcript.connections[0].closed.clone().unwrap().1
}

#[test]
fn a_hop_that_hangs_says_nothing_and_notes_what_comes() {
    for phase in PHASES {
        let hop = hop(phase, Act::Hang);
        let mut client = reach(&hop, phase);
        client.send(b"MORE\r\n").unwrap();
        client.half_close().unwrap();
        assert_eq!(client.closed().unwrap(), b"", "{phase:?}");
        assert_eq!(end(&hop), End::ByPeer, "{phase:?}");
        let connection = hop.transcript().connections.remove(0);
        assert!(connection.late.ends_with(b"MORE\r\n"), "{connection:?}");
    }
}

#[test]
fn a_hop_that_hangs_without_reading_sees_its_client_go() {
    for phase in PHASES {
        let hop = hop(phase, Act::StopReading);
        let mut client = reach(&hop, phase);
        client.send(b"MORE\r\n").unwrap();
        client.half_close().unwrap();
        assert_eq!(client.closed().unwrap(), b"", "{phase:?}");
        assert_eq!(end(&hop), End::ByPeer, "{phase:?}");
        assert!(hop.transcript().connections[0].late.is_empty());
    }
}

#[test]
fn a_hop_closes_without_a_word() {
    for phase in PHASES {
        let hop = hop(phase, Act::Close);
        let mut client = reach(&hop, phase);
        assert_eq!(client.closed().unwrap(), b"", "{phase:?}");
        drop(client);
        assert_eq!(end(&hop), End::ByScript, "{phase:?}");
    }
}

#[test]
fn a_hop_resets_the_connection() {
    for phase in PHASES {
        let hop = hop(phase, Act::Reset);
        let mut client = reach(&hop, phase);
        let error = client.reply().unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "{phase:?}"
        );
    }
}

#[test]
fn a_hop_closes_in_the_middle_of_its_reply() {
    for phase in PHASES {
        let hop = hop(phase, Act::HalfReply);
        let mut client = reach(&hop, phase);
        let half = client.closed().unwrap();
        assert!(
            half.len() > 3 && !half.ends_with(b"\n"),
            "{phase:?}: {half:?}"
        );
        assert!(
            half.starts_with(b"2") || half.starts_with(b"354"),
            "{phase:?}"
        );
    }
}

#[test]
fn a_hop_refuses_and_goes_on() {
    for phase in PHASES {
        let hop = hop(phase, Act::reply("451 4.7.1 Not today"));
        let mut client = reach(&hop, phase);
        assert_eq!(
            client.reply().unwrap(),
            ["451 4.7.1 Not today"],
            "{phase:?}"
        );
        if phase == Phase::Quit {
            assert_eq!(client.closed().unwrap(), b"");
            continue;
        }
        assert!(client.ask("NOOP").unwrap().starts_with("250"), "{phase:?}");
        assert!(hop.messages().is_empty(), "{phase:?}");
    }
}

#[test]
fn a_hop_says_421_and_closes() {
    for phase in PHASES {
        let hop = hop(phase, Act::last("421 4.3.2 Going down"));
        let mut client = reach(&hop, phase);
        assert_eq!(
            client.closed().unwrap(),
            b"421 4.3.2 Going down\r\n",
            "{phase:?}"
        );
        drop(client);
        assert_eq!(end(&hop), End::ByScript, "{phase:?}");
    }
}

#[test]
fn a_reply_without_end_goes_on_until_its_client_leaves() {
    for phase in PHASES {
        let hop = hop(phase, Act::Endless("250"));
        let mut client = reach(&hop, phase);
        client.half_close().unwrap();
        let mut lines = 0;
        // The reply never ends, so the client's buffer is what there is to see.
        while lines < 3 {
            lines += client.line().unwrap().starts_with("250-and so on") as usize;
        }
        drop(client);
        assert_eq!(end(&hop), End::ByPeer, "{phase:?}");
    }
}

#[test]
fn the_nth_reply_of_a_phase_is_the_one_that_goes_wrong() {
    let hop = Hop::start(Behaviour::plain().at_nth(Phase::Mail, 2, Act::last("421 4.3.2 Enough")));
    let mut client = greeted(&hop);
    assert!(send(&mut client).starts_with("250"));
    client
        .send((line(Phase::Mail) + "\r\n").as_bytes())
        .unwrap();
    assert_eq!(client.closed().unwrap(), b"421 4.3.2 Enough\r\n");
    assert_eq!(hop.messages().len(), 1);
}

#[test]
fn each_connection_has_its_behaviour_and_the_last_one_stays() {
    let hop = Hop::start(Script::of([
        Behaviour::plain().at(Phase::Greeting, Act::Close),
        Behaviour::plain().at(Phase::Greeting, Act::last("554 5.7.1 Go away")),
        Behaviour::plain(),
    ]));
    for expected in [&b""[..], b"554 5.7.1 Go away\r\n"] {
        let mut client = reach(&hop, Phase::Greeting);
        assert_eq!(client.closed().unwrap(), expected);
    }
    for _ in 0..2 {
        assert!(send(&mut greeted(&hop)).starts_with("250"));
    }
    let transcript = hop.wait_for_ends(4);
    assert_eq!(transcript.connections.len(), 4);
    assert_eq!(transcript.messages().len(), 2);
}

#[test]
fn an_idle_connection_is_closed_with_or_without_a_word() {
    let wait = std::time::Duration::from_millis(20);
    let idle = |act| Hop::start(Behaviour::plain().when_idle(wait, act));
    let silent = idle(Act::Close);
    assert_eq!(greeted(&silent).closed().unwrap(), b"");
    let polite = idle(Act::last("421 4.4.2 Idle"));
    assert_eq!(greeted(&polite).closed().unwrap(), b"421 4.4.2 Idle\r\n");
}

#[test]
fn a_slow_hop_answers_in_the_end() {
    let behaviour = Behaviour::plain().slow(std::time::Duration::from_millis(15));
    let hop = Hop::start(behaviour);
    assert!(send(&mut greeted(&hop)).starts_with("250"));
}
