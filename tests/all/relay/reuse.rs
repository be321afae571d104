//! Connections between messages, which host is taken, and as whom.

use std::time::Duration;

use super::{
    drained, letter, open_relay, password_file, relay, route, send, settings, sign_in, subject,
    submit,
};
use crate::{
    hop::{Act, Behaviour, End, Hop, NAME, PASSWORD, Phase, authority},
    server::{self, ALICE, BOB, Server, wait_for},
};

/// One connection for messages one after another, closed with QUIT when none came for a while.
#[test]
fn a_connection_is_used_again_until_it_is_idle_for_too_long() {
    let hop = Hop::start(Behaviour::starttls().needs_sign_in());
    let account = sign_in(NAME, PASSWORD);
    let more = format!("idle = \"1s\"\n{account}");
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", &more)));
    let mut client = server.signed_in();
    for name in ["one", "two", "three"] {
        let content = letter(name, "Hello.\r\n");
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@far.example>"],
            &content,
        );
        drained(&server);
    }
    let transcript = hop.wait_for_ends(1);
    assert_eq!(transcript.connections.len(), 1);
    let connection = &transcript.connections[0];
    let names: Vec<_> = connection.transactions.iter().map(subject).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert_eq!(connection.closed.as_ref().unwrap().1, End::Quit);
    assert_eq!(connection.sign_ins.len(), 1);
    send(&server, &["bob@far.example"], "four");
    assert_eq!(hop.wait_for_messages(4).len(), 4);
    assert_eq!(hop.transcript().connections.len(), 2);
}

/// With `idle = "0s"` each message has its own; and a server that stops leaves no connection behind.
#[test]
fn connections_end_with_quit() {
    let own = Hop::start(Behaviour::starttls());
    let kept = Hop::start(Behaviour::starttls());
    let mut server = Server::with(
        settings()
            .route(&relay("own.example", &own, "starttls", "idle = \"0s\"\n"))
            .route(&relay("kept.example", &kept, "starttls", "")),
    );
    for name in ["one", "two"] {
        send(&server, &["bob@own.example", "bob@kept.example"], name);
        drained(&server);
    }
    own.wait_for_ends(2);
    assert!(kept.transcript().connections[0].closed.is_none());
    server.stop();
    for (hop, count) in [(&own, 2), (&kept, 1)] {
        let transcript = hop.wait_for_ends(count);
        assert_eq!(transcript.connections.len(), count);
        for connection in transcript.connections {
            assert_eq!(connection.closed.unwrap().1, End::Quit);
        }
    }
}

/// Neither a hop that closed meanwhile, nor one that says so, nor one that takes a single message a
/// connection costs a message an attempt.
#[test]
fn a_connection_that_is_stale_costs_no_attempt() {
    let quietly =
        Hop::start(Behaviour::starttls().when_idle(Duration::from_millis(400), Act::Close));
    let loudly = Hop::start(
        Behaviour::starttls().when_idle(Duration::from_millis(400), Act::last("421 4.4.2 Idle")),
    );
    let by_reset = Hop::start(Behaviour::plain().when_idle(Duration::from_millis(400), Act::Reset));
    let one_each = Hop::start(Behaviour::starttls().messages_at_most(1));
    let second_mail = Hop::start(Behaviour::plain().at_nth(
        Phase::Mail,
        2,
        Act::last("421 4.7.0 One a connection"),
    ));
    let hangs_up = Hop::start(Behaviour::plain().at_nth(Phase::Mail, 2, Act::Close));
    let hops = [
        ("quietly.example", &quietly, "starttls"),
        ("loudly.example", &loudly, "starttls"),
        ("reset.example", &by_reset, "none"),
        ("one.example", &one_each, "starttls"),
        ("second.example", &second_mail, "none"),
        ("hangs-up.example", &hangs_up, "none"),
    ];
    let routes = hops.iter();
    let settings = routes.fold(settings(), |settings, (domain, hop, tls)| {
        settings.route(&relay(domain, hop, tls, ""))
    });
    let server = Server::with(settings);
    let to = hops.map(|(domain, ..)| format!("bob@{domain}"));
    let to = to.each_ref().map(String::as_str);
    for name in ["one", "two"] {
        send(&server, &to, name);
        drained(&server);
        for hop in [&quietly, &loudly, &by_reset] {
            hop.wait_for_ends(hop.messages().len());
        }
    }
    for (domain, hop, _) in hops {
        assert_eq!(hop.messages().len(), 2, "{domain}");
        assert_eq!(hop.transcript().connections.len(), 2, "{domain}");
    }
    let log = server.log();
    assert!(!log.contains("\"deferred\""), "{log}");
}

