//! `gatepost domain` and `gatepost user`: written to the database, then told to a running server.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    answer::{Answer, columns},
    app_passwords::end,
    cannot_open,
    certificates::CertificateCommand,
    dkim::DkimCommand,
    password::PasswordFrom,
    timestamp,
};
use crate::{
    accounts::{hash_password, login_name},
    admin::control::{self, Request},
    config::Loaded,
    envelope::{AccountProtection, AccountTls, Level},
    policy::sending::AddressPattern,
    server::DATABASE,
    smtp::{Domain, Mailbox, Priority},
    store::{
        Store,
        accounts::{NO_PASSWORD, NewAccount, StoredAccount},
        credentials::ScramCredential,
        habits::{Habit, Habits},
    },
};

/// What to do with domains.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Add a domain.
    Add {
        /// Such as example.org.
        domain: String,
    },
    /// List the domains.
    List,
    /// Make, list and retire the keys by which a domain's mail is signed (DKIM).
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Remove a domain without accounts.
    Remove {
        /// As listed.
        domain: String,
    },
}

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add an account; its name is its address unless --address says otherwise.
    Add {
        /// What its owner signs in with.
        name: String,
        /// Its own address, in a domain that was added.
        #[arg(long)]
        address: Option<String>,
        /// Its password is known to the directory, and not here.
        #[arg(long, conflicts_with_all = ["password_stdin", "generate"])]
        directory: bool,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// List the accounts.
    List,
    /// Show an account.
    Show {
        /// Its login name.
        name: String,
    },
    /// Set an account's password.
    Passwd {
        /// Its login name.
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Stop an account from signing in.
    Disable {
        /// Its login name.
        name: String,
    },
    /// Let an account sign in again.
    Enable {
        /// Its login name.
        name: String,
    },
    /// Remove an account.
    Remove {
        /// Its login name.
        name: String,
    },
    /// Have the brake judge what an account sends, or leave it alone.
    Brake {
        /// Its login name.
        name: String,
        /// on or off.
        on: String,
    },
    /// Have a device's mail speak in the account's own name: what it may not send as is replaced by its
    /// address in place of being refused.
    ForceFrom {
        /// Its login name.
        name: String,
        /// on or off.
        on: String,
    },
    /// Keep an account's mail so long that it can be taken back, by gatepost queue cancel or by a mail
    /// to cancel+ID@ this host.
    Undo {
        /// Its login name.
        name: String,
        /// Up to 120; 0: hand mail on at once.
        #[arg(value_parser = clap::value_parser!(u32).range(0..=120))]
        seconds: u32,
    },
    /// File a copy of what an account sends in its own folder of sent mail, read; not for mail programs
    /// that do that themselves. An app password can say otherwise.
    SentCopy {
        /// Its login name.
        name: String,
        /// on or off.
        on: String,
    },
    /// Set how urgent an account's mail may be (MT-PRIORITY, RFC 6710).
    Priority {
        /// Its login name.
        name: String,
        /// From -9 to 9; 0 unless set. Mail that asks for more is taken at this.
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-9..=9))]
        most: i64,
    },
    /// Set how well an account's mail must be protected on its way out.
    Tls {
        /// Its login name.
        name: String,
        /// The least level of its hand-offs: opportunistic, encrypted or verified; none: the site's.
        #[arg(long)]
        level: Option<String>,
        /// REQUIRETLS (RFC 8689): as-asked (where a message asks for it), require (for all of its
        /// mail), or may-lower (a message with "TLS-Required: No" goes without).
        #[arg(long)]
        requiretls: Option<String>,
    },
    /// Addresses that an account may send as; patterns stand for many.
    #[command(subcommand)]
    Address(AddressCommand),
    /// Certificates of clients that open an account (SASL EXTERNAL).
    #[command(subcommand)]
    Certificate(CertificateCommand),
}

