use std::{fmt, str::FromStr};

use thiserror::Error;

/// What a migration does, in snake case: the part of its name behind day and number.
///
/// ```
/// use tenantry_migrate::generate::NewName;
/// assert!("add_title_to_books".parse::<NewName>().is_ok());
/// assert!("AddTitle".parse::<NewName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewName(String);

/// It is no such name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no name for a migration: write a letter a-z first, then at most {max} letters a-z, \
     digits and _, such as add_title_to_books",
    max = NewName::MAX_LEN - 1
)]
pub struct BadName(pub String);

impl NewName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 100;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NewName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(allowed)
            && text.len() <= Self::MAX_LEN;
        if is_name { Ok(Self(text.to_owned())) } else { Err(BadName(text.to_owned())) }
    }
}

impl fmt::Display for NewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