/// No more connections than the route allows, and no more messages on each.
#[test]
fn connections_and_their_messages_are_bounded() {
    let hop = Hop::start(Behaviour::starttls().slow(Duration::from_millis(5)));
    let more = "connections = 2\nmessages_per_connection = 5\n";
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", more)));
    let mut client = server.signed_in();
    for n in 0..20 {
        let content = letter(&format!("m{n}"), "Hello.\r\n");
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@far.example>"],
            &content,
        );
    }
    drained(&server);
    assert_eq!(hop.messages().len(), 20);
    let transcript = hop.transcript();
    // The hop notes an end a little later than we do.
    assert!(transcript.peak <= 4, "{}", transcript.peak);
    for connection in &transcript.connections {
        assert!(connection.transactions.len() <= 5, "{connection:#?}");
    }
    assert!(transcript.connections.len() < 10);
}

/// An account's sign-in before an address's, that before a domain's, and the route's own for the
/// rest; never is a connection of one used for another.
#[test]
fn each_sender_signs_in_as_the_route_says() {
    let hop = Hop::start(
        Behaviour::starttls()
            .offers("AUTH PLAIN")
            .at(Phase::SignIn, Act::reply("235 2.7.0 Come in")),
    );
    let table = |who: &str, user: &str| {
        let file = password_file(&format!("{user}-secret"));
        let file = file.display();
        format!("[[routes.credentials]]\n{who}\nuser = \"{user}\"\npassword_file = \"{file}\"\n")
    };
    let more = [
        "connections = 1\nidle = \"5m\"\n".to_owned(),
        sign_in("everybody", "everybody-secret"),
        table("senders = [\"wonder.example\"]", "domain"),
        table("senders = [\"boss@wonder.example\"]", "address"),
        table(&format!("accounts = [\"{BOB}\"]"), "account"),
    ]
    .concat();
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", &more)));
    let mut bob = server.greeted();
    assert!(server::sign_in(&mut bob, BOB, "bobs-other-secret").starts_with("235 "));
    let mut alice = server.signed_in();
    let cases = [
        ("alice@example.org", "everybody"),
        ("any@wonder.example", "domain"),
        ("boss@wonder.example", "address"),
        ("bob@example.org", "account"),
        ("any@wonder.example", "domain"),
    ];
    for (n, (from, user)) in cases.iter().enumerate() {
        let client = if *from == BOB { &mut bob } else { &mut alice };
        let content = String::from_utf8(letter(&format!("{user}{n}"), "Hello.\r\n")).unwrap();
        let content = content.replacen(ALICE, from, 1);
        submit(
            client,
            &format!("<{from}>"),
            &["<bob@far.example>"],
            content.as_bytes(),
        );
        drained(&server);
        // One that waits for others' mail gives its place up.
        hop.wait("a single open connection", |transcript| {
            let connections = transcript.connections.iter();
            connections.filter(|one| one.closed.is_none()).count() == 1
        });
    }
    let mut count = 0;
    for connection in hop.transcript().connections {
        let [sign_in] = &connection.sign_ins[..] else {
            panic!("{connection:#?}");
        };
        for transaction in &connection.transactions {
            let user = subject(transaction);
            assert_eq!(
                sign_in.name,
                user.trim_end_matches(|c: char| c.is_ascii_digit())
            );
            count += 1;
        }
    }
    assert_eq!(count, cases.len());
}