/// What to do with addresses that an account may send as.
#[derive(Debug, Subcommand)]
pub enum AddressCommand {
    /// Let an account send as an address.
    Add {
        /// The account's login name.
        name: String,
        /// An address, user+*@domain, *@domain, or *@*.domain for every domain below it.
        address: String,
        /// Until this time (2027-01-31T12:00:00Z), or the end of this day (2027-01-31, in UTC).
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Take an address away.
    Remove {
        /// The account's login name.
        name: String,
        /// An address, user+*@domain, *@domain, or *@*.domain for every domain below it.
        address: String,
    },
}

pub(super) async fn open(loaded: &Loaded) -> Result<Store> {
    let path = loaded.config.data_dir.join(DATABASE);
    let opened = Store::open(&path).await;
    opened.with_context(|| cannot_open(&path))
}

pub(super) async fn changed(store: Store, loaded: &Loaded) -> Result<()> {
    store.close().await;
    // Acknowledged before we end: the change acts at once.
    control::ask(&loaded.config.data_dir, Request::AccountsChanged)
        .context("changed in the database, but the server was not told")?;
    Ok(())
}

pub(super) fn domain(text: &str) -> Result<Domain> {
    Domain::parse(text).with_context(|| format!("{text} is no domain"))
}

fn pattern(text: &str) -> Result<AddressPattern> {
    let mailbox = |text: &str| {
        let parsed = Mailbox::parse(text);
        parsed.with_context(|| format!("{text} is no address"))
    };
    if let Some(below) = text.strip_prefix("*@*.") {
        return Ok(AddressPattern::Subdomains(domain(below)?));
    }
    if let Some(whole) = text.strip_prefix("*@").or_else(|| text.strip_prefix('@')) {
        return Ok(AddressPattern::Domain(domain(whole)?));
    }
    match text.rsplit_once("+*@") {
        Some((user, at)) => Ok(AddressPattern::Tagged(mailbox(&format!("{user}@{at}"))?)),
        None => Ok(AddressPattern::Exact(mailbox(text)?)),
    }
}

pub(super) fn login(text: &str) -> Result<String> {
    login_name(text).with_context(|| format!("{text:?} cannot be a login name"))
}

impl DomainCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded) -> Result<Answer> {
        let store = open(loaded).await?;
        let answer = match self {
            DomainCommand::Add { domain: name } => {
                store.add_domain(&domain(&name)?, SystemTime::now()).await?;
                Answer::done(
                    format!("Added domain {name}."),
                    json!({ "done": "domain added", "domain": name }),
                )
            }
            DomainCommand::Remove { domain: name } => {
                store.remove_domain(&domain(&name)?).await?;
                Answer::done(
                    format!("Removed domain {name}."),
                    json!({ "done": "domain removed", "domain": name }),
                )
            }
            DomainCommand::Dkim(command) => match command.run(&store).await? {
                (answer, false) => return Ok(answer),
                (answer, true) => answer,
            },
            DomainCommand::List => {
                let domains = store.domains().await?;
                return Ok(Answer {
                    text: domains.iter().map(|name| format!("{name}\n")).collect(),
                    objects: domains
                        .iter()
                        .map(|name| json!({ "domain": name }))
                        .collect(),
                });
            }
        };
        changed(store, loaded).await?;
        Ok(answer)
    }
}

