//! Commands: what a person types, and one plain answer to it.
//!
//! 0 is done, 1 failed, 2 misused. Everything that a program may read can be had with `--json`.

mod accounts;
mod answer;
mod app_passwords;
mod arrival;
mod certificates;
mod check;
mod demo;
pub mod dialogue;
mod dkim;
mod dns;
mod doctor;
mod events;
mod forecast;
mod held;
mod limits;
mod password;
mod queue;
mod route;
mod serve;
mod throttle;
mod tlsrpt;
mod trace;

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    admin::control,
    config::{self, Loaded},
    server,
};
use answer::Answer;

/// A mail submission server: mail travels securely or not at all, and its sender is told.
#[derive(Debug, Parser)]
#[command(
    name = "gatepost",
    version,
    after_help = "Exits with 0 when done, 1 when it failed, 2 when misused."
)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Answer in JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP reloads.
    Serve,
    /// Make the running server read its configuration and certificates anew.
    Reload,
    /// Show it working on this machine, without configuration or privileges.
    Demo(demo::Demo),
    /// Look for mistakes in the configuration and around it.
    Check(check::Check),
    /// Help with writing the configuration file.
    #[command(subcommand, name = "config")]
    Configuration(Configuration),
    /// Add, list and remove the domains that accounts may have addresses in.
    #[command(subcommand)]
    Domain(accounts::DomainCommand),
    /// Add, show and change accounts; a running server obeys at once.
    #[command(subcommand)]
    User(accounts::UserCommand),
    /// Make, list and revoke passwords for single devices and programs.
    #[command(subcommand)]
    AppPassword(app_passwords::AppPasswordCommand),
    /// Set how much may be sent, and where to: by site, domain, account or app password.
    #[command(subcommand)]
    Limit(limits::LimitCommand),
    /// Look at held mail, send it, or drop it; lets the brake of its account go.
    #[command(subcommand)]
    Held(held::HeldCommand),
    /// See which sign-ins are put off for wrong passwords, or let all in again.
    #[command(subcommand)]
    Throttle(throttle::ThrottleCommand),
    /// Look at mail in custody, hold it, try it again, cancel it.
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// See which way mail goes.
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Tell what a message to an address would get, and why, as far as the DNS shows.
    Forecast(forecast::Forecasted),
    /// Print the records that a domain needs, as a zone file, or see whether they are published.
    Dns(dns::Records),
    /// Look at the resolver, the way out, certificates, names and other records, the clock, the disk.
    Doctor(doctor::Doctor),
    /// Tell where a message is, how it travelled and what was said of it.
    Trace(trace::Traced),
    /// List what accounts should know of and no report could tell.
    Events(events::Events),
    /// See how sessions with mail hosts ended, by domain and day, and what was reported of it.
    #[command(subcommand)]
    Tlsrpt(tlsrpt::TlsrptCommand),
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Configuration {
    /// Print an annotated file with every key.
    Example,
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
    let done = runtime.block_on(dispatch(cli));
    // What the log still holds tells why; the error below comes behind it.
    server::logging::flush();
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gatepost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let answer = match cli.command {
        Command::Serve => {
            serve::serve(cli.config).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Demo(demo) => {
            demo.run().await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Check(settings) => return check::check(&cli.config, &settings, cli.json).await,
        Command::Configuration(Configuration::Example) => {
            answer::print(&config::example())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Reload => reload(&as_service(&cli.config)?)?,
        Command::Domain(command) => command.run(&as_service(&cli.config)?).await?,
        Command::AppPassword(command) => command.run(&as_service(&cli.config)?).await?,
        Command::Throttle(command) => command.run(&as_service(&cli.config)?)?,
        Command::Limit(command) => command.run(&as_service(&cli.config)?).await?,
        Command::User(command) => command.run(&as_service(&cli.config)?).await?,
        Command::Held(command) => return command.run(&as_service(&cli.config)?, cli.json).await,
        Command::Queue(command) => return command.run(&cli.config, cli.json).await,
        Command::Trace(traced) => {
            let database = queue::database(&as_service(&cli.config)?);
            traced.run(&database).await?
        }
        Command::Events(events) => {
            let database = queue::database(&as_service(&cli.config)?);
            events.run(&database).await?
        }
        Command::Forecast(asked) => return asked.run(&as_service(&cli.config)?, cli.json).await,
        Command::Dns(records) => return records.run(&as_service(&cli.config)?, cli.json).await,
        Command::Doctor(doctor) => return doctor.run(&as_service(&cli.config)?, cli.json).await,
        Command::Tlsrpt(command) => command.run(&as_service(&cli.config)?).await?,
        Command::Route(command) => return command.run(&cli.config, cli.json).await,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            Answer::done(
                format!("gatepost {version}"),
                serde_json::json!({ "version": version }),
            )
        }
    };
    answer.print(cli.json)?;
    Ok(ExitCode::SUCCESS)
}

/// What failed, and what to do where it is only that we are somebody else.
fn cannot_open(database: &std::path::Path) -> String {
    let tried = std::fs::File::open(database);
    let hint = match tried.map_err(|error| error.kind()) {
        Err(std::io::ErrorKind::PermissionDenied) => "; run this as root or as the service's user",
        Ok(_) | Err(_) => "",
    };
    format!("failed to open the database {}{hint}", database.display())
}

/// As SIGHUP, but whoever asks is told what came of it.
fn reload(loaded: &Loaded) -> Result<Answer> {
    let data_dir = &loaded.config.data_dir;
    match control::ask(data_dir, control::Request::Reload)? {
        Some(control::Answer::Reloaded(waiting)) => {
            let mut text = "Reloaded the configuration.".to_owned();
            if !waiting.is_empty() {
                text.push_str(&format!(" A restart is needed for {}.", waiting.join(", ")));
            }
            let object = serde_json::json!({ "done": "reloaded", "needs_restart": waiting });
            Ok(Answer::done(text, object))
        }
        Some(answer) => anyhow::bail!("the running server answered {answer:?}"),
        None => anyhow::bail!("no server runs on {}", data_dir.display()),
    }
}

/// A moment as RFC 3339 writes it, in UTC and whole seconds.
fn timestamp(at: SystemTime) -> String {
    let whole = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::Timestamp::from_second(whole.as_second())
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

/// Reads the configuration and becomes the service's user, so that no file is left to root.
///
/// None of the commands that do so signs in anywhere.
fn as_service(path: &std::path::Path) -> Result<Loaded> {
    let loaded = Loaded::read_without_passwords(path)?;
    become_service(&loaded)?;
    Ok(loaded)
}

fn become_service(loaded: &Loaded) -> Result<()> {
    if !loaded.config.user.is_empty() && nix::unistd::Uid::effective().is_root() {
        server::become_user(&loaded.config.user, &loaded.config.data_dir)?;
    }
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
            ("domain dkim add example.org", true),
            (
                "domain dkim add example.org --algorithm rsa --selector a",
                true,
            ),
            ("domain dkim add example.org --key f", false),
            ("domain dkim add example.org --key f --selector a", true),
            ("domain dkim list", true),
            ("domain dkim retire example.org", false),
            ("dns example.org --check --json", true),
            ("dns", false),
            ("tlsrpt show", true),
            ("tlsrpt show example.org --day 2026-11-26 --json", true),
            ("tlsrpt show --day yesterday", false),
            ("tlsrpt send example.org", true),
            ("tlsrpt send", false),
            ("user add a@example.org --generate", true),
            ("user add a@example.org --generate --password-stdin", false),
            ("user address add a@example.org *@example.org", true),
            ("queue list --json", true),
            ("queue list --limit 0", false),
            ("route list --json", true),
            (
                "route test bob@example.net --from a@b.example --account ann",
                true,
            ),
            ("route test bob@example.net --connect --json", true),
            ("route test", false),
            (
                "queue list --sender <> --domain b.example --older 2h --younger 3d \
                 --state held,aside --account ann",
                true,
            ),
            (
                "queue list --recipient a@b.example --domain b.example",
                false,
            ),
            ("queue list --sender a@b@c", false),
            ("queue list --older soon", false),
            ("queue list --state lost", false),
            ("queue show 01M85874YTH983937ZWANJ6FKA", true),
            ("queue show", false),
            ("queue retry", true),
            ("queue retry A B --state deferred", true),
            ("queue flush", true),
            ("queue flush A", false),
            ("queue hold --account ann", true),
            ("queue release A", true),
            ("queue cancel", false),
            ("queue cancel --all", true),
            ("queue cancel --all A", false),
            ("queue cancel --all --state held", false),
            ("queue cancel A", true),
            ("queue cancel --older 5d --json", true),
            ("queue export A --output f", true),
            ("trace <1@example.org>", true),
            ("trace", false),
            ("events --account ann --limit 5", true),
            ("events --limit 0", false),
            ("reload --json", true),
            ("frobnicate", false),
        ] {
            let words = line.split_ascii_whitespace();
            let parsed = Cli::try_parse_from(["gatepost"].into_iter().chain(words));
            assert_eq!(parsed.is_ok(), good, "{line}");
        }
    }
}