/// Hosts in their order; a dead one is passed by, and left alone then.
#[test]
fn a_dead_host_is_passed_by() {
    let second = Hop::start(Behaviour::starttls());
    let third = Hop::start(Behaviour::starttls());
    let busy = Hop::start(Behaviour::starttls().at(Phase::Greeting, Act::last("421 4.3.2 Busy")));
    let dead = server::free_address().port();
    let more = format!(
        "tls = \"starttls\"\nca = \"{}\"\nhosts = [\"localhost:{dead}\", \"localhost:{}\", \
         {{ host = \"localhost:{}\", order = 30 }}, {{ host = \"localhost:{}\", order = 40 }}]\n",
        authority().display(),
        busy.address().port(),
        second.address().port(),
        third.address().port(),
    );
    let line = route("far.example", "relay", "x", &more).replace("hosts = [\"x\"]\n", "");
    let server = Server::with(
        settings()
            .with("delivery", "back_off = \"1m\"")
            .with("delivery", "back_off_longest = \"1m\"")
            .route(&line),
    );
    for name in ["one", "two"] {
        send(&server, &["bob@far.example"], name);
        drained(&server);
    }
    assert_eq!(second.messages().len(), 2);
    assert!(third.transcript().connections.is_empty());
    assert_eq!(busy.transcript().connections.len(), 1);
    busy.transcript().assert_nothing_given_away();
    let log = server.log();
    assert_eq!(log.matches("next hop cannot be used").count(), 2, "{log}");
    // Its attempt knows where it went first.
    assert!(!log.contains("\"deferred\""), "{log}");
}

/// A host that lets us in and then breaks off before it has seen anything of the message is passed
/// by in the same attempt.
#[test]
fn a_host_that_breaks_off_before_the_message_is_passed_by() {
    let last = |phase| Behaviour::plain().at(phase, Act::last("421 4.3.2 Going down"));
    let hops = [
        Hop::start(last(Phase::Mail)),
        Hop::start(Behaviour::plain().at(Phase::Rcpt, Act::Close)),
        Hop::start(last(Phase::Data).without("CHUNKING")),
        Hop::start(Behaviour::plain()),
    ];
    let hosts = hops.each_ref().map(|hop| format!("\"{}\"", hop.address()));
    let line = format!(
        "name = \"far\"\ndomains = [\"far.example\"]\ntransport = \"relay\"\ntls = \"none\"\n\
         hosts = [{}]\n",
        hosts.join(", ")
    );
    let server = Server::with(settings().route(&line));
    for name in ["one", "two"] {
        send(&server, &["bob@far.example"], name);
        drained(&server);
    }
    let counts = hops.each_ref().map(|hop| hop.messages().len());
    assert_eq!(counts, [0, 0, 0, 2]);
    assert!(!server.log().contains("\"deferred\""));
}

/// A host that always breaks off within the message may have it, so the message waits; but the next
/// attempt is another host's.
#[test]
fn a_host_that_breaks_off_within_the_message_is_not_tried_next() {
    let broken = Hop::start(Behaviour::plain().in_content(1, Act::Close));
    let sound = Hop::start(Behaviour::plain());
    let hosts = [&broken, &sound].map(|hop| format!("\"{}\"", hop.address()));
    let line = format!(
        "name = \"far\"\ndomains = [\"far.example\"]\ntransport = \"relay\"\ntls = \"none\"\n\
         hosts = [{}]\n",
        hosts.join(", ")
    );
    let server = Server::with(
        settings()
            .route(&line)
            .with("delivery", "back_off = \"1m\"")
            .with("delivery", "back_off_longest = \"1m\""),
    );
    send(&server, &["bob@far.example"], "one");
    drained(&server);
    assert_eq!(sound.messages().len(), 1);
    assert_eq!(broken.transcript().connections.len(), 1);
    server.logged(&["\"deferred\"", "bob@far.example"]);
}

