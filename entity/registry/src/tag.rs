use std::{fmt, str::FromStr};

use crate::NameError;

/// A tag of a tenant, such as `canary`: 1 to 63 of `a`–`z`, `0`–`9`, `-` and `_`, a letter or a
/// digit first.
///
/// ```
/// use tenantry_registry::Tag;
/// assert_eq!("plan_2".parse::<Tag>()?.as_str(), "plan_2");
/// assert!("Plan 2".parse::<Tag>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// Maximum length, in characters.
    pub const MAX_LEN: usize = 63;

    /// The tag as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("tag", text, rule));
        if text.is_empty() {
            return refuse("it is empty; write 1 to 63 characters such as canary");
        }
        if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
            return refuse("only the lower-case letters a to z, digits, - and _ are allowed");
        }
        if text.len() > Self::MAX_LEN {
            return refuse("it is longer than 63 characters");
        }
        if text.starts_with(['-', '_']) {
            return refuse("it must begin with a letter or a digit");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
