//! Password hashes (argon2id in PHC form), and passwords that nobody had to think of.

use std::sync::{Mutex, PoisonError};

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHasher, Version,
    password_hash::phc::PasswordHash,
};
use data_encoding::BASE64_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Options, random};
use crate::{
    sasl::{Derivation, PASSWORD_MAX, prepare},
    store::credentials::ScramCredential,
};

/// Characters of a password that a person chooses at least.
pub const PASSWORD_MIN: usize = 8;

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// SASLprep refuses it (RFC 4013).
    #[error("password has a character that passwords cannot have, such as a control character")]
    Unpreparable,
    /// Under [`PASSWORD_MIN`].
    #[error("password is {len} characters long, the least is {PASSWORD_MIN}")]
    TooShort {
        /// Its length in characters, prepared.
        len: usize,
    },
    /// Over [`PASSWORD_MAX`].
    #[error("password is {len} octets long, the limit is {PASSWORD_MAX}")]
    TooLong {
        /// Its length in octets.
        len: usize,
    },
    /// The parameters are none that argon2 knows, or memory or random octets were not to be had.
    #[error("cannot hash the password: {0}")]
    Hash(String),
}

/// What is kept of a password.
#[derive(Debug)]
pub struct HashedPassword {
    /// PHC string.
    pub hash: SecretString,
    /// What proves it, where [`Options::scram`] asks for that.
    pub scram: Option<ScramCredential>,
}

/// Prepares and hashes a password as the server will check it; blocks for as long as that takes.
///
/// `shared` is what the account's app passwords have in common, where it has some: their salt and
/// iteration count serve the password too.
///
/// # Errors
/// [`PasswordError`] where it could not be used to sign in, or is too short.
pub fn hash_password(
    password: &SecretString,
    options: &Options,
    shared: Option<&ScramCredential>,
) -> Result<HashedPassword, PasswordError> {
    let raw = password.expose_secret();
    let prepared = Zeroizing::new(prepare(raw).unwrap_or_default());
    let len = raw.len().max(prepared.len());
    if len > PASSWORD_MAX {
        return Err(PasswordError::TooLong { len });
    }
    if prepared.is_empty() && !raw.is_empty() {
        return Err(PasswordError::Unpreparable);
    }
    let len = prepared.chars().count();
    if len < PASSWORD_MIN {
        return Err(PasswordError::TooShort { len });
    }
    let scram = match options.scram {
        false => None,
        true => {
            let (salt, iterations) = match shared {
                Some(shared) => (shared.salt.clone(), shared.iterations),
                None => (random::<SALT>().into(), options.scram_iterations),
            };
            let prepared = SecretString::from(prepared.as_str());
            let derivation = Derivation::new(prepared, salt.to_vec(), iterations);
            Some(ScramCredential {
                salt,
                iterations,
                keys: Some(derivation.run().keys()),
            })
        }
    };
    Ok(HashedPassword {
        hash: hash(&prepared, &params(options)?)?,
        scram,
    })
}

/// Octets of a salt of SCRAM, of real ones and of those that stand in for one.
pub(super) const SALT: usize = 16;

/// A password of 120 random bits in four groups of six, without letters that look alike.
pub fn generate_password(random: [u8; 15]) -> SecretString {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bits = random
        .iter()
        .fold(0u128, |bits, &octet| bits << 8 | u128::from(octet));
    let mut password = Zeroizing::new(String::with_capacity(27));
    for n in 0..24 {
        if n > 0 && n % 6 == 0 {
            password.push('-');
        }
        password.push(char::from(LETTERS[(bits >> (5 * n)) as usize % 32]));
    }
    SecretString::from(password.as_str())
}

pub(super) fn params(options: &Options) -> Result<Params, PasswordError> {
    Params::new(
        options.argon2_memory_kib,
        options.argon2_iterations,
        options.argon2_parallelism,
        None,
    )
    .map_err(|error| PasswordError::Hash(error.to_string()))
}

/// Hashes a prepared password with a fresh salt.
pub(super) fn hash(prepared: &str, params: &Params) -> Result<SecretString, PasswordError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let hash: PasswordHash = argon2
        .hash_password(prepared.as_bytes())
        .map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(hash.to_string().into())
}

/// A hash that costs as much to check as a real one of these parameters and that no password has.
pub(super) fn dummy(params: &Params, random: &[u8; 48]) -> SecretString {
    let (salt, output) = random.split_at(16);
    format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        BASE64_NOPAD.encode(salt),
        BASE64_NOPAD.encode(output),
    )
    .into()
}

/// A stored hash that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("stored password hash cannot be read: {0}")]
pub(super) struct Broken(String);

/// The memory that hashes work in, kept from one to the next.
///
/// Handed back to the allocator after each hash, it would stay behind in the arena of every thread
/// that ever computed one: several times as much as is ever in use at once.
#[derive(Default)]
pub(super) struct Workbench(Mutex<Vec<Vec<Block>>>);

impl Workbench {
    /// Whether `hash` is one of this prepared password; computed with the parameters in `hash`.
    pub(super) fn verify(
        &self,
        hash: &SecretString,
        prepared: &SecretString,
    ) -> Result<bool, Broken> {
        let broken = |error: &dyn std::fmt::Display| Broken(error.to_string());
        let parsed = PasswordHash::new(hash.expose_secret()).map_err(|e| broken(&e))?;
        let (Some(salt), Some(expected)) = (&parsed.salt, &parsed.hash) else {
            return Err(Broken("it has no salt or no output".into()));
        };
        let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(|e| broken(&e))?;
        let version = parsed
            .version
            .map_or(Ok(Version::default()), Version::try_from);
        let version = version.map_err(|e| broken(&e))?;
        let params = Params::try_from(&parsed).map_err(|e| broken(&e))?;
        let blocks = params.block_count();
        let argon2 = Argon2::new(algorithm, version, params);
        let mut memory = self.take(blocks);
        let mut output = Zeroizing::new(vec![0; expected.as_ref().len()]);
        let password = prepared.expose_secret().as_bytes();
        let made = argon2.hash_password_into_with_memory(
            password,
            salt.as_ref(),
            &mut output,
            &mut memory,
        );
        self.give_back(memory);
        made.map_err(|e| broken(&e))?;
        Ok(output.ct_eq(expected.as_ref()).into())
    }

