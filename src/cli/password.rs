//! Where a new password comes from: a person, a pipe, or chance.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, ensure};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::answer::Answer;
use crate::accounts::generate_password;

/// Asked for twice on the terminal, unless one of these is given.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct PasswordFrom {
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
    /// Make a password and print it, once.
    #[arg(long)]
    generate: bool,
}

/// A password to be set.
pub struct Password {
    /// Itself.
    pub secret: SecretString,
    /// Nobody knows it yet: it is to be shown when it is set.
    pub generated: bool,
}

impl Password {
    /// The answer, with the password in it where nobody knows it yet.
    pub fn shown_in(&self, mut answer: Answer) -> Answer {
        if self.generated {
            let secret = self.secret.expose_secret();
            answer.text.push_str(&format!("Password: {secret}\n"));
            for object in &mut answer.objects {
                object["password"] = secret.into();
            }
        }
        answer
    }
}

impl PasswordFrom {
    /// Takes the password from where it was said to be.
    ///
    /// # Errors
    /// No terminal to ask on, or two passwords that differ.
    pub fn take(&self) -> Result<Password> {
        let secret = match (self.generate, self.password_stdin) {
            (true, _) => random()?,
            (false, true) => line()?,
            (false, false) => asked()?,
        };
        Ok(Password {
            secret,
            generated: self.generate,
        })
    }
}

/// A password that nobody chose.
///
/// # Errors
/// The system has no random octets.
pub fn random() -> Result<SecretString> {
    let mut random = [0; 15];
    getrandom::fill(&mut random).context("failed to get random octets")?;
    Ok(generate_password(random))
}

fn asked() -> Result<SecretString> {
    let first = without_echo("Password: ")?;
    let second = without_echo("Again: ")?;
    ensure!(
        first.expose_secret() == second.expose_secret(),
        "the two passwords differ"
    );
    Ok(first)
}

fn line() -> Result<SecretString> {
    let mut text = String::new();
    std::io::stdin().lock().read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

fn without_echo(prompt: &str) -> Result<SecretString> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let before = tcgetattr(std::io::stdin())
        .context("no terminal to ask on; use --password-stdin or --generate")?;
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
    let password = line();
    tcsetattr(std::io::stdin(), OptionalActions::Now, &before)?;
    eprintln!();
    password
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_password_that_was_made_is_shown() {
        for generated in [true, false] {
            let password = Password {
                secret: SecretString::from("s3cret"),
                generated,
            };
            let answer = password.shown_in(Answer::done("Done.".into(), json!({ "name": "a" })));
            assert_eq!(answer.text.contains("s3cret"), generated);
            let object = serde_json::to_string(&answer.objects[0]).unwrap();
            assert_eq!(object.contains("\"password\":\"s3cret\""), generated);
        }
    }
}