/// A password that is wrong is a matter of those who use it.
#[test]
fn a_refused_sign_in_keeps_nobody_else_waiting() {
    let hop = Hop::start(Behaviour::starttls().offers("AUTH PLAIN").needs_sign_in());
    let file = password_file("wrong-secret");
    let more = format!(
        "{}[[routes.credentials]]\nsenders = [\"wonder.example\"]\nuser = \"{NAME}2\"\n\
         password_file = \"{}\"\n",
        sign_in(NAME, PASSWORD),
        file.display()
    );
    let server = Server::with(
        settings()
            .with("delivery", "back_off = \"1m\"")
            .with("delivery", "back_off_longest = \"1m\"")
            .route(&relay("far.example", &hop, "starttls", &more)),
    );
    let mut client = server.signed_in();
    for n in 0..3 {
        let content = String::from_utf8(letter(&format!("w{n}"), "Hello.\r\n")).unwrap();
        let content = content.replacen(ALICE, "a@wonder.example", 1);
        let to = ["<bob@far.example>"];
        submit(&mut client, "<a@wonder.example>", &to, content.as_bytes());
        let line = server.logged(&["delivery attempt", "\"deferred\"", "535"]);
        assert!(line.contains("\"dsn\":\"4.7"), "{line}");
    }
    for n in 0..3 {
        send(&server, &["bob@far.example"], &format!("r{n}"));
        hop.wait_for_messages(n + 1);
    }
    let transcript = hop.transcript();
    let sign_ins = transcript.connections.iter().flat_map(|it| &it.sign_ins);
    // The wrong password was shown once: what locks an account is not tried on and on.
    assert_eq!(sign_ins.filter(|it| !it.right).count(), 1);
    assert!(server.mail(ALICE).is_empty());
}

/// Hosts of one order share the mail by their weights; one of weight 0 waits for the others to fail.
#[test]
fn weights_share_the_mail() {
    let hops: Vec<_> = (0..3).map(|_| Hop::start(Behaviour::plain())).collect();
    let host = |at: usize, weight: u16| {
        let hop: &Hop = &hops[at];
        format!(
            "{{ host = \"{}\", order = 1, weight = {weight} }}",
            hop.address()
        )
    };
    let line = format!(
        "name = \"far\"\ndomains = [\"far.example\"]\ntransport = \"relay\"\ntls = \"none\"\n\
         hosts = [{}, {}, {}]\n",
        host(0, 1),
        host(1, 1),
        host(2, 0)
    );
    let server = Server::with(settings().route(&line));
    let mut client = server.signed_in();
    for n in 0..40 {
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@far.example>"],
            &letter(&format!("m{n}"), "Hello.\r\n"),
        );
    }
    drained(&server);
    let [one, two, rest] = [0, 1, 2].map(|at: usize| hops[at].messages().len());
    assert_eq!((one + two, rest), (40, 0));
    assert!(one > 4 && two > 4, "{one} {two}");
}

/// A host that did not answer is left alone for its time, not for ever: what waits is handed over
/// when it is back.
#[test]
fn a_host_that_comes_back_gets_what_waited() {
    let hop = Hop::start(crate::hop::Script::of([
        Behaviour::plain().at(Phase::Greeting, Act::Close),
        Behaviour::plain(),
    ]));
    let server = Server::with(settings().route(&open_relay("far.example", &hop)));
    let mut client = server.signed_in();
    for n in 0..5 {
        submit(
            &mut client,
            &format!("<{ALICE}>"),
            &["<bob@far.example>"],
            &letter(&format!("m{n}"), "Hello.\r\n"),
        );
    }
    let messages = hop.wait_for_messages(5);
    let mut names: Vec<_> = messages.iter().map(subject).collect();
    names.sort();
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
    wait_for("an empty queue", || {
        (server.metric("gatepost_queue_messages") == 0.0).then_some(())
    });
    assert_eq!(hop.messages().len(), 5);
}
