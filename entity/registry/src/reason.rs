use std::{fmt, str::FromStr};

use crate::NameError;

/// The reason of a change, for operators, such as `invoice 4711 is not paid`: 1 to 500 characters, no
/// control characters. Surrounding white space is removed.
///
/// ```
/// use tenantry_registry::Reason;
/// assert_eq!(" moved to node 2 ".parse::<Reason>()?.as_str(), "moved to node 2");
/// assert!("two\nlines".parse::<Reason>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason(String);

impl Reason {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 500;

    /// The reason as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("reason", text, rule));
        let reason = text.trim();
        if reason.is_empty() {
            return refuse("it is empty; write 1 to 500 characters, or leave it out");
        }
        if reason.chars().count() > Self::MAX_CHARS {
            return refuse("it is longer than 500 characters");
        }
        if reason.chars().any(char::is_control) {
            return refuse("control characters such as line breaks are not allowed");
        }
        Ok(Self(reason.to_owned()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
