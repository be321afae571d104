//! Mail is signed on a running server, by keys that come and go, and dkimpy finds nothing wrong.

use std::{fs, process::Command};

use serde_json::{Map, Value};

use crate::{
    clients::{present, python_with, script},
    hop::{Behaviour, Hop, Transaction},
    lab::{Lab, Zone},
    relay::{letter, send, submit},
    server::{ALICE, Server, Settings},
};

/// A key of 1024 bits, which is too short.
const SHORT_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBAOFGShqds1kvFHnJ
HT/sM603S6RdbxUTXp7ilPTVwDpYmsHG4Msm4OOXg2LSGvltDKKl/Vn8YtH8qGcI
/yLzU+AhgRtgmA5/dek3n/eRp8OSyYOOFsHbGc4chxTK06h17e5tmzgYDgoaOmXW
fB9aitFzAOPALXtg1yGTGBytTy9dAgMBAAECgYEAoGQQPNUNLbFUjcVAOxPsUyas
h5Eylrncw5klXxCVNbWCMfdsc5fxxHlKxWA8blxTA7bVJG2K2mFecUW5iePfUb3y
BL1FyO8AEhRwfziCMAvjipVa/wWKW5WeEsjplnZR8km8PYjq5yCAu6makyB4TNuA
2g5xOx+obDEo4Ktbwy0CQQDwyv6JBDE7kmDJyAzeMheO8hseBGEkWkNi96nfYoVV
ww3dJ604io0K1s0U0z62r0zECI3FcwOjyj2X1gEJ2hpDAkEA74BnGUH2ZkQ1P0ye
lTuiSu+r7/H2Uauol8QYfg1s+QwfaZlw302Alevd1AKkQx/xUJyEqVHk6wXyFAoy
e4UF3wJBAKkeGWmIPT/Wzg3KaGdCjVNDbZJGhyeuEbgXtAKFwpn6delG7Z1Rij/7
n2wp9dj/BA6G53OvFPZbm6jhkDcoLNsCQQC+1OXRN0DYbYKr5CX7rJ987Aloz7e/
jXJxMtt9HL92lVU2M/++vac2TdDbzBsMLRh/bac6rrkjFwKzOwjMaMqrAkB3zZXn
fsyG55nWnDqWSUaSAZ2RvKMF+0MEXPw7U2vAyhkzuJy1IHMoftSbSZL61SRIlrti
P7nVehLlDODaWA0Q
-----END PRIVATE KEY-----
";

fn relayed(name: &str, hop: &Hop) -> Settings {
    let place = format!("localhost:{}", hop.address().port());
    Settings::new().route(&format!(
        "name = \"{name}\"\ndomains = [\"{name}\"]\ntransport = \"relay\"\nhosts = [\"{place}\"]\n\
         tls = \"none\"\n"
    ))
}

fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Adds keys to example.org; their records by name.
fn add_keys(server: &Server, arguments: &[&str]) -> Map<String, Value> {
    let command = ["--json", "domain", "dkim", "add", "example.org"];
    let added = server.manage(&[&command[..], arguments].concat());
    let records = objects(&added).into_iter();
    records
        .map(|it| (it["name"].as_str().unwrap().to_owned(), it["value"].clone()))
        .collect()
}

/// What dkimpy says of a message's signatures, given these records.
fn verified(message: &[u8], records: &Map<String, Value>) -> Vec<Value> {
    let python = python_with("dkim").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mail, dns) = (folder.path().join("mail"), folder.path().join("dns"));
    fs::write(&mail, message).unwrap();
    fs::write(&dns, serde_json::to_vec(records).unwrap()).unwrap();
    let output = Command::new(python)
        .arg(script("verify_dkim.py"))
        .args([mail, dns])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn content(transaction: &Transaction) -> &[u8] {
    &transaction.content
}

