//! `gatepost route`: which way mail goes, and why; read from the file, whether a server runs or not.

mod connect;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{
    answer::{Answer, columns},
    become_service,
};
use crate::{
    accounts::login_name,
    config::Loaded,
    policy::routes::{
        Credential, Encryption, Found, Hop, Host, LocalRecipients, Origin, OriginPattern, Route,
        RouteTable, Transport, Trust, maildir_path,
    },
    server::logging::escape,
    smtp::{Mailbox, ReversePath},
};

/// What to know of routes.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// List the routes in the order of the file.
    List,
    /// Say which route a message would take, and why.
    Test(RouteTest),
}

/// A message that might be sent.
#[derive(Args, Debug)]
pub struct RouteTest {
    /// Its recipient.
    address: String,
    /// Its envelope sender; without it there is none, as in reports.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The account that submits it.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Connect to each host of the route, up to the sign-in, and show what it answers; fails where
    /// one could not take mail.
    #[arg(long)]
    connect: bool,
}

impl RouteCommand {
    /// Does it, and prints the answer.
    pub async fn run(self, path: &Path, json: bool) -> Result<ExitCode> {
        let test = match self {
            RouteCommand::List => {
                let loaded = Loaded::read_without_passwords(path)?;
                list(&loaded.options.queue.routes).print(json)?;
                return Ok(ExitCode::SUCCESS);
            }
            RouteCommand::Test(test) => test,
        };
        let loaded = match test.connect {
            true => Loaded::read(path)?,
            false => Loaded::read_without_passwords(path)?,
        };
        if test.connect {
            // Sockets and authorities are to be found as the server finds them.
            become_service(&loaded)?;
        }
        let (answer, code) = test.answer(&loaded).await?;
        answer.print(json)?;
        Ok(code)
    }
}

impl RouteTest {
    async fn answer(&self, loaded: &Loaded) -> Result<(Answer, ExitCode)> {
        let table = &loaded.options.queue.routes;
        let recipient = Mailbox::parse(&self.address)
            .with_context(|| format!("{} is no address", self.address))?;
        let sender = match self.from.as_deref() {
            None | Some("<>") => ReversePath::Null,
            Some(text) => {
                ReversePath::parse(text).with_context(|| format!("{text} is no address"))?
            }
        };
        let account = match &self.account {
            None => None,
            Some(name) => {
                Some(login_name(name).with_context(|| format!("{name:?} cannot be a login name"))?)
            }
        };
        let origin = Origin::new(&sender, account.as_deref());
        let Some(found) = table.explain(&recipient, &origin) else {
            bail!(no_route(&recipient, &origin));
        };
        let mut answer = answer(&found, &recipient, &origin);
        let hop = found.route.transport.hop().filter(|_| self.connect);
        let Some(hop) = hop else {
            return Ok((answer, ExitCode::SUCCESS));
        };
        let (hosts, credential) = (in_order(hop), hop.credential(&origin));
        let user = credential.map(|it| it.name.as_str());
        let options = &loaded.options.deliver.hops;
        let answers = connect::connect(&found.route.transport, &hosts, credential, options).await;
        for (n, (host, answered)) in hosts.iter().zip(&answers).enumerate() {
            answer.text.push_str(&format!("\n{}\n", host.place));
            answer.text.push_str(&text(&connect::lines(answered, user)));
            answer.objects[0]["hosts"][n]["answer"] = connect::object(answered, user);
        }
        let all_ready = answers.iter().all(|answered| answered.refused.is_none());
        Ok(match all_ready {
            true => (answer, ExitCode::SUCCESS),
            false => (answer, ExitCode::FAILURE),
        })
    }
}

/// Names and values, made harmless for a terminal (S22).
fn text(lines: &[(&str, String)]) -> String {
    let lines = lines.iter();
    lines
        .map(|(name, value)| format!("{name:14}{}\n", escape(value)))
        .collect()
}

