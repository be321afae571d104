//! `gatepost demo`: the whole way of a message, on this machine.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::dialogue::{Submit, submit};
use crate::{
    accounts::{generate_password, hash_password},
    config::{Certificate, Config, Loaded, LogFormat, Recipients, Route},
    listener::Kind,
    server::{DATABASE, Server, logging},
    smtp::{Domain, Mailbox},
    store::{Store, accounts::NewAccount},
    tls::dev,
};

const LOGIN: &str = "demo@example.org";

/// Settings of the demonstration.
#[derive(Args, Debug)]
pub struct Demo {
    /// End after the two messages.
    #[arg(long)]
    once: bool,
    /// Port for implicit TLS on 127.0.0.1; 0 takes any that is free.
    #[arg(long, default_value_t = 1465)]
    port_submissions: u16,
    /// Port for STARTTLS on 127.0.0.1; 0 takes any that is free.
    #[arg(long, default_value_t = 1587)]
    port_submission: u16,
}

impl Demo {
    /// Shows it.
    pub async fn run(self) -> Result<()> {
        logging::start(LogFormat::Text, "warn");
        let now = SystemTime::now();
        for (flag, port) in [
            ("--port-submissions", self.port_submissions),
            ("--port-submission", self.port_submission),
        ] {
            if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
                bail!(
                    "port {port} of 127.0.0.1 cannot be had ({error}); choose another with {flag} N, 0 for any"
                );
            }
        }
        let here = std::env::current_dir()?;
        let made = dev::certificate(&here.join("certs-dev"), now)?;
        // Of its own for each run: nothing of an earlier one can pass for this one's success.
        let data = std::env::temp_dir().join(format!(
            "gatepost-demo-{}-{}",
            std::process::id(),
            nanos(now)
        ));
        let mut config = Config {
            hostname: "localhost".into(),
            data_dir: data.clone(),
            certificates: vec![Certificate {
                cert: made.pair.chain.clone(),
                key: made.pair.key.clone(),
                default: true,
            }],
            routes: vec![Route {
                name: "demo".into(),
                domains: vec!["example.org".into()],
                path: data.join("mail/{address}").display().to_string(),
                recipients: Recipients::Accounts,
                ..Route::default()
            }],
            ..Config::default()
        };
        config.listeners.submissions = vec![([127, 0, 0, 1], self.port_submissions).into()];
        config.listeners.submission = vec![([127, 0, 0, 1], self.port_submission).into()];
        config.http.listen.clear();
        let loaded = Loaded::parse("demo", &toml::to_string(&config)?)?;

        let password = account(&loaded, &data, now).await?;
        let running = Server::start(loaded, None).await?;
        println!(
            "Account {LOGIN}, password {}\nData in {}\n",
            password.expose_secret(),
            data.display()
        );
        for (kind, address) in running.addresses() {
            let text = format!("{} {}", kind.name(), nanos(SystemTime::now()));
            let message = message(&text);
            let said = submit(Submit {
                address: *address,
                kind: *kind,
                server_name: "localhost".into(),
                ca: made.ca.clone(),
                login: LOGIN.into(),
                password: password.clone(),
                sender: LOGIN.into(),
                recipients: vec![LOGIN.into()],
                message: message.clone(),
            })
            .await?;
            println!("{} on {address}:\n{said}", kind.name());
            let file = arrived(&data.join("mail"), &message).await?;
            println!("Arrived, octet for octet: {}\n", file.display());
        }
        if !self.once {
            paste(running.addresses(), &made.ca, &password);
            println!("\nServing until Ctrl-C.");
            tokio::signal::ctrl_c().await?;
        }
        running.stop().await;
        Ok(())
    }
}

fn nanos(now: SystemTime) -> u128 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

async fn account(loaded: &Loaded, data: &Path, now: SystemTime) -> Result<SecretString> {
    let mut random = [0; 15];
    getrandom::fill(&mut random).context("failed to get random octets")?;
    let password = generate_password(random);
    let hash = hash_password(&password, &loaded.options.accounts)?;
    let store = Store::open(&data.join(DATABASE)).await?;
    store
        .add_domain(&Domain::parse("example.org")?, now)
        .await?;
    let address = Mailbox::parse(LOGIN)?;
    store
        .add_account(
            NewAccount {
                name: LOGIN,
                password_hash: &hash,
                address: &address,
            },
            now,
        )
        .await?;
    store.close().await;
    Ok(password)
}

/// A dot-line, 8-bit text and blanks at a line's end: what breaks where somebody is careless.
fn message(text: &str) -> String {
    let id = text.replace(' ', ".");
    format!(
        "From: <{LOGIN}>\r\nTo: <{LOGIN}>\r\nSubject: Hello over {text}\r\n\
         Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <{id}@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n\
         Gr\u{fc}\u{df}e over {text}.\r\n.\r\n..two dots\r\nblank at the end \r\n\r\n"
    )
}

/// Waits for the file that ends with what was given; fields may stand in front of it.
async fn arrived(mail: &Path, message: &str) -> Result<PathBuf> {
    let wanted = message.replace("\r\n", "\n");
    for _ in 0..200 {
        for folder in fs::read_dir(mail).into_iter().flatten().flatten() {
            for file in fs::read_dir(folder.path().join("new"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let octets = fs::read(file.path())?;
                if octets.ends_with(wanted.as_bytes()) {
                    return Ok(file.path());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!(
        "the message did not arrive octet for octet below {}",
        mail.display()
    )
}

fn paste(addresses: &[(Kind, SocketAddr)], ca: &Path, password: &SecretString) {
    let (ca, password) = (ca.display(), password.expose_secret());
    println!("Try it yourself:");
    for (kind, address) in addresses {
        let port = address.port();
        let (scheme, need, swaks, openssl) = match kind {
            Kind::Implicit => ("smtps", "", "--tls-on-connect", ""),
            Kind::StartTls => ("smtp", " --ssl-reqd", "--tls", " -starttls smtp"),
        };
        println!(
            "  printf 'Subject: hi\\r\\n\\r\\nhi\\r\\n' | curl{need} --cacert '{ca}' --url {scheme}://localhost:{port} --user '{LOGIN}:{password}' --mail-from {LOGIN} --mail-rcpt {LOGIN} --upload-file -"
        );
        println!(
            "  swaks --server localhost:{port} {swaks} --tls-ca-path '{ca}' --auth PLAIN --auth-user {LOGIN} --auth-password '{password}' --from {LOGIN} --to {LOGIN}"
        );
        println!(
            "  openssl s_client -connect localhost:{port}{openssl} -CAfile '{ca}' -verify_return_error -crlf -quiet"
        );
    }
}