fn signs_well(found: &[Value], selectors: &[&str]) {
    let by: Vec<_> = found.iter().map(|it| it["selector"].clone()).collect();
    assert_eq!(by, selectors, "{found:?}");
    for signature in found {
        assert_eq!(signature["holds"], true, "{found:?}");
        assert_eq!(signature["domain"], "example.org");
        assert_eq!(signature["canonicalization"], "relaxed/relaxed");
        let fields = signature["fields"].as_array().unwrap();
        let count = |name| fields.iter().filter(|it| *it == name).count();
        assert_eq!((count("from"), count("received")), (2, 0), "{fields:?}");
    }
}

/// R6376-5.3a, R6376-5.6a, R6409-8.5a: from the moment a key is added to the moment it is retired, in
/// the database and in a file, and beside a signature that the client has made.
#[test]
fn mail_is_signed_as_long_as_there_is_a_key() {
    if !present("dkimpy", python_with("dkim").is_some()) {
        return;
    }
    let hop = Hop::start(Behaviour::plain());
    let server =
        Server::with(relayed("there.example", &hop).with("limits", "message_size = 5000000"));
    let to = "bob@there.example";
    send(&server, &[to], "before");
    let records = add_keys(&server, &["--selector", "First"]);
    let names: Vec<_> = records.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "first-ed25519._domainkey.example.org",
            "first-rsa._domainkey.example.org"
        ]
    );
    send(&server, &[to], "both");
    let large = letter(
        "large",
        &"Sixty-two octets of text, \t and some more.  \r\n".repeat(60_000),
    );
    let large = [b"DKIM-Signature: v=1; d=theirs.example; b=\r\n", &large[..]].concat();
    let from = format!("<{ALICE}>");
    submit(
        &mut server.signed_in(),
        &from,
        &["<bob@there.example>"],
        &large,
    );
    server.manage(&["domain", "dkim", "retire", "example.org", "first-rsa"]);
    send(&server, &[to], "one");
    server.manage(&["domain", "dkim", "retire", "example.org", "first-ed25519"]);
    send(&server, &[to], "none");

    let messages = hop.wait_for_messages(5);
    let of = |subject: &str| {
        let line = format!("Subject: {subject}\r\n");
        let is_it = |it: &&Transaction| String::from_utf8_lossy(&it.content).contains(&line);
        content(messages.iter().find(is_it).unwrap())
    };
    assert!(verified(of("before"), &records).is_empty());
    assert!(verified(of("none"), &records).is_empty());
    signs_well(
        &verified(of("both"), &records),
        &["first-rsa", "first-ed25519"],
    );
    signs_well(&verified(of("one"), &records), &["first-ed25519"]);
    assert!(of("both").starts_with(b"DKIM-Signature: v=1; a=rsa-sha256;"));
    let found = verified(of("large"), &records);
    signs_well(&found[..2], &["first-rsa", "first-ed25519"]);
    assert_ne!(found[2]["holds"], true);
    server.logged(&["message accepted", "\"signed_for\":\"example.org\""]);
}

/// R6376-5.3b: a copy for a next hop that takes 7-bit content only is signed anew; and so is what a
/// sender is told.
#[test]
fn converted_copies_and_reports_are_signed() {
    if !present("dkimpy", python_with("dkim").is_some()) {
        return;
    }
    let narrow = Hop::start(Behaviour::plain().without("8BITMIME").without("CHUNKING"));
    let server =
        Server::with(relayed("there.example", &narrow).with("limits", "message_size = 5000000"));
    let records = add_keys(&server, &["--algorithm", "rsa", "--selector", "s"]);
    let from = format!("<{ALICE}>");
    for (subject, lines) in [("small", 1), ("large", 40_000)] {
        let mut mail = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                         Content-Transfer-Encoding: 8bit\r\n"
            .to_vec();
        mail.extend(letter(
            subject,
            &"Gr\u{fc}\u{df}e aus K\u{f6}ln\r\n".repeat(lines),
        ));
        submit(
            &mut server.signed_in(),
            &from,
            &["<bob@there.example> NOTIFY=SUCCESS"],
            &mail,
        );
    }
    for message in narrow.wait_for_messages(2) {
        let message = content(&message);
        assert!(message.is_ascii());
        assert_eq!(
            message
                .windows(14)
                .filter(|it| it == b"DKIM-Signature")
                .count(),
            1
        );
        signs_well(&verified(message, &records), &["s"]);
    }
    // The name of the server is mail.example.org; the domain above it has the key.
    for report in server.delivered(ALICE) {
        let report = String::from_utf8(report).unwrap();
        let (_, report) = report.split_once("DKIM-Signature:").unwrap();
        let report = format!("DKIM-Signature:{report}").replace("\r\n", "\n");
        let report = report.replace('\n', "\r\n");
        signs_well(&verified(report.as_bytes(), &records), &["s"]);
    }
}