fn no_route(recipient: &Mailbox, origin: &Origin<'_>) -> String {
    let mut text = format!("no route takes mail for {recipient}");
    if let Some(sender) = origin.sender {
        text.push_str(&format!(" from {sender}"));
    }
    if let Some(account) = origin.account {
        text.push_str(&format!(", submitted by {account}"));
    }
    text
}

fn answer(found: &Found<'_>, recipient: &Mailbox, origin: &Origin<'_>) -> Answer {
    let route = found.route.as_ref();
    let mut lines = vec![
        ("route", route.name.clone()),
        ("transport", route.transport.kind().to_owned()),
        ("because", because(found)),
    ];
    let mut object = json!({
        "recipient": recipient.to_string(),
        "sender": origin.sender.map(ToString::to_string),
        "account": origin.account,
        "route": route.name,
        "transport": route.transport.kind(),
        "because": {
            "domain": found.domain.to_string(),
            "origin": found.origin.map(ToString::to_string),
        },
    });
    match &route.transport {
        Transport::Maildir { path, .. } => {
            let maildir = maildir_path(path, recipient).display().to_string();
            object["maildir"] = json!(maildir);
            lines.push(("maildir", maildir));
        }
        Transport::Lmtp { hop, .. } | Transport::Relay(hop) => {
            let credential = hop.credential(origin);
            let hosts = in_order(hop);
            lines.extend(hosts.iter().map(|host| ("host", described(host))));
            if hosts
                .iter()
                .any(|host| host.encryption != Encryption::Plaintext)
            {
                lines.extend(trusted(&hop.trust).into_iter().map(|it| ("trust", it)));
                object["trust"] = trust_object(&hop.trust);
            }
            object["hosts"] = hosts.into_iter().map(host_object).collect();
            object["user"] = json!(credential.map(|it| &it.name));
            let user = credential.map_or("nobody", |it| &it.name);
            lines.push(("signs in as", user.to_owned()));
        }
        Transport::Mx(_) | Transport::Discard => {}
    }
    if route.transport.recipients() == LocalRecipients::Accounts {
        let text = "addresses of accounts; others are refused at RCPT";
        lines.push(("recipients", text.to_owned()));
    }
    object["recipients"] = json!(recipients(&route.transport));
    Answer {
        text: text(&lines),
        objects: vec![object],
    }
}

/// Which of the route's patterns were met.
fn because(found: &Found<'_>) -> String {
    let whose = match found.origin {
        None => "everybody's mail".to_owned(),
        Some(OriginPattern::Account(name)) => format!("what account {name} submits"),
        Some(pattern) => format!("mail from {pattern}"),
    };
    format!("it takes {whose} for {}", found.domain)
}

/// The hosts as an attempt goes through them; those of one order take turns.
fn in_order(hop: &Hop) -> Vec<&Host> {
    let mut hosts: Vec<_> = hop.hosts.iter().collect();
    hosts.sort_by_key(|host| (host.order, std::cmp::Reverse(host.weight)));
    hosts
}

fn described(host: &Host) -> String {
    let protected = match host.encryption {
        Encryption::Implicit => "TLS from the first octet",
        Encryption::StartTls => "STARTTLS",
        Encryption::Plaintext => "no TLS",
    };
    let Host {
        place,
        order,
        weight,
        ..
    } = host;
    format!("{place} ({protected}, order {order}, weight {weight})")
}

fn host_object(host: &Host) -> Value {
    // The words of the configuration.
    let tls = match host.encryption {
        Encryption::Implicit => "implicit",
        Encryption::StartTls => "starttls",
        Encryption::Plaintext => "none",
    };
    json!({
        "host": host.place.to_string(),
        "tls": tls,
        "order": host.order,
        "weight": host.weight,
    })
}

fn trusted(trust: &Trust) -> Vec<String> {
    match trust {
        Trust::System => vec!["the authorities of this system".to_owned()],
        Trust::Authorities(path) => vec![format!("the authorities in {}", path.display())],
        Trust::Pins(pins) => pins
            .iter()
            .map(|pin| format!("the certificate {}", HEXLOWER.encode(pin)))
            .collect(),
    }
}