    /// Takes the memory of `hashes` at once before the first is asked for: what a flood of sign-ins
    /// will need is there from the start, and no sign-in waits for it.
    pub(super) fn prepare(&self, hashes: usize, params: &Params) {
        let ready: Vec<_> = (0..hashes)
            .map(|_| self.take(params.block_count()))
            .collect();
        ready.into_iter().for_each(|memory| self.give_back(memory));
    }

    fn take(&self, blocks: usize) -> Vec<Block> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = kept.pop().unwrap_or_default();
        drop(kept);
        memory.resize(blocks, Block::default());
        memory
    }

    fn give_back(&self, memory: Vec<Block>) {
        // Bounded by the number of workers: nobody else takes any.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(memory);
    }
}

/// Whether `hash` was made in another way than hashes are made today.
pub(super) fn is_outdated(hash: &SecretString, params: &Params) -> bool {
    let Ok(parsed) = PasswordHash::new(hash.expose_secret()) else {
        return false;
    };
    let same = Params::try_from(&parsed).is_ok_and(|old| {
        (old.m_cost(), old.t_cost(), old.p_cost())
            == (params.m_cost(), params.t_cost(), params.p_cost())
    });
    !same || parsed.algorithm != ARGON2ID_IDENT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            argon2_memory_kib: 8,
            argon2_iterations: 1,
            argon2_parallelism: 1,
            ..Options::default()
        }
    }

    /// R4616-2c.
    #[test]
    fn a_password_is_prepared_before_it_is_hashed() {
        let made = hash_password(&"p\u{ad}assword\u{a0}\u{2168}".into(), &options(), None).unwrap();
        assert!(made.scram.is_none());
        let hash = made.hash;
        assert!(
            hash.expose_secret()
                .starts_with("$argon2id$v=19$m=8,t=1,p=1$")
        );
        assert!(
            Workbench::default()
                .verify(&hash, &"password IX".into())
                .unwrap()
        );
        assert!(
            !Workbench::default()
                .verify(&hash, &"password ix".into())
                .unwrap()
        );
    }

    #[test]
    fn passwords_that_cannot_serve_are_refused() {
        let refusal =
            |password: &str| hash_password(&password.into(), &options(), None).unwrap_err();
        assert!(matches!(
            refusal("bell\u{7}bell"),
            PasswordError::Unpreparable
        ));
        assert!(matches!(
            refusal("1234567"),
            PasswordError::TooShort { len: 7 }
        ));
        assert!(matches!(refusal(""), PasswordError::TooShort { len: 0 }));
        assert!(matches!(
            refusal(&"p".repeat(1025)),
            PasswordError::TooLong { len: 1025 }
        ));
        assert!(hash_password(&"ääääääää".into(), &options(), None).is_ok());
        assert!(hash_password(&"p".repeat(1024).into(), &options(), None).is_ok());
    }

    #[test]
    fn generated_passwords_use_all_their_bits_and_are_typeable() {
        let generate = |random| generate_password(random).expose_secret().to_owned();
        assert_eq!(generate([0; 15]), "aaaaaa-aaaaaa-aaaaaa-aaaaaa");
        assert_eq!(generate([255; 15]), "999999-999999-999999-999999");
        let mut seen = std::collections::HashSet::new();
        for bit in 0..120 {
            let mut random = [0; 15];
            random[bit / 8] = 1 << (bit % 8);
            let password = generate(random);
            assert_eq!(prepare(&password).as_deref(), Some(password.as_str()));
            assert!(seen.insert(password), "bit {bit} is lost");
        }
    }

    /// S26: the hash that stands in for an unknown account's has today's parameters.
    #[test]
    fn a_dummy_costs_what_a_real_hash_costs_and_fits_nothing() {
        let params = params(&options()).unwrap();
        let dummy = dummy(&params, &[7; 48]);
        assert!(!is_outdated(&dummy, &params));
        assert!(
            !Workbench::default()
                .verify(&dummy, &"password".into())
                .unwrap()
        );
    }

    #[test]
    fn hashes_of_other_parameters_are_outdated() {
        let today = params(&options()).unwrap();
        for (m, t, p, outdated) in [
            (8, 1, 1, false),
            (16, 1, 1, true),
            (8, 2, 1, true),
            (16, 1, 2, true),
        ] {
            let made = hash("password", &Params::new(m, t, p, None).unwrap()).unwrap();
            assert_eq!(is_outdated(&made, &today), outdated, "{m} {t} {p}");
            assert!(
                Workbench::default()
                    .verify(&made, &"password".into())
                    .unwrap()
            );
        }
        for broken in [
            "",
            "$",
            "$nonsense",
            "$argon2id$v=19$m=8,t=1,p=1",
            "$x$AAAAAAAAAAA$AAAAAAAAAAAAAAAA",
        ] {
            assert!(
                Workbench::default()
                    .verify(&broken.into(), &"password".into())
                    .is_err(),
                "{broken}"
            );
        }
    }
}
