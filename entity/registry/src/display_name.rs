use std::{fmt, str::FromStr};

use crate::NameError;

/// The name of a tenant for people, such as `Acme Ltd`: 1 to 200 characters, no control characters.
/// Surrounding white space is removed.
///
/// ```
/// use tenantry_registry::DisplayName;
/// assert_eq!(" Acme Ltd ".parse::<DisplayName>()?.as_str(), "Acme Ltd");
/// assert!("Acme\nLtd".parse::<DisplayName>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DisplayName(String);

impl DisplayName {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 200;

    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("name", text, rule));
        let name = text.trim();
        if name.is_empty() {
            return refuse("it is empty; write 1 to 200 characters, or leave it out");
        }
        if name.chars().count() > Self::MAX_CHARS {
            return refuse("it is longer than 200 characters");
        }
        if name.chars().any(char::is_control) {
            return refuse("control characters such as line breaks are not allowed");
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