fn trust_object(trust: &Trust) -> Value {
    match trust {
        Trust::System => json!("system"),
        Trust::Authorities(path) => json!({ "ca": path }),
        Trust::Pins(pins) => {
            let pins = pins.iter().map(|pin| HEXLOWER.encode(pin));
            json!({ "pins": pins.collect::<Vec<_>>() })
        }
    }
}

fn recipients(transport: &Transport) -> &'static str {
    match transport.recipients() {
        LocalRecipients::Accounts => "accounts",
        LocalRecipients::Any => "any",
    }
}

fn list(table: &RouteTable) -> Answer {
    let rows = table.routes().iter().map(|route| {
        [
            route.name.clone(),
            domains(route).join(" "),
            match route.origins.is_empty() {
                true => "everybody".to_owned(),
                false => origins(route).join(", "),
            },
            route.transport.kind().to_owned(),
            way(&route.transport),
        ]
    });
    Answer {
        text: columns(["NAME", "DOMAINS", "MAIL OF", "TRANSPORT", "WAY"], rows),
        objects: table.routes().iter().map(|it| object(it)).collect(),
    }
}

fn domains(route: &Route) -> Vec<String> {
    route.domains.iter().map(ToString::to_string).collect()
}

fn origins(route: &Route) -> Vec<String> {
    route.origins.iter().map(ToString::to_string).collect()
}

fn way(transport: &Transport) -> String {
    match transport {
        Transport::Maildir { path, .. } => path.clone(),
        Transport::Lmtp { hop, .. } | Transport::Relay(hop) => in_order(hop)
            .iter()
            .map(|host| host.place.to_string())
            .collect::<Vec<_>>()
            .join(" "),
        Transport::Mx(_) => "mail hosts of the domain".to_owned(),
        Transport::Discard => "-".to_owned(),
    }
}

fn object(route: &Route) -> Value {
    let mut object = json!({
        "name": route.name,
        "domains": domains(route),
        "origins": origins(route),
        "transport": route.transport.kind(),
        "recipients": recipients(&route.transport),
    });
    match &route.transport {
        Transport::Maildir { path, .. } => object["path"] = json!(path),
        Transport::Lmtp { hop, .. } | Transport::Relay(hop) => {
            object["hosts"] = in_order(hop).into_iter().map(host_object).collect();
            object["trust"] = trust_object(&hop.trust);
            object["sign_ins"] = hop.credentials.iter().map(sign_in).collect();
        }
        Transport::Mx(_) | Transport::Discard => {}
    }
    object
}

