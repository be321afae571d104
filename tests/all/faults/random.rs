//! Sessions drawn at random against the running server: no reply is malformed, nothing panics, and
//! every message that was answered 250 arrives.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::scope,
};

use super::house::{House, LOGIN, Plan, count, message, sign_in};
use crate::wire::Client;

/// Numbers that look drawn, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A line of nonsense without line ends.
    fn nonsense(&mut self) -> Vec<u8> {
        let length = self.below(200);
        let octets = (0..length).map(|_| match self.below(3) {
            0 => self.next() as u8,
            _ => b" <>@:;=\"\\.,+-azAZ09\t"[self.below(20)],
        });
        octets
            .filter(|octet| ![b'\r', b'\n'].contains(octet))
            .collect()
    }
}

const LINES: [&str; 32] = [
    "EHLO client.example",
    "HELO client.example",
    "EHLO",
    "EHLO [127.0.0.1]",
    "ehlo  x",
    "NOOP",
    "NOOP with words",
    "RSET",
    "HELP",
    "VRFY ann",
    "EXPN all",
    "QUIT now",
    "STARTTLS",
    "AUTH",
    "AUTH PLAIN =",
    "AUTH CRAM-MD5",
    "AUTH PLAIN AGEAYg==",
    "MAIL FROM:<ann@example.org>",
    "MAIL FROM:<ann@example.org> SIZE=10 BODY=8BITMIME SMTPUTF8",
    "MAIL FROM:<eve@example.com>",
    "MAIL FROM:<>",
    "MAIL FROM:<ann@example.org> SIZE=99999999999999999999",
    "MAIL FROM: <ann@example.org>",
    "MAIL FROM:<ann@example.org> RET=FULL",
    "RCPT TO:<bob@example.net>",
    "RCPT TO:<Postmaster>",
    "RCPT TO:<@relay.example:bob@example.net>",
    "RCPT TO:<bob@example.net> NOTIFY=NEVER",
    "RCPT TO:",
    "RCPT TO:<\"a b\"@example.net>",
    "BDAT 0",
    "GET / HTTP/1.1",
];

/// What sessions have seen.
#[derive(Default)]
struct Seen {
    sessions: AtomicUsize,
    replies: AtomicUsize,
    accepted: Mutex<Vec<String>>,
}

/// Reads a reply and looks at each of its octets' order (RFC 5321 §4.2, §4.5.3.1.5).
fn reply(client: &mut Client, seen: &Seen) -> io::Result<String> {
    let lines = client.reply()?;
    seen.replies.fetch_add(1, Relaxed);
    for (number, line) in lines.iter().enumerate() {
        let (octets, last) = (line.as_bytes(), number + 1 == lines.len());
        let code =
            octets.iter().take(3).all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&octets[0]);
        let mark = octets
            .get(3)
            .is_some_and(|mark| *mark == if last { b' ' } else { b'-' });
        let printable = line.chars().all(|c| !c.is_control());
        assert!(
            code && mark && printable && line.len() <= 510 && line[..3] == lines[0][..3],
            "malformed: {lines:?}"
        );
    }
    Ok(lines.last().cloned().unwrap_or_default())
}

fn ask(client: &mut Client, line: &[u8], seen: &Seen) -> io::Result<String> {
    client.send(&[line, b"\r\n"].concat())?;
    reply(client, seen)
}

/// One session; an error is its end, which either side may choose.
fn session(house: &House, dice: &mut Dice, name: &str, seen: &Seen) -> io::Result<()> {
    seen.sessions.fetch_add(1, Relaxed);
    let mut client = match dice.below(4) {
        0 => Client::plain(house.submission)?,
        _ => Client::implicit(house.submissions, house.trust.clone())?,
    };
    reply(&mut client, seen)?;
    if dice.below(8) > 0 {
        ask(&mut client, b"EHLO client.example", seen)?;
        ask(&mut client, sign_in().as_bytes(), seen)?;
    }
    for step in 0..2 + dice.below(14) {
        match dice.below(8) {
            0 => drop(ask(&mut client, &dice.nonsense(), seen)?),
            1..=3 => {
                let line = dice.pick(&LINES);
                let said = ask(&mut client, line.as_bytes(), seen)?;
                if said.starts_with("334") {
                    ask(
                        &mut client,
                        dice.pick(&["*", "", "AGEAYg==", "!"]).as_bytes(),
                        seen,
                    )?;
                }
                if line == "STARTTLS" && said.starts_with("220") {
                    client.handshake(house.trust.clone())?;
                }
            }
            _ => {
                let token = format!("{name}.{step}");
                let said = transaction(&mut client, dice, &token, seen)?;
                if said.starts_with("250") {
                    assert!(said.contains("Accepted as"), "{said}");
                    seen.accepted.lock().unwrap().push(token);
                }
            }
        }
    }
    ask(&mut client, b"QUIT", seen).map(drop)
}

