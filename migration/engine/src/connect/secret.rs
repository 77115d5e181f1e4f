use std::{
    convert::Infallible,
    env,
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// Maximum length of a secret's file, in bytes.
const MAX_LENGTH: u64 = 64 << 10;

/// A string that may contain a password. `Debug` does not print it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The string.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads a file that contains nothing else; surrounding white space is ignored.
    ///
    /// # Errors
    /// [`SecretError::File`] and [`SecretError::Empty`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::File { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_LENGTH).read_to_string(&mut text))
            .map_err(failed)?;
        match text.trim() {
            "" => Err(SecretError::Empty { path: path.to_owned() }),
            text => Ok(Self(text.to_owned())),
        }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An unusable secret, which the message does not repeat.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; name a file that contains the secret and nothing else", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{} is empty; write the secret into it", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The secret and its file are both given.
    #[error("{variable} and {variable}_FILE are both given; leave one of them out")]
    Both {
        /// Name of the variable.
        variable: &'static str,
    },
}

/// Resolves a secret that may be given directly or by a file, each by an option or by a variable:
/// `variable`, or the same with `_FILE`. An option overrides the variable of the other one; an empty
/// value counts as not given.
///
/// # Errors
/// [`SecretError`].
pub fn given(
    text: Option<&Secret>,
    file: Option<&Path>,
    variable: &'static str,
) -> Result<Option<Secret>, SecretError> {
    let text = text.filter(|text| !text.expose().is_empty());
    let file = file.filter(|file| !file.as_os_str().is_empty());
    let is_variable = |name: &str, value: &OsStr| env::var_os(name).as_deref() == Some(value);
    match (text, file) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.clone())),
        (None, Some(file)) => Secret::read(file).map(Some),
        (Some(text), Some(file)) => {
            let text_by_option = !is_variable(variable, text.expose().as_ref());
            let file_by_option = !is_variable(&format!("{variable}_FILE"), file.as_os_str());
            match (text_by_option, file_by_option) {
                (true, false) => Ok(Some(text.clone())),
                (false, true) => Secret::read(file).map(Some),
                _ => Err(SecretError::Both { variable }),
            }
        }
    }
}
