//! Passwords for next hops: each in a file of its own, never in the configuration.
//!
//! Nothing here tells a password: not an error, not `Debug`. Only commands that sign in read them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::options::is_plain;

/// Octets of a password at most; a larger file is another one, named by mistake.
const PASSWORD_MAX: usize = 1024;
/// What stands in front of the name of one of systemd's credentials.
const CREDENTIAL: &str = "credential:";
/// Where systemd says in which directory a service's credentials lie.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Whether passwords are read with the file that names where they are.
#[derive(Clone, Debug)]
pub(super) enum Passwords {
    /// Read, credentials from this directory, where there is one.
    Read(Option<PathBuf>),
    /// Left where they are; an empty one stands for each.
    Leave,
}

impl Passwords {
    /// Read, as this process is set up.
    pub fn of_this_process() -> Self {
        Passwords::Read(credentials_directory())
    }

    pub fn take(&self, file: &PasswordFile) -> Result<SecretString, PasswordError> {
        match self {
            Passwords::Read(directory) => file.read(directory.as_deref()),
            Passwords::Leave => Ok(SecretString::default()),
        }
    }
}

pub(super) fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Where a password is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PasswordFile {
    /// A file of the operator's.
    Path(PathBuf),
    /// A file that systemd makes for the service alone, by its name.
    Credential(String),
}

/// Why there is no password to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordError {
    #[error("must be an absolute path, or \"credential:NAME\"")]
    Relative,
    #[error("must be a plain name behind \"credential:\"")]
    CredentialName,
    /// Outside of the service nobody can tell.
    #[error(
        "there is no ${DIRECTORY}; systemd sets it for a service with LoadCredential={0}:/path"
    )]
    NoDirectory(String),
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    #[error("{} holds more than {PASSWORD_MAX} octets", .0.display())]
    TooLong(PathBuf),
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("{} must hold one line of UTF-8 and no control characters", .0.display())]
    NotALine(PathBuf),
}

impl PasswordFile {
    /// Reads the value of a `password_file` key.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        match text.strip_prefix(CREDENTIAL) {
            Some(name) if is_file_name(name) => Ok(PasswordFile::Credential(name.to_owned())),
            Some(_) => Err(PasswordError::CredentialName),
            None if is_plain(Path::new(text)) => Ok(PasswordFile::Path(text.into())),
            None => Err(PasswordError::Relative),
        }
    }

    fn path(&self, directory: Option<&Path>) -> Result<PathBuf, PasswordError> {
        match (self, directory) {
            (PasswordFile::Path(path), _) => Ok(path.clone()),
            (PasswordFile::Credential(name), Some(directory)) => Ok(directory.join(name)),
            (PasswordFile::Credential(name), None) => Err(PasswordError::NoDirectory(name.clone())),
        }
    }

    /// The password, without the line end behind it.
    pub fn read(&self, directory: Option<&Path>) -> Result<SecretString, PasswordError> {
        let path = self.path(directory)?;
        let failed = |source| PasswordError::Read {
            path: path.clone(),
            source,
        };
        // Opening a pipe would wait for whoever writes to it.
        if !fs::metadata(&path).map_err(failed)?.is_file() {
            return Err(PasswordError::NoFile(path));
        }
        // Of its full size from the start: growing would leave copies behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 3));
        let file = File::open(&path).map_err(failed)?;
        file.take(PASSWORD_MAX as u64 + 3)
            .read_to_end(&mut octets)
            .map_err(failed)?;
        let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > PASSWORD_MAX {
            return Err(PasswordError::TooLong(path));
        }
        match std::str::from_utf8(line) {
            Ok("") => Err(PasswordError::Empty(path)),
            Ok(text) if !text.chars().any(char::is_control) => Ok(text.into()),
            Ok(_) | Err(_) => Err(PasswordError::NotALine(path)),
        }
    }

    /// A sentence for the operator where everybody can read it; systemd looks after its own.
    pub fn permission_warning(&self) -> Option<String> {
        let PasswordFile::Path(path) = self else {
            return None;
        };
        let mode = fs::metadata(path).ok()?.permissions().mode();
        (mode & 0o007 != 0).then(|| {
            format!(
                "{} is open to every user of this machine (mode {:03o}); chmod it to 640 or 600",
                path.display(),
                mode & 0o777
            )
        })
    }
}

fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(name)) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_password_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(PASSWORD_MAX);
        for (content, password) in [
            ("tomtom", Ok("tomtom")),
            ("tomtom\n", Ok("tomtom")),
            ("tomtom\r\n", Ok("tomtom")),
            (" tom tom ", Ok(" tom tom ")),
            ("tom\u{fc}", Ok("tom\u{fc}")),
            (&*long, Ok(&*long)),
            (&*format!("{long}\r\n"), Ok(&*long)),
            ("", Err("is empty")),
            ("\n", Err("is empty")),
            ("tom\ntom\n", Err("one line")),
            ("tomtom\n\n", Err("one line")),
            ("tom\0", Err("one line")),
            (&*format!("{long}x"), Err("more than 1024")),
            (&*format!("{long}\n\n\n\n\n"), Err("more than 1024")),
        ] {
            let path = folder.path().join("password");
            fs::write(&path, content).unwrap();
            let read = PasswordFile::Path(path).read(None);
            match (read, password) {
                (Ok(read), Ok(password)) => assert_eq!(read.expose_secret(), password),
                (Err(error), Err(words)) => {
                    let error = error.to_string();
                    assert!(error.contains(words), "{content:?}: {error}");
                    assert!(!error.contains("tom"), "{error}");
                }
                (read, _) => panic!("{content:?}: {read:?}"),
            }
        }
        fs::write(folder.path().join("octets"), [0xff]).unwrap();
        let octets = PasswordFile::Path(folder.path().join("octets"));
        assert!(octets.read(None).is_err());
        let directory = PasswordFile::Path(folder.path().to_owned());
        assert!(matches!(
            directory.read(None),
            Err(PasswordError::NoFile(_))
        ));
        let missing = PasswordFile::Path(folder.path().join("none"));
        assert!(matches!(
            missing.read(None),
            Err(PasswordError::Read { .. })
        ));
    }

    #[test]
    fn a_credential_lies_where_systemd_put_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("smarthost"), "tomtom\n").unwrap();
        let file = PasswordFile::parse("credential:smarthost").unwrap();
        let read = file.read(Some(folder.path())).unwrap();
        assert_eq!(read.expose_secret(), "tomtom");
        let error = file.read(None).unwrap_err().to_string();
        assert!(error.contains("LoadCredential=smarthost:"), "{error}");
        assert!(Passwords::Leave.take(&file).is_ok());
    }

    #[test]
    fn a_password_file_has_an_absolute_path_or_a_plain_name() {
        for (text, good) in [
            ("/etc/gatepost/password", true),
            ("credential:smarthost", true),
            ("credential:smart.host", true),
            ("", false),
            ("password", false),
            ("./password", false),
            ("/etc/../password", false),
            ("credential:", false),
            ("credential:..", false),
            ("credential:.", false),
            ("credential:a/b", false),
            ("credential:../b", false),
        ] {
            assert_eq!(PasswordFile::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_password_that_everybody_can_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "tomtom").unwrap();
        let file = PasswordFile::Path(path.clone());
        for (mode, told) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let warning = file.permission_warning();
            assert_eq!(warning.is_some(), told, "{mode:o}");
        }
    }
}