/// One message by DATA or BDAT, whole or at fault; gives the reply that decides on it.
fn transaction(
    client: &mut Client,
    dice: &mut Dice,
    token: &str,
    seen: &Seen,
) -> io::Result<String> {
    let mut text = message(token, 200 + dice.below(3000)).into_bytes();
    let at = text
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let noise: &[u8] = match dice.below(6) {
        0 => b"..two dots are one\r\n",
        1 => b"a bare line feed\nand more\r\n",
        2 => b"a bare \r return\r\n",
        3 => b"a NUL \0\r\n",
        4 => &[b"x".repeat(1200), b"\r\n".to_vec()].concat(),
        _ => b"",
    };
    text.splice(at..at, noise.iter().copied());
    ask(client, format!("MAIL FROM:<{LOGIN}>").as_bytes(), seen)?;
    let said = ask(client, b"RCPT TO:<bob@example.net>", seen)?;
    if !said.starts_with("250") {
        // Not signed in, or an earlier chunk has closed the envelope: the message would not be his.
        ask(client, b"RSET", seen)?;
        return Ok(said);
    }
    if dice.below(2) == 0 {
        let said = ask(client, b"DATA", seen)?;
        if !said.starts_with("354") {
            return Ok(said);
        }
        // Split at a random place.
        let cut = dice.below(text.len());
        client.send(&text[..cut])?;
        client.send(&text[cut..])?;
        return ask(client, b".", seen);
    }
    let cut = dice.below(text.len());
    client.send(format!("BDAT {cut}\r\n").as_bytes())?;
    client.send(&text[..cut])?;
    let said = reply(client, seen)?;
    if !said.starts_with("250") {
        // What follows a refused chunk must be refused too.
        assert!(cut == 0 || !said.contains("Accepted"), "{said}");
    }
    client.send(format!("BDAT {} LAST\r\n", text.len() - cut).as_bytes())?;
    client.send(&text[cut..])?;
    reply(client, seen)
}

/// `GATEPOST_SESSIONS` sets the number of sessions, `GATEPOST_SEED` what they are drawn from.
#[test]
fn sessions_drawn_at_random_get_whole_replies_and_keep_every_promise() {
    let sessions = count("GATEPOST_SESSIONS", 600);
    let seed = count("GATEPOST_SEED", 20_261_123);
    let mut house = House::open(Plan {
        tables: "[log]\nlevel = \"debug\"".into(),
        ..Plan::default()
    });
    let (seen, next) = (Seen::default(), AtomicUsize::new(0));
    scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= sessions {
                        return;
                    }
                    let mut dice = Dice(
                        ((seed + number) as u64 | 1 << 63).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    );
                    let _ = session(&house, &mut dice, &format!("m{number}"), &seen);
                }
            });
        }
    });
    let accepted = seen.accepted.into_inner().unwrap();
    eprintln!(
        "seed {seed}: {} sessions, {} replies, {} accepted",
        seen.sessions.load(Relaxed),
        seen.replies.load(Relaxed),
        accepted.len()
    );
    assert!(accepted.len() > sessions / 2, "too few to show anything");
    house.serves("after");
    house.drain();
    let arrived = house.arrived();
    for token in &accepted {
        assert_eq!(
            arrived.get(&("bob@example.net".into(), token.clone())),
            Some(&1),
            "{token}, seed {seed}"
        );
    }
    for (to, token) in arrived.keys() {
        let known = accepted.contains(token) || token == "after";
        assert!(
            known,
            "{token} for {to} arrived and was refused, seed {seed}"
        );
    }
    house.stop();
}
