//! Replies that no good server gives, or that only look odd.

use super::*;

/// All that a hop says in the place of its greeting, up to its end.
fn said(act: Act) -> Vec<u8> {
    let Act::Say(octets) = act else {
        panic!("no reply");
    };
    let hop = Hop::start(Behaviour::plain().at(Phase::Greeting, Act::SayAndClose(octets)));
    reach(&hop, Phase::Greeting).closed().unwrap()
}

#[test]
fn a_reply_may_have_many_lines() {
    assert_eq!(said(Act::lines("220", 1)), b"220 line 1\r\n");
    assert_eq!(
        said(Act::lines("554", 3)),
        b"554-line 1\r\n554-line 2\r\n554 line 3\r\n"
    );
}

#[test]
fn a_reply_line_may_be_too_long() {
    let line = said(Act::long_line("250", 100_000));
    assert_eq!(line.len(), 100_006);
    assert!(line.starts_with(b"250 xxx"));
    assert!(line.ends_with(b"xxx\r\n"));
}

#[test]
fn a_reply_may_be_none_at_all() {
    let text = said(Act::nonsense());
    assert!(!text[0].is_ascii_digit());
    assert!(text.ends_with(b"\r\n"));
}

#[test]
fn a_reply_may_hold_octets_that_harm_a_terminal_or_a_log() {
    let text = said(Act::control_octets("550"));
    assert!(text.starts_with(b"550 "));
    for octet in [b'\x1b', b'\0', b'\x7f', b'\x9b', b'\xff'] {
        assert!(text.contains(&octet), "{octet:#x}");
    }
    let lone = text
        .windows(2)
        .filter(|two| two[1] == b'\n' && two[0] != b'\r');
    assert_eq!(lone.count(), 1);
    assert!(std::str::from_utf8(&text).is_err());
}

#[test]
fn odd_replies_take_or_refuse_by_their_first_digit() {
    for (act, taken) in [
        (Act::control_octets("250"), true),
        (Act::lines("250", 40), true),
        (Act::control_octets("550"), false),
        (Act::nonsense(), false),
    ] {
        let hop = Hop::start(Behaviour::plain().at(Phase::Mail, act.clone()));
        let mut client = reach(&hop, Phase::Mail);
        client
            .send((line(Phase::Rcpt) + "\r\nQUIT\r\n").as_bytes())
            .unwrap();
        let _ = client.closed().unwrap();
        drop(client);
        let transactions = hop.wait_for_ends(1).connections[0].transactions.len();
        assert_eq!(transactions, usize::from(taken), "{act:?}");
    }
}
