//! Commands: what a person types, and one plain answer to it.
//!
//! 0 is done, 1 failed, 2 misused. Everything that a program may read can be had with `--json`.

mod accounts;
mod check;
mod demo;
pub mod dialogue;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Loaded},
    server,
    store::Store,
};

/// A mail submission server: mail travels securely or not at all, and its sender is told.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, propagate_version = true)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP reloads.
    Serve,
    /// Show it working on this machine, without configuration or privileges.
    Demo(demo::Demo),
    /// Look for mistakes in the configuration and around it.
    Check,
    /// The configuration file.
    #[command(subcommand, name = "config")]
    Configuration(Configuration),
    /// Domains that accounts may have addresses in.
    #[command(subcommand)]
    Domain(accounts::DomainCommand),
    /// Accounts.
    #[command(subcommand)]
    User(accounts::UserCommand),
    /// Mail in custody.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// The version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Configuration {
    /// Print an annotated file with every key.
    Example,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List messages that are not handed on yet.
    List(QueueList),
}

#[derive(Args, Debug)]
struct QueueList {
    /// Messages at most.
    #[arg(long, default_value_t = 1000)]
    limit: u32,
}

/// Runs the program on its own arguments.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gatepost: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gatepost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Serve => serve::serve(cli.config).await?,
        Command::Demo(demo) => demo.run().await?,
        Command::Check => return Ok(check::check(&cli.config, cli.json)),
        Command::Configuration(Configuration::Example) => print!("{}", config::example()),
        Command::Domain(command) => command.run(&as_service(&cli.config)?, cli.json).await?,
        Command::User(command) => command.run(&as_service(&cli.config)?, cli.json).await?,
        Command::Queue(QueueCommand::List(list)) => {
            queue_list(&as_service(&cli.config)?, list.limit, cli.json).await?;
        }
        Command::Version => println!("gatepost {}", env!("CARGO_PKG_VERSION")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the configuration and becomes the service's user, so that no file is left to root.
fn as_service(path: &std::path::Path) -> Result<Loaded> {
    let loaded = Loaded::read(path)?;
    if !loaded.config.user.is_empty() && nix::unistd::Uid::effective().is_root() {
        server::become_user(&loaded.config.user, &loaded.config.data_dir)?;
    }
    Ok(loaded)
}

async fn queue_list(loaded: &Loaded, limit: u32, json: bool) -> Result<()> {
    let store = Store::open_read_only(&loaded.config.data_dir.join(server::DATABASE)).await?;
    let entries = store.queue_list(0, limit).await?;
    for entry in entries {
        for to in &entry.recipients {
            let line = serde_json::json!({
                "id": entry.id.to_string(),
                "sender": entry.sender,
                "size_octets": entry.size_octets,
                "recipient": to.address,
                "state": format!("{:?}", to.state).to_lowercase(),
                "attempts": to.attempts,
                "last": to.last_text,
            });
            if json {
                println!("{line}");
            } else {
                let last = to.last_text.as_deref().unwrap_or("");
                let text = format!(
                    "{} <{}> {} {} octets, {:?}, {} attempts {last}",
                    entry.id, entry.sender, to.address, entry.size_octets, to.state, to.attempts
                );
                println!("{}", server::logging::escape(&text));
            }
        }
    }
    store.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_misuse_is_told() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        for (line, good) in [
            ("serve", true),
            ("serve --config /x", true),
            ("demo --once --port-submissions 0", true),
            ("demo --port-submission 70000", false),
            ("check --json", true),
            ("config example", true),
            ("domain add example.org", true),
            ("domain add", false),
            ("user add a@example.org --generate", true),
            ("user add a@example.org --generate --password-stdin", false),
            ("user address add a@example.org *@example.org", true),
            ("queue list --json", true),
            ("frobnicate", false),
        ] {
            let parsed = Cli::try_parse_from(["gatepost"].into_iter().chain(line.split(' ')));
            assert_eq!(parsed.is_ok(), good, "{line}");
        }
    }
}
