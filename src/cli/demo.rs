//! `gatepost demo`: the whole way of a message, on this machine.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    answer::print,
    arrival::arrived,
    dialogue::{Submit, submit},
    password::random,
};
use crate::{
    accounts::hash_password,
    config::{Certificate, Config, Loaded, LogFormat, Recipients, Route},
    listener::Kind,
    server::{DATABASE, Running, Server, logging},
    smtp::{Domain, Mailbox},
    store::{Store, accounts::NewAccount},
    tls::dev::{self, Development},
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
    ///
    /// # Errors
    /// The first thing that did not go as it should; the server is stopped in order before.
    pub async fn run(self) -> Result<()> {
        logging::start(LogFormat::Text, "warn");
        self.ports_are_free()?;
        let now = SystemTime::now();
        let here = std::env::current_dir()?;
        let made = dev::certificate(&here.join("certs-dev"), now)?;
        // Of its own for each run: nothing of an earlier one can pass for this one's success.
        let (process, nanos) = (std::process::id(), nanos(now));
        let data = std::env::temp_dir().join(format!("gatepost-demo-{process}-{nanos}"));
        let loaded = self.configuration(&made, &data)?;
        let password = account(&loaded, &data, now).await?;
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let running = Server::start(loaded, None).await?;
        let shown = tokio::select! {
            shown = self.show(&running, &made, &data, &password) => shown,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        };
        running.stop().await;
        shown
    }

    /// Both at once, so that one port given twice is found too.
    fn ports_are_free(&self) -> Result<()> {
        let bind = |flag: &str, port: u16| {
            TcpListener::bind(("127.0.0.1", port)).with_context(|| {
                format!(
                    "port {port} of 127.0.0.1 cannot be had; choose another with {flag} N (0: any)"
                )
            })
        };
        let submissions = bind("--port-submissions", self.port_submissions)?;
        let submission = bind("--port-submission", self.port_submission)?;
        drop((submissions, submission));
        Ok(())
    }

    fn configuration(&self, made: &Development, data: &Path) -> Result<Loaded> {
        let mut config = Config {
            hostname: "localhost".into(),
            data_dir: data.to_owned(),
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
        Ok(Loaded::parse("demo", &toml::to_string(&config)?)?)
    }

    /// One message through each port; then serves until somebody drops this.
    async fn show(
        &self,
        running: &Running,
        made: &Development,
        data: &Path,
        password: &SecretString,
    ) -> Result<()> {
        print(&format!(
            "Account {LOGIN}, password {}\nData in {}\n\n",
            password.expose_secret(),
            data.display()
        ))?;
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
            .await
            .with_context(|| format!("failed to submit over {} on {address}", kind.name()))?;
            print(&format!("{} on {address}:\n{said}\n", kind.name()))?;
            let file = arrived(&data.join("mail"), &text, &message).await?;
            print(&format!("Arrived, octet for octet: {}\n\n", file.display()))?;
        }
        if !self.once {
            print(&to_paste(running.addresses(), &made.ca, password))?;
            print("\nServing until Ctrl-C.\n")?;
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn nanos(now: SystemTime) -> u128 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

async fn account(loaded: &Loaded, data: &Path, now: SystemTime) -> Result<SecretString> {
    let password = random()?;
    let made = hash_password(&password, &loaded.options.accounts, None)?;
    let store = Store::open(&data.join(DATABASE)).await?;
    store
        .add_domain(&Domain::parse("example.org")?, now)
        .await?;
    let address = Mailbox::parse(LOGIN)?;
    store
        .add_account(
            NewAccount {
                name: LOGIN,
                password_hash: &made.hash,
                scram: made.scram.as_ref(),
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

/// Lines for a shell, each a whole submission or connection of its own.
fn to_paste(addresses: &[(Kind, SocketAddr)], ca: &Path, password: &SecretString) -> String {
    let ca = ca.display().to_string().replace('\'', "'\\''");
    let password = password.expose_secret();
    let mut text = String::from("Try it yourself:\n");
    for (kind, address) in addresses {
        let port = address.port();
        let (scheme, required, swaks, openssl) = match kind {
            Kind::Implicit => ("smtps", "", "--tls-on-connect", ""),
            Kind::StartTls => ("smtp", "--ssl-reqd ", "--tls", " -starttls smtp"),
        };
        text.push_str(&format!(
            "\n  printf 'From: <{LOGIN}>\\r\\nTo: <{LOGIN}>\\r\\nSubject: curl\\r\\n\\r\\nHello\\r\\n' | \
             curl {required}--cacert '{ca}' --url {scheme}://localhost:{port} \
             --user '{LOGIN}:{password}' --mail-from {LOGIN} --mail-rcpt {LOGIN} --upload-file -\n\
             \n  swaks --server localhost --port {port} {swaks} --tls-verify --tls-ca-path '{ca}' \
             --auth PLAIN --auth-user {LOGIN} --auth-password '{password}' \
             --from {LOGIN} --to {LOGIN}\n\
             \n  openssl s_client -connect localhost:{port}{openssl} -CAfile '{ca}' \
             -verify_return_error -verify_hostname localhost -crlf -quiet\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_told_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        for (port_submissions, port_submission, flag) in [
            (port, 0, "--port-submissions N"),
            (0, port, "--port-submission N"),
        ] {
            let demo = Demo {
                once: true,
                port_submissions,
                port_submission,
            };
            let text = format!("{:#}", demo.ports_are_free().unwrap_err());
            assert!(
                text.contains(flag) && text.contains(&port.to_string()),
                "{text}"
            );
        }
    }
}
