//! `gatepost domain` and `gatepost user`: written to the database, then told to a running server.

use std::{
    io::{BufRead, Write},
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    accounts::{generate_password, hash_password, login_name},
    admin::control::{self, Request},
    config::Loaded,
    policy::sending::AddressPattern,
    server::DATABASE,
    smtp::{Domain, Mailbox},
    store::{
        Store,
        accounts::{NewAccount, StoredAccount},
    },
};

#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Add a domain.
    Add { domain: String },
    /// List the domains.
    List,
    /// Remove a domain without accounts.
    Remove { domain: String },
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add an account; its name is its address unless --address says otherwise.
    Add {
        name: String,
        #[arg(long)]
        address: Option<String>,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// List the accounts.
    List,
    /// Show an account.
    Show { name: String },
    /// Set an account's password.
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Stop an account from signing in.
    Disable { name: String },
    /// Let an account sign in again.
    Enable { name: String },
    /// Remove an account.
    Remove { name: String },
    /// Addresses that an account may send as; *@domain for all of a domain.
    #[command(subcommand)]
    Address(AddressCommand),
}

#[derive(Debug, Subcommand)]
pub enum AddressCommand {
    /// Let an account send as an address.
    Add { name: String, address: String },
    /// Take an address away.
    Remove { name: String, address: String },
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct PasswordFrom {
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
    /// Make a password and print it.
    #[arg(long)]
    generate: bool,
}

impl PasswordFrom {
    fn take(&self) -> Result<SecretString> {
        if self.generate {
            let mut random = [0; 15];
            getrandom::fill(&mut random).context("failed to get random octets")?;
            let password = generate_password(random);
            println!("{}", password.expose_secret());
            return Ok(password);
        }
        if self.password_stdin {
            return line();
        }
        eprint!("Password: ");
        let first = without_echo()?;
        eprint!("Again: ");
        let second = without_echo()?;
        ensure!(
            first.expose_secret() == second.expose_secret(),
            "the two passwords differ"
        );
        Ok(first)
    }
}

fn line() -> Result<SecretString> {
    let mut text = String::new();
    std::io::stdin().lock().read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

fn without_echo() -> Result<SecretString> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    std::io::stderr().flush()?;
    let before = tcgetattr(std::io::stdin())
        .context("no terminal to ask on; use --password-stdin or --generate")?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
    let password = line();
    tcsetattr(std::io::stdin(), OptionalActions::Now, &before)?;
    eprintln!();
    password
}

async fn open(loaded: &Loaded) -> Result<Store> {
    Ok(Store::open(&loaded.config.data_dir.join(DATABASE)).await?)
}

async fn changed(store: Store, loaded: &Loaded, json: bool, told: &str) -> Result<()> {
    store.close().await;
    // Acknowledged before we end: the change acts at once.
    control::ask(&loaded.config.data_dir, Request::AccountsChanged)
        .context("changed in the database, but the server was not told")?;
    match json {
        true => println!("{}", serde_json::json!({ "done": told })),
        false => println!("{told}."),
    }
    Ok(())
}

fn domain(text: &str) -> Result<Domain> {
    Domain::parse(text).with_context(|| format!("{text} is no domain"))
}

fn pattern(text: &str) -> Result<AddressPattern> {
    match text.strip_prefix("*@").or_else(|| text.strip_prefix('@')) {
        Some(whole) => Ok(AddressPattern::Domain(domain(whole)?)),
        None => Ok(AddressPattern::Exact(
            Mailbox::parse(text).with_context(|| format!("{text} is no address"))?,
        )),
    }
}

fn login(text: &str) -> Result<String> {
    login_name(text).with_context(|| format!("{text:?} cannot be a login name"))
}

impl DomainCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded, json: bool) -> Result<()> {
        let store = open(loaded).await?;
        let told = match self {
            DomainCommand::Add { domain: name } => {
                store.add_domain(&domain(&name)?, SystemTime::now()).await?;
                format!("Added domain {name}")
            }
            DomainCommand::Remove { domain: name } => {
                store.remove_domain(&domain(&name)?).await?;
                format!("Removed domain {name}")
            }
            DomainCommand::List => {
                let domains = store.domains().await?;
                match json {
                    true => println!("{}", serde_json::json!(domains)),
                    false => domains.iter().for_each(|name| println!("{name}")),
                }
                return Ok(());
            }
        };
        changed(store, loaded, json, &told).await
    }
}

impl UserCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded, json: bool) -> Result<()> {
        let store = open(loaded).await?;
        let now = SystemTime::now();
        let told = match self {
            UserCommand::Add {
                name,
                address,
                password,
            } => {
                let address = address.unwrap_or_else(|| name.clone());
                let address =
                    Mailbox::parse(&address).with_context(|| format!("{address} is no address"))?;
                let name = login(&name)?;
                let hash = hash_password(&password.take()?, &loaded.options.accounts)?;
                let account = NewAccount {
                    name: &name,
                    password_hash: &hash,
                    address: &address,
                };
                store.add_account(account, now).await?;
                format!("Added account {name}")
            }
            UserCommand::Passwd { name, password } => {
                let name = login(&name)?;
                let hash = hash_password(&password.take()?, &loaded.options.accounts)?;
                store.set_password(&name, &hash, now).await?;
                format!("Set the password of {name}")
            }
            UserCommand::Disable { name } => {
                store.set_enabled(&login(&name)?, false).await?;
                format!("Disabled account {name}")
            }
            UserCommand::Enable { name } => {
                store.set_enabled(&login(&name)?, true).await?;
                format!("Enabled account {name}")
            }
            UserCommand::Remove { name } => {
                store.remove_account(&login(&name)?).await?;
                format!("Removed account {name}")
            }
            UserCommand::Address(AddressCommand::Add { name, address }) => {
                store
                    .add_address(&login(&name)?, &pattern(&address)?)
                    .await?;
                format!("Let {name} send as {address}")
            }
            UserCommand::Address(AddressCommand::Remove { name, address }) => {
                store
                    .remove_address(&login(&name)?, &pattern(&address)?)
                    .await?;
                format!("Took {address} from {name}")
            }
            UserCommand::List => {
                store
                    .accounts()
                    .await?
                    .iter()
                    .for_each(|account| show(account, json));
                return Ok(());
            }
            UserCommand::Show { name } => {
                match store.account_by_name(&login(&name)?).await? {
                    Some(account) => show(&account, json),
                    None => bail!("there is no account {name}"),
                }
                return Ok(());
            }
        };
        changed(store, loaded, json, &told).await
    }
}

fn show(account: &StoredAccount, json: bool) {
    let sends_as: Vec<String> = account
        .patterns
        .iter()
        .map(|pattern| match pattern {
            AddressPattern::Exact(address) => address.to_string(),
            AddressPattern::Domain(domain) => format!("*@{domain}"),
        })
        .collect();
    if json {
        println!(
            "{}",
            serde_json::json!({
                "name": account.name,
                "enabled": account.enabled,
                "address": account.address.to_string(),
                "sends_as": sends_as,
            })
        );
    } else {
        let state = if account.enabled {
            "enabled"
        } else {
            "disabled"
        };
        println!("{} {state} {}", account.name, sends_as.join(" "));
    }
}
