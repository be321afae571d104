//! Guessed passwords: slowed where they come from, never locked out where the user is at home, and
//! never at the price of those who are signed in.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::scope,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::house::{House, LOGIN, Plan, address, from};

/// A session from a place of choice, over TLS.
struct Guesser(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Guesser {
    fn new(house: &House, address: [u8; 4]) -> io::Result<Guesser> {
        let socket = from(address, house.submissions)?;
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&house.trust), name);
        let connection = connection.map_err(io::Error::other)?;
        let mut guesser = Guesser(BufReader::new(StreamOwned::new(connection, socket)));
        guesser.reply()?;
        guesser.ask("EHLO client.example")?;
        Ok(guesser)
    }

    fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(line);
            }
        }
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        let stream = self.0.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        stream.flush()?;
        self.reply()
    }

    fn guess(&mut self, name: &str, password: &str) -> io::Result<String> {
        let plain = format!("\0{name}\0{password}");
        self.ask(&format!(
            "AUTH PLAIN {}",
            data_encoding::BASE64.encode(plain.as_bytes())
        ))
    }
}

const QUICK: &str = "[auth]\nargon2_memory = \"64 KiB\"\nargon2_iterations = 1";

/// Guesses that were checked (535) and that were put off (454).
fn tally(said: &str, checked: &mut usize, put_off: &mut usize) {
    match &said[..3] {
        "535" => *checked += 1,
        "454" => *put_off += 1,
        _ => panic!("{said}"),
    }
}

/// S28: one address gets twelve guesses a minute looked at, whatever names and however many
/// sessions it takes; the next address gets its own.
#[test]
fn one_address_gets_few_guesses_looked_at() {
    let mut house = House::open(Plan {
        auth: Some(QUICK.into()),
        ..Plan::default()
    });
    let (mut checked, mut put_off) = (0, 0);
    for session in 0..12 {
        let mut guesser = Guesser::new(&house, [127, 9, 9, 9]).unwrap();
        for guess in 0..4 {
            let name = format!("user{}@example.org", session * 4 + guess);
            let said = guesser.guess(&name, &format!("secret{guess}")).unwrap();
            tally(&said, &mut checked, &mut put_off);
        }
    }
    assert_eq!((checked, put_off), (12, 36));
    let said = Guesser::new(&house, [127, 9, 8, 9])
        .unwrap()
        .guess("eve@example.org", "x");
    assert!(said.unwrap().starts_with("535"));
    house.stop();
}

/// S28, S29: one name guessed at from sixty networks is looked at twenty-four times, and its owner
/// signs in all the same from where she was before.
#[test]
fn one_name_gets_few_guesses_and_its_owner_is_not_locked_out() {
    let mut house = House::open(Plan {
        auth: Some(QUICK.into()),
        ..Plan::default()
    });
    house.client().unwrap();
    let (mut checked, mut put_off) = (0, 0);
    for n in 0..60 {
        let mut guesser = Guesser::new(&house, address(n)).unwrap();
        let said = guesser.guess(LOGIN, &format!("guess {n}")).unwrap();
        tally(&said, &mut checked, &mut put_off);
        if n % 10 == 0 {
            house.client().unwrap();
        }
    }
    assert_eq!((checked, put_off), (24, 36));
    // Not a matter of the remembered password: a start forgets it, and not the place.
    house.kill();
    house.start();
    for n in 0..30 {
        let mut guesser = Guesser::new(&house, address(n)).unwrap();
        let _ = guesser.guess(LOGIN, &format!("guess {n}"));
    }
    house.client().unwrap();
    house.stop();
}

/// S27: a storm of costly hashes takes bounded memory, and who has signed in before signs in again
/// at once.
#[test]
fn a_storm_of_guesses_takes_bounded_memory_and_starves_nobody() {
    let mut house = House::open(Plan {
        auth: Some(
            "[auth]\nargon2_iterations = 1\nworkers = 2\nwaiting = 32\n\
             [auth.throttle]\nexempt = [\"127.0.0.0/8\"]"
                .into(),
        ),
        ..Plan::default()
    });
    house.client().unwrap();
    let before = house.forget_peak();
    let (stop, guesses) = (AtomicBool::new(false), AtomicUsize::new(0));
    let house_ref = &house;
    scope(|threads| {
        for n in 0..48 {
            let (stop, guesses) = (&stop, &guesses);
            threads.spawn(move || {
                while !stop.load(Relaxed) {
                    let Ok(mut guesser) = Guesser::new(house_ref, address(n)) else {
                        continue;
                    };
                    let name = format!("user{n}@example.org");
                    for _ in 0..4 {
                        let number = guesses.fetch_add(1, Relaxed);
                        let Ok(said) = guesser.guess(&name, &format!("x{number}")) else {
                            break;
                        };
                        assert!(said.starts_with("535") || said.starts_with("454"), "{said}");
                        if stop.load(Relaxed) {
                            break;
                        }
                    }
                }
            });
        }
        while guesses.load(Relaxed) < 48 {
            std::thread::yield_now();
        }
        let served: Vec<_> = (0..10)
            .map(|n| {
                house_ref
                    .try_to_serve(&format!("during-{n}"))
                    .map_err(|e| e.to_string())
            })
            .collect();
        stop.store(true, Relaxed);
        assert!(served.iter().all(Result::is_ok), "{served:?}");
    });
    let growth = house.peak().saturating_sub(before);
    eprintln!(
        "{} guesses, {} KiB more",
        guesses.load(Relaxed),
        growth / 1024
    );
    assert!(growth < 128 << 20, "{growth} octets more");
    house.stop();
}
