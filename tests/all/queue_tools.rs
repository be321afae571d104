//! What a postmaster does to mail in custody, with the server running and without.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    time::{Duration, SystemTime},
};

use gatepost::store::{Store, queue::Incarnation};
use serde_json::Value;

use crate::{
    running::{hold, message},
    server::{ALICE, BOB, Server, Settings, command, send, wait_for},
};

/// A server that lets nothing out, with mail: one message for bob and for x, one for y.
struct Post {
    server: Server,
    ids: [String; 2],
}

const X: &str = "x@any.example";
const Y: &str = "y@any.example";

impl Post {
    fn start() -> Post {
        Post::with(b"From: alice@example.org\r\nMessage-ID: <first@example.org>\r\nSubject: \x1b[31mred\r\n\r\nHello.\r\n")
    }

    fn with(first: &[u8]) -> Post {
        let server = Server::with(Settings::new().with("queue", "hold = true"));
        let mut client = server.signed_in();
        let mut accepted =
            |to: &[&str], content: &[u8]| queue_id(&send(&mut client, ALICE, to, content));
        let ids = [
            accepted(&[BOB, X], first),
            accepted(&[Y], &message("second")),
        ];
        Post { server, ids }
    }

    fn stop(&mut self) {
        self.server.stop();
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let said = self.server.manage(&[arguments, &["--json"]].concat());
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Addresses of the recipients that a list shows.
    fn listed(&self, filters: &[&str]) -> Vec<String> {
        let entries = self.json(&[&["queue", "list"], filters].concat());
        let recipients = entries
            .iter()
            .flat_map(|entry| entry["recipients"].as_array().unwrap());
        recipients
            .map(|to| to["address"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Status and standard output.
    fn told(&self, arguments: &[&str]) -> (i32, String) {
        told(&self.server, arguments)
    }
}

fn told(server: &Server, arguments: &[&str]) -> (i32, String) {
    let output = command(&server.path("gatepost.toml"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), said)
}

/// The id in `250 2.0.0 Accepted as ID`.
fn queue_id(reply: &str) -> String {
    assert!(reply.starts_with("250 "), "{reply}");
    reply.rsplit(' ').next().unwrap().to_owned()
}

/// The same commands do the same whether a server runs or not.
fn hold_release_and_cancel(post: &Post) {
    let [first, second] = &post.ids;
    let everybody = [BOB, X, Y];
    assert_eq!(post.listed(&[]), everybody);
    assert_eq!(post.listed(&["--domain", "any.example"]), [X, Y]);
    assert_eq!(
        post.listed(&["--recipient", BOB, "--sender", "example.org"]),
        [BOB]
    );
    assert_eq!(
        post.listed(&["--account", ALICE, "--state", "due"]),
        everybody
    );
    assert!(post.listed(&["--older", "1h"]).is_empty());
    assert_eq!(post.listed(&["--younger", "1h", "--limit", "9"]), everybody);

    assert_eq!(
        post.told(&["queue", "hold", "--account", "alcie@example.org"]),
        (1, String::new()),
        "a slip in the name"
    );
    assert_eq!(
        post.told(&["queue", "hold", "--account", BOB]),
        (0, "Held nothing.\n".to_owned())
    );
    assert_eq!(
        post.told(&["queue", "flush"]),
        (
            0,
            "Brought forward nothing; 3 were due already. Nothing is tried while queue.hold is set.\n"
                .to_owned()
        )
    );
    let lines = post
        .server
        .manage(&["queue", "hold", &first.to_lowercase()]);
    assert_eq!(lines, "Held 2 recipients of 1 message.\n");
    assert_eq!(post.listed(&["--state", "held"]), [BOB, X]);
    // What is held cannot be held again.
    assert_eq!(
        post.told(&["queue", "hold", first]),
        (1, "Held nothing.\n".into())
    );
    let released = post.json(&["queue", "release", "--recipient", X]);
    assert_eq!(released[0]["done"], "released");
    assert_eq!(
        (&released[0]["recipients"], &released[0]["messages"]),
        (&1.into(), &1.into())
    );
    assert_eq!(post.listed(&["--state", "held"]), [BOB]);
    assert_eq!(
        post.server.manage(&["queue", "release"]),
        "Released 1 recipient of 1 message.\n"
    );

    assert_eq!(
        post.server
            .manage(&["queue", "cancel", first, "--domain", "any.example"]),
        "Cancelled 1 recipient of 1 message.\n"
    );
    assert_eq!(post.listed(&[]), [BOB, Y]);
    assert_eq!(
        post.server.manage(&["queue", "cancel", second, "missing"]),
        "Cancelled 1 recipient of 1 message; not in the queue: missing.\n"
    );
    let gone = format!("Cancelled nothing; not in the queue: {second}.\n");
    assert_eq!(post.told(&["queue", "cancel", second]), (1, gone));
    assert_eq!(post.listed(&[]), [BOB]);
}

fn what_remains_is_known(post: &Post) {
    let [first, second] = &post.ids;
    let text = post.server.manage(&["trace", second]);
    assert!(text.contains(&format!("<{Y}>: cancelled\n")), "{text}");
    let traced = &post.json(&["trace", "first@example.org"])[0];
    assert_eq!(traced["queue_id"], first.as_str());
    assert_eq!(traced["message"]["departed_at"], Value::Null);
    assert_eq!(traced["waiting"][0]["address"], BOB);
    assert_eq!(traced["tries"][0]["outcome"], "cancelled");
    assert_eq!(traced["tries"][0]["address"], X);
    let traced = &post.json(&["trace", second])[0];
    assert!(traced["message"]["departed_at"].is_string());
    let events = post.json(&["events", "--account", ALICE]);
    let of: Vec<_> = events
        .iter()
        .map(|event| event["recipient"].as_str().unwrap())
        .collect();
    assert_eq!(of, [Y, X], "newest first");
    assert_eq!(events[0]["kind"], "cancelled");
    assert!(post.json(&["events", "--account", BOB]).is_empty());
    assert_eq!(post.told(&["trace", "nobody@example.org"]).0, 1);
}

#[test]
fn mail_is_held_released_and_cancelled_while_the_server_runs() {
    let mut post = Post::start();
    hold_release_and_cancel(&post);
    what_remains_is_known(&post);
    post.server
        .logged(&["recipient cancelled", &post.ids[0], X]);
    post.server
        .logged(&["queue changed by the operator", "hold"]);
    hold(&mut post.server, false);
    post.server.reload();
    assert!(post.server.only(BOB).contains("\nHello.\n"));
    assert!(post.server.mail(X).is_empty() && post.server.mail(Y).is_empty());
}

#[test]
fn mail_is_held_released_and_cancelled_while_no_server_runs() {
    let mut post = Post::start();
    post.stop();
    hold_release_and_cancel(&post);
    what_remains_is_known(&post);
    hold(&mut post.server, false);
    post.server.run();
    assert!(post.server.only(BOB).contains("\nHello.\n"));
    assert!(post.server.mail(X).is_empty() && post.server.mail(Y).is_empty());
}

/// Held mail stays where it is while other mail goes, over a restart too, until it is released.
#[test]
fn held_mail_waits_for_its_release_alone() {
    let mut post = Post::start();
    post.server.manage(&["queue", "hold", "--recipient", X]);
    hold(&mut post.server, false);
    post.server.reload();
    wait_for("the others' mail", || {
        let arrived = [BOB, Y].map(|to| post.server.mail(to).len());
        (arrived == [1, 1]).then_some(())
    });
    post.stop();
    post.server.run();
    assert_eq!(post.listed(&[]), [X]);
    assert!(post.server.mail(X).is_empty());
    let held = post.server.get("/metrics").1;
    assert!(
        held.contains("gatepost_queue_recipients{state=\"held\"} 1\n"),
        "{held}"
    );
    assert!(
        held.contains("gatepost_queue_messages{age=\"5m\"} 1\n"),
        "{held}"
    );
    assert!(held.contains("gatepost_queue_lag_seconds 0\n"), "{held}");
    assert_eq!(post.server.get("/healthz").1, "ok\n");
    post.server.manage(&["queue", "release", &post.ids[0]]);
    post.server.only(X);
    assert_eq!(post.server.mail(BOB).len(), 1);
}

/// R5068-3.1d: whose message it was, is told with it.
#[test]
fn a_message_is_shown_with_what_was_asked_for_it() {
    let mut post = Post::start();
    let mut client = post.server.signed_in();
    for line in [
        format!("MAIL FROM:<{ALICE}> RET=HDRS ENVID=a+2Bb BODY=8BITMIME"),
        format!("RCPT TO:<{X}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@old.example"),
    ] {
        assert!(client.ask(&line).unwrap().starts_with("250 "));
    }
    assert!(client.ask("DATA").unwrap().starts_with("354 "));
    client.send(&message("asked")).unwrap();
    let id = queue_id(&client.ask(".").unwrap());
    drop(client);
    for running in [true, false] {
        if !running {
            post.stop();
        }
        let shown = &post.json(&["queue", "show", &id])[0];
        assert_eq!(shown["ret"], "HDRS");
        assert_eq!(shown["envelope_id"], "a+2Bb");
        assert_eq!(shown["body"], "8bitmime");
        assert_eq!(shown["account_name"], ALICE);
        let to = &shown["recipients"][0];
        assert_eq!((&to["state"], &to["address"]), (&"due".into(), &X.into()));
        assert_eq!(to["notify"], "SUCCESS,DELAY");
        assert_eq!(to["original"], "rfc822;x@old.example");
        assert!(
            shown["header"]
                .as_str()
                .unwrap()
                .contains("\r\nSubject: asked\r\n")
        );
        // Nothing from the network moves a terminal.
        let text = post.server.manage(&["queue", "show", &post.ids[0]]);
        assert!(text.contains("  Subject: \\u{1b}[31mred\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert_eq!(post.told(&["queue", "show", "missing"]).0, 1);
    }
}

/// Header and body as they are in custody, whether in the database or in a file of their own.
#[test]
fn an_export_is_the_message_octet_for_octet() {
    let body =
        "Sixty-nine octets and a line end, again and again, until it is large.\r\n".repeat(1300);
    let large = format!("From: {ALICE}\r\nSubject: large\r\n\r\n{body}");
    let mut post = Post::with(large.as_bytes());
    let bodies = post.server.path("data/spool/bodies");
    assert_eq!(fs::read_dir(&bodies).unwrap().count(), 1);
    for running in [true, false] {
        if !running {
            post.stop();
        }
        for (id, ending) in [
            (&post.ids[0], body.as_str()),
            (&post.ids[1], "\r\n\r\nsecond\r\n"),
        ] {
            let exported = post.server.manage(&["queue", "export", id]);
            assert!(exported.ends_with(ending));
            let whole = exported
                .split("\r\n")
                .all(|line| !line.contains(['\r', '\n']));
            assert!(whole && exported.contains("with ESMTPSA"));
            let file = post.server.path(&format!("{id}-{running}.eml"));
            let name = file.to_str().unwrap();
            let said = post
                .server
                .manage(&["queue", "export", id, "--output", name]);
            assert!(said.starts_with(&format!("Exported {id} to ")), "{said}");
            assert_eq!(fs::read_to_string(&file).unwrap(), exported);
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            // What is there is not overwritten.
            assert_eq!(post.told(&["queue", "export", id, "--output", name]).0, 1);
        }
        let nothing = post.server.path("nothing.eml");
        let name = nothing.to_str().unwrap();
        assert_eq!(
            post.told(&["queue", "export", "missing", "--output", name])
                .0,
            1
        );
        assert!(!nothing.exists());
    }
    post.server.run();
    post.server.manage(&["queue", "cancel", "--all"]);
    wait_for("the body file to go", || {
        (fs::read_dir(&bodies).unwrap().count() == 0).then_some(())
    });
}

/// A recipient of a Maildir that cannot be made, and one that can.
#[test]
fn deferred_mail_is_tried_again_when_told() {
    let server = Server::with(Settings::new().with("queue", "retry_first = \"1h\""));
    fs::create_dir_all(server.path("mail")).unwrap();
    let mut client = server.signed_in();
    let stuck = ["p@any.example", "q@any.example"];
    let ids = stuck.map(|to| {
        fs::write(server.path("mail").join(to), "a file in the folder's place").unwrap();
        let id = queue_id(&send(&mut client, ALICE, &[to], &message(to)));
        server.logged(&["delivery attempt", to, "deferred"]);
        id
    });
    let [p, q] = stuck;
    wait_for("both to be recorded as deferred", || {
        let listed = server.manage(&["queue", "list", "--state", "deferred"]);
        (listed.contains(p) && listed.contains(q)).then_some(())
    });
    for to in stuck {
        fs::remove_file(server.path("mail").join(to)).unwrap();
    }
    let said = server.manage(&["queue", "retry", &ids[0]]);
    assert_eq!(said, "Brought forward 1 recipient of 1 message.\n");
    wait_for("the first", || (server.mail(p).len() == 1).then_some(()));
    assert!(server.mail(q).is_empty());
    let said = server.manage(&["queue", "flush"]);
    assert_eq!(said, "Brought forward 1 recipient of 1 message.\n");
    assert!(server.only(q).contains(&format!("\nSubject: {q}\n")));

    let traced = server.manage(&["trace", &ids[0], "--json"]);
    let traced: Value = serde_json::from_str(&traced).unwrap();
    let tries = traced["tries"].as_array().unwrap();
    let outcomes: Vec<_> = tries
        .iter()
        .map(|it| it["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["deferred", "delivered"]);
    assert_eq!(tries[0]["route"], "any");
    assert!(traced["message"]["departed_at"].is_string());
    let text = server.manage(&["trace", &ids[0]]);
    assert!(text.contains(&format!("<{p}>: delivered\n")), "{text}");
}

/// Another process of the house that has due mail in hand.
struct Other {
    runtime: tokio::runtime::Runtime,
    store: Store,
    incarnation: Incarnation,
}

impl Other {
    fn claims(server: &Server, node: &str) -> Other {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let path = server.path("data/gatepost.sqlite");
        let (store, incarnation) = runtime.block_on(async {
            let store = Store::open(&path).await.unwrap();
            let now = SystemTime::now();
            let (incarnation, _) = store.begin_incarnation(node, now).await.unwrap();
            let day = Duration::from_secs(86_400);
            let claimed = store.claim_due(incarnation, now, day, 10).await.unwrap();
            assert_eq!(claimed.len(), 2);
            (store, incarnation)
        });
        Other {
            runtime,
            store,
            incarnation,
        }
    }

    fn ends(self) {
        let ended = self.store.end_incarnation(self.incarnation);
        self.runtime.block_on(ended).unwrap();
        self.runtime.block_on(self.store.close());
    }
}

/// The claim decides: who cancels is told that delivery has the recipient.
#[test]
fn mail_that_is_being_delivered_is_let_be_and_told_of() {
    let mut post = Post::start();
    post.server.manage(&["queue", "hold", "--recipient", X]);
    let other = Other::claims(&post.server, "there");
    assert_eq!(post.listed(&["--state", "claimed"]), [BOB, Y]);
    for running in [true, false] {
        if !running {
            post.stop();
        }
        let id = &post.ids[1];
        let said = "Cancelled nothing; 1 is being delivered at this moment.\n";
        assert_eq!(post.told(&["queue", "cancel", id]), (1, said.into()));
        let held = &post.json(&["queue", "hold", "--sender", ALICE])[0];
        assert_eq!(
            (&held["recipients"], &held["under_way"]),
            (&0.into(), &2.into())
        );
        assert_eq!(held["let_be"][0]["recipient"], BOB);
        assert_eq!(held["let_be"][1]["queue_id"], id.as_str());
    }
    let said = post.server.manage(&["queue", "cancel", &post.ids[0]]);
    assert_eq!(
        said,
        "Cancelled 1 recipient of 1 message; 1 is being delivered at this moment.\n"
    );
    other.ends();
    let said = post.server.manage(&["queue", "cancel", "--all"]);
    assert_eq!(said, "Cancelled 2 recipients of 2 messages.\n");
}

/// A next hop that says nothing: one attempt is under way for as long as it is let, and whatever
/// waits behind it is only in the queue's memory.
#[test]
fn mail_that_waits_in_memory_is_not_under_way() {
    let settings = Settings::new().with("queue", "attempts_per_route = 1");
    let mut server = Server::stopped(settings.with("timeouts", "shutdown = \"1s\""));
    let socket = server.path("lmtp");
    let _silent = UnixListener::bind(&socket).unwrap();
    let config = server.path("gatepost.toml");
    let route = format!(
        "[[routes]]\nname = \"silent\"\ndomains = [\"silent.example\"]\ntransport = \"lmtp\"\n\
         hosts = [\"unix:{}\"]\nrecipients = \"any\"\n",
        socket.display()
    );
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replacen("[[routes]]", &format!("{route}\n[[routes]]"), 1),
    )
    .unwrap();
    server.run();
    let mut client = server.signed_in();
    let ids = [1, 2, 3].map(|n| {
        let to = format!("u{n}@silent.example");
        queue_id(&send(&mut client, ALICE, &[&to], &message("x")))
    });
    wait_for("the attempt to begin", || {
        let (active, waiting) = (
            server.metric("gatepost_queue_active_attempts"),
            server.metric("gatepost_queue_waiting_jobs"),
        );
        (active == 1.0 && waiting == 2.0).then_some(())
    });
    assert_eq!(
        told(&server, &["queue", "hold", "--domain", "silent.example"]).1,
        "Held 2 recipients of 2 messages; 1 is being delivered at this moment.\n"
    );
    assert_eq!(
        told(&server, &["queue", "cancel", &ids[0]]),
        (
            1,
            "Cancelled nothing; 1 is being delivered at this moment.\n".into()
        )
    );
    let cancelled = server.manage(&["queue", "cancel", "--domain", "silent.example"]);
    assert_eq!(
        cancelled,
        "Cancelled 2 recipients of 2 messages; 1 is being delivered at this moment.\n"
    );
    let listed = server.manage(&["queue", "list", "--json"]);
    assert_eq!(listed.lines().count(), 1);
    assert!(
        listed.contains(&ids[0]) && listed.contains("claimed"),
        "{listed}"
    );
    // The attempt is cut off by the stop, and then the message is nobody's.
    server.stop();
    let said = server.manage(&["queue", "cancel", "--all"]);
    assert_eq!(said, "Cancelled 1 recipient of 1 message.\n");
}

/// A server that was killed a moment ago has nothing in hand, whatever the database says of it.
#[test]
fn claims_of_a_killed_server_keep_nobody_from_its_mail() {
    let mut post = Post::start();
    post.server.kill9();
    drop(Other::claims(&post.server, "main"));
    assert_eq!(post.listed(&["--state", "claimed"]), [BOB, X, Y]);
    let said = post
        .server
        .manage(&["queue", "hold", "--domain", "any.example"]);
    assert_eq!(said, "Held 2 recipients of 2 messages.\n");
    hold(&mut post.server, false);
    post.server.run();
    wait_for("the rest", || (post.listed(&[]) == [X, Y]).then_some(()));
    assert_eq!(post.server.mail(BOB).len(), 1);
}

/// What would cancel everything must say so.
#[test]
fn misuse_changes_nothing() {
    let post = Post::start();
    for arguments in [
        &["queue", "cancel"][..],
        &["queue", "cancel", "--all", "--account", ALICE],
        &["queue", "hold", "--state", "lost"],
        &["queue", "retry", "--older", "yesterday"],
        &["queue", "release", "--sender", "a@b@c"],
    ] {
        assert_eq!(post.told(arguments).0, 2, "{arguments:?}");
    }
    assert_eq!(post.listed(&["--state", "due"]), [BOB, X, Y]);
}

/// A data directory that never saw a server.
#[test]
fn an_empty_queue_is_told_as_such() {
    let server = Server::stopped(Settings::new());
    assert_eq!(
        server.manage(&["queue", "list"]),
        "Nothing is in custody.\n"
    );
    assert_eq!(
        server.manage(&["queue", "flush"]),
        "Brought forward nothing.\n"
    );
    assert_eq!(
        server.manage(&["queue", "cancel", "--all"]),
        "Cancelled nothing.\n"
    );
    assert_eq!(server.manage(&["events"]), "No events.\n");
    assert_eq!(told(&server, &["queue", "hold", "x"]).0, 1);
}