/// R8301-3a: a key that was made elsewhere, as another program left it.
#[test]
fn keys_are_taken_over_and_listed_and_unusable_ones_refused() {
    let server = Server::start();
    let file = server.path("key.pem");
    let path = file.display().to_string();
    let add = |selector: &str| {
        let command = ["domain", "dkim", "add", "example.org"];
        server.gatepost(
            &[&command[..], &["--selector", selector, "--key", &path]].concat(),
            "",
        )
    };
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-out", &path])
        .args(["-pkeyopt", "rsa_keygen_bits:2048"])
        .output();
    if !present("openssl", made.is_ok_and(|it| it.status.success())) {
        return;
    }
    let added = add("old").unwrap();
    let public = Command::new("openssl")
        .args(["pkey", "-in", &path, "-pubout", "-outform", "DER"])
        .output()
        .unwrap();
    let public = data_encoding::BASE64.encode(&public.stdout);
    // Strings of a record are 255 octets long at most.
    assert!(added.replace("\" \"", "").contains(&public), "{added}");
    assert!(added.contains("old._domainkey.example.org. IN TXT ( \"v=DKIM1; h=sha256; k=rsa; p="));
    let taken = add("old").unwrap_err();
    assert!(taken.contains("exists already"), "{taken}");

    fs::write(&file, SHORT_KEY).unwrap();
    let refused = add("short").unwrap_err();
    assert!(refused.contains("2048 bits"), "{refused}");
    fs::write(&file, "no key").unwrap();
    let refused = add("none").unwrap_err();
    assert!(refused.contains("holds no private key"), "{refused}");
    let unknown = server.gatepost(&["domain", "dkim", "add", "other.example"], "");
    assert!(unknown.unwrap_err().contains("has not been added"));

    let retire = ["domain", "dkim", "retire", "example.org", "OLD"];
    assert!(server.manage(&retire).contains("Leave its record"));
    let again = server.gatepost(&retire, "").unwrap_err();
    assert!(again.contains("retired already"), "{again}");
    let listed = objects(&server.manage(&["--json", "domain", "dkim", "list"]));
    assert_eq!(listed[0]["selector"], "old");
    assert!(listed[0]["retired_at"].is_string(), "{listed:?}");
}