impl UserCommand {
    /// Does it.
    pub async fn run(self, loaded: &Loaded) -> Result<Answer> {
        let store = open(loaded).await?;
        let now = SystemTime::now();
        let answer = match self {
            UserCommand::Certificate(command) => return command.run(store, loaded).await,
            UserCommand::List => return Ok(list(&store.accounts().await?)),
            UserCommand::Show { name } => {
                return match store.account_by_name(&login(&name)?).await? {
                    Some(account) => Ok(show(&account, &Beside::of(&store, &account).await?)),
                    None => bail!("account {name} does not exist"),
                };
            }
            UserCommand::Add {
                name,
                address,
                directory,
                password,
            } => {
                let address = address.unwrap_or_else(|| name.clone());
                let address =
                    Mailbox::parse(&address).with_context(|| format!("{address} is no address"))?;
                let name = login(&name)?;
                let added = || done(format!("Added account {name}."), "account added", &name);
                if directory {
                    let account = NewAccount {
                        name: &name,
                        password_hash: &NO_PASSWORD.into(),
                        scram: None,
                        address: &address,
                    };
                    store.add_account(account, now).await?;
                    added()
                } else {
                    let password = password.take()?;
                    let made = hash_password(&password.secret, &loaded.options.accounts, None)?;
                    let account = NewAccount {
                        name: &name,
                        password_hash: &made.hash,
                        scram: made.scram.as_ref(),
                        address: &address,
                    };
                    store.add_account(account, now).await?;
                    password.shown_in(added())
                }
            }
            UserCommand::Passwd { name, password } => {
                let name = login(&name)?;
                let password = password.take()?;
                let shared = shared(&store, &name).await?;
                let made =
                    hash_password(&password.secret, &loaded.options.accounts, shared.as_ref())?;
                let scram = made.scram.as_ref();
                store.set_password(&name, &made.hash, scram, now).await?;
                let answer = done(
                    format!("Set the password of {name}."),
                    "password set",
                    &name,
                );
                password.shown_in(answer)
            }
            UserCommand::Disable { name } => {
                let name = login(&name)?;
                store.set_enabled(&name, false).await?;
                done(
                    format!("Disabled account {name}."),
                    "account disabled",
                    &name,
                )
            }
            UserCommand::Enable { name } => {
                let name = login(&name)?;
                store.set_enabled(&name, true).await?;
                done(format!("Enabled account {name}."), "account enabled", &name)
            }
            UserCommand::Remove { name } => {
                let name = login(&name)?;
                store.remove_account(&name).await?;
                done(format!("Removed account {name}."), "account removed", &name)
            }
            UserCommand::Brake { name, on } => {
                let name = login(&name)?;
                let is_on = switch(&on)?;
                store.enable_brake(&name, is_on).await?;
                done(format!("Brake of {name} is {on}."), "brake set", &name)
            }
            UserCommand::ForceFrom { name, on } => {
                let name = login(&name)?;
                let is_on = switch(&on)?;
                store.set_habit(&name, Habit::ForcesFrom(is_on)).await?;
                let text = match is_on {
                    true => format!("Mail of {name} speaks in its own name always."),
                    false => format!("Mail of {name} speaks in the names that it may use."),
                };
                done(text, "force from set", &name)
            }
            UserCommand::Undo { name, seconds } => {
                let name = login(&name)?;
                store.set_habit(&name, Habit::Undo(seconds)).await?;
                Answer::done(
                    match seconds {
                        0 => format!("Mail of {name} is handed on at once."),
                        _ => format!("Mail of {name} can be taken back for {seconds} seconds."),
                    },
                    json!({ "done": "undo window set", "name": name, "seconds": seconds }),
                )
            }
            UserCommand::SentCopy { name, on } => {
                let name = login(&name)?;
                let is_on = switch(&on)?;
                store.set_habit(&name, Habit::FilesCopies(is_on)).await?;
                let text = match is_on {
                    true => format!("Copies of what {name} sends are filed."),
                    false => format!("No copies of what {name} sends are filed."),
                };
                done(text, "sent copy set", &name)
            }
            UserCommand::Priority { name, most } => {
                let name = login(&name)?;
                let priority = Priority::new(most).context("not from -9 to 9")?;
                store.set_habit(&name, Habit::Priority(priority)).await?;
                Answer::done(
                    format!("Mail of {name} has priority {most} at most."),
                    json!({ "done": "priority set", "name": name, "priority": most }),
                )
            }
            UserCommand::Tls {
                name,
                level,
                requiretls,
            } => {
                let name = login(&name)?;
                let Some(account) = store.account_by_name(&name).await? else {
                    bail!("account {name} does not exist");
                };
                let asked =
                    protection(account.protection, level.as_deref(), requiretls.as_deref())?;
                store.set_protection(&name, asked).await?;
                Answer::done(
                    format!(
                        "Mail of {name}: level {}, REQUIRETLS {}.",
                        level_word(asked.level),
                        asked.tls.as_str()
                    ),
                    json!({
                        "done": "protection set",
                        "name": name,
                        "level": asked.level.map(Level::as_str),
                        "requiretls": asked.tls.as_str(),
                    }),
                )
            }
            UserCommand::Address(AddressCommand::Add {
                name,
                address,
                until,
            }) => {
                let (name, pattern) = (login(&name)?, pattern(&address)?);
                match until {
                    None => store.add_address(&name, &pattern).await?,
                    Some(text) => {
                        let until = end(&text, SystemTime::now())?;
                        store.grant_address(&name, &pattern, until).await?;
                    }
                }
                Answer::done(
                    format!("Let {name} send as {address}."),
                    json!({ "done": "address added", "name": name, "address": address }),
                )
            }
            UserCommand::Address(AddressCommand::Remove { name, address }) => {
                let name = login(&name)?;
                store.remove_address(&name, &pattern(&address)?).await?;
                Answer::done(
                    format!("Took {address} from {name}."),
                    json!({ "done": "address removed", "name": name, "address": address }),
                )
            }
        };
        changed(store, loaded).await?;
        Ok(answer)
    }
}

/// What the app passwords of an account have in common, where it has some.
async fn shared(store: &Store, name: &str) -> Result<Option<ScramCredential>> {
    let Some(account) = store.account_by_name(name).await? else {
        bail!("account {name} does not exist");
    };
    match store.app_passwords(account.id).await?.is_empty() {
        true => Ok(None),
        false => Ok(account.scram),
    }
}

/// What is asked of an account's mail, where not all of it is said anew.
fn protection(
    before: AccountProtection,
    level: Option<&str>,
    tls: Option<&str>,
) -> Result<AccountProtection> {
    if (level, tls) == (None, None) {
        bail!("nothing to set: give --level, --requiretls or both");
    }
    let level = match level {
        None => before.level,
        Some("none") => None,
        Some(word) => match Level::parse(word) {
            Some(level) => Some(level),
            None => bail!("--level is opportunistic, encrypted, verified or none, not \"{word}\""),
        },
    };
    let tls = match tls {
        None => before.tls,
        Some(word) => match AccountTls::parse(word) {
            Some(tls) => tls,
            None => bail!("--requiretls is as-asked, require or may-lower, not \"{word}\""),
        },
    };
    Ok(AccountProtection { level, tls })
}

