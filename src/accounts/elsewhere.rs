//! Passwords that a directory knows and we do not.
//!
//! It is asked for accounts that have no password here and for names that nobody has here; a first
//! good sign-in of such a one may make the account. All the rest is as with passwords of our own:
//! what it said is remembered for a while, many who try the same at once are one question, and the
//! throttle counts what is wrong.

use secrecy::SecretString;
use tracing::{error, info, warn};

use super::{
    Accounts, lock,
    sign_in::{Asked, Shown, Stop},
};
use crate::{
    directory::{Directory, Found, Question, Turn},
    policy::throttle::Standing,
    sasl::Credentials,
    session::SignInVerdict,
    smtp::Mailbox,
    store::accounts::{AccountError, NO_PASSWORD, NewAccount},
};

/// What checks passwords that are not ours, and what follows.
pub(super) struct Elsewhere {
    pub(super) directory: Directory,
    pub(super) options: crate::directory::Options,
}

/// Whose turn somebody of that standing takes.
pub(super) fn turn_of(standing: Standing) -> Turn {
    match standing {
        Standing::Known | Standing::Exempt => Turn::Known,
        Standing::Stranger => Turn::Stranger,
    }
}

impl Accounts {
    /// A password that only the directory can judge.
    pub(super) async fn elsewhere(
        &self,
        elsewhere: &Elsewhere,
        asked: &Asked<'_>,
        credentials: &Credentials,
    ) -> SignInVerdict {
        let password = &credentials.password;
        let no_hash = SecretString::from(NO_PASSWORD);
        let tag = self.outcomes.tag(asked.attempt.name, &no_hash, password);
        let remember = elsewhere.options.remember;
        let shown = Shown {
            authzid: credentials.authzid.as_deref(),
            password: None,
            app_password: None,
        };
        if let Some(known) = asked.known.as_ref().filter(|known| known.opens())
            && self.outcomes.was_right(&tag, self.now(), remember)
        {
            return self.right(known, asked.place, asked.settings, shown);
        }
        if self
            .outcomes
            .was_wrong(&tag, asked.place, self.now(), remember)
        {
            return SignInVerdict::Refused;
        }
        let flight = self.outcomes.flight(tag);
        let answered = flight
            .outcome(|| self.ask(elsewhere, asked, password))
            .await;
        match answered {
            Ok(true) => {}
            Ok(false) => {
                self.outcomes.keep_wrong(tag, asked.place, self.now());
                lock(&self.throttle).failed(self.now(), &asked.attempt, tag.guess());
                return SignInVerdict::Refused;
            }
            Err(Stop::Throttled) => return SignInVerdict::Throttled,
            Err(Stop::LineFull | Stop::Failed) => return SignInVerdict::Unavailable,
        }
        let verdict = self.welcome(asked, shown).await;
        if matches!(verdict, SignInVerdict::Granted(_)) {
            self.outcomes.keep_right(tag, self.now());
        }
        verdict
    }

    /// Signs in somebody whom the directory found, with the account that they have or get.
    pub(super) async fn admitted(
        &self,
        elsewhere: &Elsewhere,
        asked: &Asked<'_>,
        found: &Found,
        shown: Shown<'_>,
    ) -> SignInVerdict {
        match self.has_or_gets(elsewhere, asked, found).await {
            Ok(true) => self.welcome(asked, shown).await,
            Ok(false) => self.unproved(asked),
            Err(_) => SignInVerdict::Unavailable,
        }
    }

    /// The account may have been made just now, or be closed here whatever the directory says.
    async fn welcome(&self, asked: &Asked<'_>, shown: Shown<'_>) -> SignInVerdict {
        match self.known(asked.name).await {
            Ok(Some(known)) if known.opens() && known.is_elsewhere() => {
                self.right(&known, asked.place, asked.settings, shown)
            }
            Ok(_) => SignInVerdict::Refused,
            Err(error) => {
                error!(%error, "cannot look accounts up");
                SignInVerdict::Unavailable
            }
        }
    }

    /// Whether the directory knows them, and whether they have an account here then.
    async fn ask(
        &self,
        elsewhere: &Elsewhere,
        asked: &Asked<'_>,
        password: &SecretString,
    ) -> Result<bool, Stop> {
        // A name that no account can have is nobody's there either.
        let Some(name) = asked.name else {
            return Ok(false);
        };
        // Others may have failed since this one was let in.
        if !self.allows(&asked.attempt) {
            return Err(Stop::Throttled);
        }
        let question = Question {
            name: name.to_owned(),
            password: password.clone(),
            peer: asked.attempt.address,
            turn: turn_of(asked.attempt.standing),
        };
        let answer = elsewhere.directory.check(question).await;
        let result = match &answer {
            Ok(Some(_)) => "right",
            Ok(None) => "wrong",
            Err(_) => "none",
        };
        metrics::counter!("gatepost_directory_answers_total", "answer" => result).increment(1);
        let found = match answer {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(trouble) => {
                warn!(%trouble, "the directory gives no word");
                return Err(Stop::Failed);
            }
        };
        self.has_or_gets(elsewhere, asked, &found).await
    }

    /// Whether somebody whom the directory found has an account here, or gets one.
    async fn has_or_gets(
        &self,
        elsewhere: &Elsewhere,
        asked: &Asked<'_>,
        found: &Found,
    ) -> Result<bool, Stop> {
        let Some(name) = asked.name else {
            return Ok(false);
        };
        if asked.known.is_some() {
            return Ok(true);
        }
        if !elsewhere.options.creates {
            info!(
                account = name,
                "the directory knows a user who has no account here"
            );
            return Ok(false);
        }
        self.create(elsewhere, name, found).await
    }

    /// Makes the account of somebody whom the directory knows.
    async fn create(&self, elsewhere: &Elsewhere, name: &str, found: &Found) -> Result<bool, Stop> {
        let domain = &elsewhere.options.domain;
        let own = || Mailbox::parse(name).ok();
        let completed = || Mailbox::parse(&format!("{name}@{domain}")).ok();
        let Some(address) = found.address.clone().or_else(own).or_else(completed) else {
            warn!(account = name, "the directory knows no address for a user");
            return Err(Stop::Failed);
        };
        // Else one user could have an account for every spelling that the directory forgives, each with
        // limits of its own; get round one that was closed; or call himself like one of ours.
        match self.store.is_address_taken(&address.folded_key()).await {
            Ok(false) => {}
            Ok(true) => {
                warn!(account = name, %address, "another account has the address of a directory's user");
                return Ok(false);
            }
            Err(error) => {
                error!(%error, "cannot look accounts up");
                return Err(Stop::Failed);
            }
        }
        let account = NewAccount {
            name,
            password_hash: &SecretString::from(NO_PASSWORD),
            scram: None,
            address: &address,
        };
        match self
            .store
            .add_account(account, std::time::SystemTime::now())
            .await
        {
            Ok(_) => info!(account = name, %address, "account made for a user of the directory"),
            // By somebody else in between.
            Err(AccountError::AlreadyExists(_)) => {}
            Err(error) => {
                warn!(account = name, %address, %error, "no account for a user of the directory");
                return Err(Stop::Failed);
            }
        }
        lock(&self.memory).forget();
        Ok(true)
    }
}