fn sign_in(credential: &Credential) -> Value {
    let origin = credential.origin.as_ref();
    json!({ "user": credential.name, "origin": origin.map(ToString::to_string) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"hostname = "mail.example.org"
[[certificates]]
cert = "/c.pem"
key = "/k.pem"
[[routes]]
name = "local"
domains = ["example.org"]
path = "/m/{domain}/{local}"
[[routes]]
name = "shop"
domains = ["*.example.net"]
senders = ["shop.example"]
accounts = ["ann"]
transport = "relay"
hosts = [{ host = "b.example:587", order = 20 }, { host = "a.example:465", order = 10 }]
user = "all"
password_file = "/nowhere/all"
[[routes.credentials]]
accounts = ["ann"]
user = "ann-there"
password_file = "/nowhere/ann"
[[routes]]
name = "dovecot"
domains = ["example.com"]
transport = "lmtp"
hosts = ["unix:/run/dovecot/lmtp"]
recipients = "any"
"#;

    /// What the command says; passwords that are nowhere do not keep it from answering.
    async fn run(address: &str, from: Option<&str>, account: Option<&str>) -> Result<Answer> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), FILE).unwrap();
        let loaded = Loaded::read_without_passwords(file.path()).unwrap();
        let test = RouteTest {
            address: address.into(),
            from: from.map(Into::into),
            account: account.map(Into::into),
            connect: false,
        };
        let (answer, code) = test.answer(&loaded).await?;
        assert_eq!(code, ExitCode::SUCCESS);
        Ok(answer)
    }

    #[tokio::test]
    async fn local_mail_is_told_with_its_maildir() {
        let answer = run("Bob@example.org", None, None).await.unwrap();
        assert_eq!(
            answer.text,
            "route         local\n\
             transport     maildir\n\
             because       it takes everybody's mail for example.org\n\
             maildir       /m/example.org/bob\n\
             recipients    addresses of accounts; others are refused at RCPT\n"
        );
        let object = &answer.objects[0];
        assert_eq!(object["maildir"], "/m/example.org/bob");
        assert_eq!(object["recipients"], "accounts");
        assert_eq!(object["because"]["domain"], "example.org");
        assert!(object["because"]["origin"].is_null());
    }

    #[tokio::test]
    async fn a_smarthost_is_told_with_its_hosts_in_order_and_the_login_name() {
        let answer = run("bob@a.example.net", Some("x@SHOP.example"), None)
            .await
            .unwrap();
        assert_eq!(
            answer.text,
            "route         shop\n\
             transport     relay\n\
             because       it takes mail from shop.example for *.example.net\n\
             host          a.example:465 (TLS from the first octet, order 10, weight 1)\n\
             host          b.example:587 (STARTTLS, order 20, weight 1)\n\
             trust         the authorities of this system\n\
             signs in as   all\n"
        );
        let answer = run("bob@a.example.net", Some("x@other.example"), Some("Ann"))
            .await
            .unwrap();
        assert!(answer.text.contains("what account ann submits"));
        let object = &answer.objects[0];
        assert_eq!(object["user"], "ann-there");
        assert_eq!(object["account"], "ann");
        assert_eq!(object["trust"], "system");
        assert_eq!(object["hosts"][0]["host"], "a.example:465");
        assert_eq!(object["hosts"][0]["tls"], "implicit");
        assert_eq!(object["hosts"][1]["tls"], "starttls");
        assert_eq!(object["because"]["origin"], "account ann");
    }

    #[tokio::test]
    async fn a_socket_is_told_without_certificates() {
        let answer = run("bob@example.com", None, None).await.unwrap();
        assert!(answer.text.contains("unix:/run/dovecot/lmtp (no TLS"));
        assert!(!answer.text.contains("trust"), "{}", answer.text);
        assert!(answer.text.ends_with("signs in as   nobody\n"));
        assert!(answer.objects[0]["user"].is_null());
    }

    #[tokio::test]
    async fn what_no_route_takes_is_said_plainly() {
        for (address, from, account, said) in [
            (
                "bob@example.net",
                None,
                None,
                "no route takes mail for bob@example.net",
            ),
            (
                "bob@a.example.net",
                Some("x@other.example"),
                Some("bob"),
                "no route takes mail for bob@a.example.net from x@other.example, submitted by bob",
            ),
            ("bob", None, None, "bob is no address"),
            ("bob@example.org", Some("x"), None, "x is no address"),
            (
                "bob@example.org",
                None,
                Some("a b"),
                "\"a b\" cannot be a login name",
            ),
        ] {
            let error = run(address, from, account).await.unwrap_err();
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn routes_are_listed_with_whom_and_what_they_take() {
        let loaded = {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), FILE).unwrap();
            Loaded::read_without_passwords(file.path()).unwrap()
        };
        let answer = list(&loaded.options.queue.routes);
        let lines: Vec<_> = answer
            .text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "NAME DOMAINS MAIL OF TRANSPORT WAY",
                "local example.org everybody maildir /m/{domain}/{local}",
                "shop *.example.net shop.example, account ann relay a.example:465 b.example:587",
                "dovecot example.com everybody lmtp unix:/run/dovecot/lmtp",
            ]
        );
        assert_eq!(answer.objects.len(), 3);
        assert_eq!(answer.objects[1]["sign_ins"][1]["user"], "ann-there");
        assert_eq!(answer.objects[1]["sign_ins"][1]["origin"], "account ann");
        assert!(answer.objects[1]["sign_ins"][0]["origin"].is_null());
    }
}
