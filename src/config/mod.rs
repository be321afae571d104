//! The one configuration file: read, explained where it is wrong, turned into each room's options.
//!
//! Every key is described once, at its field in `schema`; the annotated example is made from
//! there. Nothing below the desk knows this room. The format is TOML 1.0.

mod bounds;
mod cautions;
mod differences;
mod directory;
mod document;
mod example;
mod fields;
mod files;
mod oauth;
mod options;
mod passwords;
mod routes;
mod schema;
mod units;

use std::{fmt, path::Path};

pub use differences::{differences, needs_restart};
pub use example::example;
pub use options::{Forecast, Options, PortKind};
use passwords::Passwords;
pub use schema::{
    Auth, BareNewline, Certificate, Config, Delivery, HostTable, Http, Intake, Limits, Listeners,
    Log, LogFormat, LongLines, Queue, Recipients, Route, RouteCredential, RouteHost, RouteTls,
    Spool, Throttle, ThrottleLimit, Timeouts,
};
pub use units::{Octets, Span};

/// Where the file lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/gatepost/gatepost.toml";

/// One thing wrong with the configuration, and where.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// Line, counted from 1; 0 where no line is at fault.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The key at fault with its tables, such as `limits.message_size`; empty for syntax.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
    /// Whether the server would refuse to start.
    pub level: Level,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The server starts, but something will go wrong.
    Warning,
    /// The server does not start.
    Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let level = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        match self.key.as_str() {
            "" => write!(f, ": {level}: {}", self.text),
            key => write!(f, ": {level}: {key}: {}", self.text),
        }
    }
}

/// The configuration cannot be used; one line for each reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<Finding>);

/// A file that was read and found good.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What the rooms are started with.
    pub options: Options,
    document: document::Document,
}

impl Loaded {
    /// Reads `path`, and the passwords in the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, in the order of the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (file, text) = text_of(path)?;
        Loaded::parse(&file, &text)
    }

    /// Reads `path` for somebody who signs in nowhere: every password for a next hop is empty.
    ///
    /// Those files may be hidden from whoever asks, and systemd's credentials exist for the service
    /// alone; what they hold is [`Loaded::inspect_files`]'s question.
    ///
    /// # Errors
    /// As [`Loaded::read`].
    pub fn read_without_passwords(path: &Path) -> Result<Self, ConfigError> {
        let (file, text) = text_of(path)?;
        Loaded::parse_with(&file, &text, &Passwords::Leave)
    }

    /// Reads `text`, which is called `file` in findings.
    ///
    /// # Errors
    /// As [`Loaded::read`].
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        Loaded::parse_with(file, text, &Passwords::of_this_process())
    }

    fn parse_with(file: &str, text: &str, passwords: &Passwords) -> Result<Self, ConfigError> {
        let document = document::Document::read(file, text).map_err(ConfigError)?;
        let config: Config =
            toml::from_str(text).map_err(|error| ConfigError(vec![document.typed(&error)]))?;
        let options = options::resolve(&config, passwords).map_err(|wrong| {
            let mut findings: Vec<Finding> = wrong
                .into_iter()
                .map(|(key, text)| document.finding(&key, text, Level::Error))
                .collect();
            findings.sort_by_key(|finding| (finding.line, finding.column));
            ConfigError(findings)
        })?;
        Ok(Loaded {
            config,
            options,
            document,
        })
    }

    /// Warns of what is valid and can still not be meant: every peer a proxy, all mail thrown away.
    pub fn cautions(&self) -> Vec<Finding> {
        cautions::cautions(self)
    }

    /// Looks whether this process can use the files that routes name: passwords and authorities.
    pub fn inspect_files(&self) -> Vec<Finding> {
        files::inspect(self)
    }

    /// Whether all of those files can be used.
    ///
    /// # Errors
    /// [`ConfigError`] with each file that cannot.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let mut faults = self.inspect_files();
        faults.retain(|finding| finding.level == Level::Error);
        match faults.is_empty() {
            true => Ok(()),
            false => Err(ConfigError(faults)),
        }
    }

    /// A finding about `key`, with its place in the file where it stands there.
    pub fn finding(&self, key: &str, text: impl Into<String>, level: Level) -> Finding {
        self.document.finding(key, text.into(), level)
    }
}

fn text_of(path: &Path) -> Result<(String, String), ConfigError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(ConfigError(vec![Finding {
            file,
            line: 0,
            column: 0,
            key: String::new(),
            text: format!("cannot be read: {error}"),
            level: Level::Error,
        }])),
    }
}

#[cfg(test)]
mod tests;