/// R6186-3.1a: what `gatepost dns` prints is what `gatepost dns --check` wants to find, read by a real name server
/// from its zone file in between.
#[test]
fn printed_records_are_found_where_they_are_published() {
    let mx = "name = \"mx\"\ndomains = [\"*\"]\ntransport = \"mx\"\n";
    let server = Server::with(Settings::new().route(mx));
    server.manage(&["domain", "dkim", "add", "example.org", "--selector", "s"]);
    let printed = server.manage(&["dns", "example.org"]);
    for words in [
        "example.org. IN TXT \"v=spf1 a:mail.example.org -all\"",
        "s-rsa._domainkey.example.org. IN TXT ( \"v=DKIM1;",
        "_dmarc.example.org. IN TXT \"v=DMARC1;",
        "_submissions._tcp.example.org. IN SRV 0 1 ",
        "._tcp.mail.example.org. IN TLSA 3 1 1 ",
        "; _mta-sts.example.org. IN TXT \"v=STSv1; id=",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    // Hints are comments; here they are wanted.
    let lines = printed.lines().map(|line| match line.strip_prefix("; _") {
        Some(record) => format!("_{record}\n"),
        None => format!("{line}\n"),
    });
    let records = lines.collect::<String>() + "mail A 127.0.0.1\n";
    let without: String = records
        .lines()
        .filter(|line| !line.starts_with("s-rsa.") && !line.starts_with("_dmarc."))
        .map(|line| line.replace("a:mail.example.org", "ip4:192.0.2.1") + "\n")
        .collect();

    let check = |records: &str| {
        let lab = Lab::start(&[Zone::signed("example.org", records)])?;
        let resolver = format!("servers = [\"{}\"]", lab.resolver());
        let config = fs::read_to_string(server.path("gatepost.toml")).unwrap();
        let changed = config.replace("[dns]\n", &format!("[dns]\n{resolver}\n"));
        let path = server.path("checked.toml");
        fs::write(&path, changed).unwrap();
        Some(crate::server::gatepost(
            &path,
            &["--json", "dns", "example.org", "--check"],
            "",
        ))
    };
    let Some(good) = check(&records) else {
        return;
    };
    let good = objects(&good.unwrap());
    assert!(good.len() >= 10, "{good:?}");
    for record in &good {
        assert_eq!(record["state"], "published", "{record}");
    }
    let bad = objects(&check(&without).unwrap().unwrap_err());
    let state = |name: &str| {
        let found = bad.iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {bad:?}"))["state"].clone()
    };
    assert_eq!(state("example.org"), "differs");
    assert_eq!(state("s-rsa._domainkey.example.org"), "missing");
    assert_eq!(state("_dmarc.example.org"), "missing");
    assert_eq!(state("s-ed25519._domainkey.example.org"), "published");
    let unknown = server.gatepost(&["dns", "other.example"], "").unwrap_err();
    assert!(unknown.contains("has not been added"), "{unknown}");
}

/// A binary body is signed as it is, and its copy in base64 anew (RFC 6376 §5.3).
#[test]
fn binary_mail_is_signed_in_either_form() {
    if !present("dkimpy", python_with("dkim").is_some()) {
        return;
    }
    let takes = Hop::start(Behaviour::plain().offers("BINARYMIME"));
    let lines = Hop::start(Behaviour::plain());
    let place = format!("localhost:{}", lines.address().port());
    let server = Server::with(relayed("takes.example", &takes).route(&format!(
        "name = \"lines\"\ndomains = [\"lines.example\"]\ntransport = \"relay\"\n\
         hosts = [\"{place}\"]\ntls = \"none\"\n"
    )));
    let records = add_keys(&server, &["--selector", "bin"]);
    // The verifier would make CRLF of any LF.
    let octets: Vec<u8> = (0..=255_u8)
        .filter(|it| !matches!(it, b'\r' | b'\n'))
        .cycle()
        .take(5_000)
        .collect();
    let head = "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
                Content-Transfer-Encoding: binary\r\n";
    let content = [head.as_bytes(), &letter("binary", ""), &octets, b"\r\n"].concat();
    let from = format!("<{ALICE}> BODY=BINARYMIME");
    let to = ["<bob@takes.example>", "<bob@lines.example>"];
    submit(&mut server.signed_in(), &from, &to, &content);
    let raw = takes.wait_for_messages(1).remove(0);
    let copy = lines.wait_for_messages(1).remove(0);
    assert!(!raw.content.is_ascii() && copy.content.is_ascii());
    for transaction in [&raw, &copy] {
        let found = verified(&transaction.content, &records);
        signs_well(&found, &["bin-rsa", "bin-ed25519"]);
    }
}