fn level_word(level: Option<Level>) -> &'static str {
    level.map_or("of the site", Level::as_str)
}

fn switch(word: &str) -> Result<bool> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        other => bail!("say on or off, not \"{other}\""),
    }
}

fn done(text: String, what: &str, name: &str) -> Answer {
    Answer::done(text, json!({ "done": what, "name": name }))
}

fn list(accounts: &[StoredAccount]) -> Answer {
    let rows = accounts.iter().map(|account| {
        [
            account.name.clone(),
            state(account).to_owned(),
            account.address.to_string(),
            sends_as(account).join(" "),
        ]
    });
    Answer {
        text: columns(["NAME", "STATE", "ADDRESS", "SENDS AS"], rows),
        objects: accounts.iter().map(object).collect(),
    }
}

/// What is kept of an account beside its own row.
struct Beside {
    habits: Habits,
    certificates: usize,
}

impl Beside {
    async fn of(store: &Store, account: &StoredAccount) -> Result<Self> {
        Ok(Beside {
            habits: store.habits(account.id).await?,
            certificates: store.certificates(&account.name).await?.len(),
        })
    }
}

fn show(account: &StoredAccount, beside: &Beside) -> Answer {
    let habits = &beside.habits;
    let undo_seconds = habits.undo.as_secs();
    let mut lines = vec![
        ("name", account.name.clone()),
        ("state", state(account).to_owned()),
        ("address", account.address.to_string()),
    ];
    let sends_as = sends_as(account);
    lines.extend(sends_as.into_iter().map(|address| ("sends as", address)));
    if account.protection != AccountProtection::default() {
        lines.push(("level", level_word(account.protection.level).to_owned()));
        lines.push(("REQUIRETLS", account.protection.tls.as_str().to_owned()));
    }
    if let Some(iterations) = provable(account) {
        lines.push(("SCRAM", format!("{iterations} iterations")));
    }
    if is_elsewhere(account) {
        lines.push(("password", "known to the directory".to_owned()));
    }
    if account.app_passwords_only {
        lines.push(("signs in", "with app passwords only".to_owned()));
    }
    if beside.certificates > 0 {
        lines.push(("certificates", beside.certificates.to_string()));
    }
    if habits.files_copies {
        lines.push(("copies", "of what it sends are filed".to_owned()));
    }
    if habits.forces_from {
        lines.push(("speaks", "in its own name always".to_owned()));
    }
    if habits.priority != Priority::default() {
        lines.push(("priority", format!("{} at most", habits.priority)));
    }
    if undo_seconds > 0 {
        lines.push(("taken back", format!("within {undo_seconds} seconds")));
    }
    lines.push(("added", timestamp(account.created_at)));
    if !is_elsewhere(account) {
        lines.push(("password set", timestamp(account.password_changed_at)));
    }
    let mut shown = object(account);
    shown["certificates"] = json!(beside.certificates);
    shown["sent_copy"] = json!(habits.files_copies);
    shown["forces_from"] = json!(habits.forces_from);
    shown["undo_seconds"] = json!(undo_seconds);
    shown["priority"] = json!(habits.priority.number());
    Answer {
        text: lines
            .iter()
            .map(|(name, value)| format!("{name:14}{value}\n"))
            .collect(),
        objects: vec![shown],
    }
}

/// Whether its password is not known here.
fn is_elsewhere(account: &StoredAccount) -> bool {
    account.password_hash.expose_secret() == NO_PASSWORD
}

/// The iteration count where the account's password can be proved by SCRAM.
fn provable(account: &StoredAccount) -> Option<u32> {
    let scram = account.scram.as_ref()?;
    scram.keys.as_ref().map(|_| scram.iterations)
}

fn state(account: &StoredAccount) -> &'static str {
    match account.enabled {
        true => "enabled",
        false => "disabled",
    }
}

fn sends_as(account: &StoredAccount) -> Vec<String> {
    let now = SystemTime::now();
    let for_ever = account.patterns.iter().map(AddressPattern::to_string);
    let granted = account.grants.iter().map(|(pattern, until)| {
        let word = if *until > now { "until" } else { "ended" };
        format!("{pattern} ({word} {})", timestamp(*until))
    });
    for_ever.chain(granted).collect()
}

fn object(account: &StoredAccount) -> Value {
    json!({
        "name": account.name,
        "enabled": account.enabled,
        "address": account.address.to_string(),
        "sends_as": sends_as(account),
        "level": account.protection.level.map(Level::as_str),
        "requiretls": account.protection.tls.as_str(),
        "directory": is_elsewhere(account),
        "app_passwords_only": account.app_passwords_only,
        "scram_iterations": provable(account),
        "created_at": timestamp(account.created_at),
        "password_changed_at": timestamp(account.password_changed_at),
    })
}
