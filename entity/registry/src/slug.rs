use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64, sea_query::ValueTypeErr};

use crate::NameError;

/// The name of a tenant in URLs and on the command line: a DNS label such as `tenant-1`.
///
/// 1 to 48 characters, `a`–`z`, `0`–`9` and `-`, no `-` at either end: a host name label of RFC 1123
/// that also fits into the name of a PostgreSQL schema behind a prefix. It may begin with a digit or
/// consist of digits (`3m`, `1881`), as no address ends with a base domain. Words with another
/// meaning in a host name or in the database are rejected.
///
/// ```
/// use tenantry_registry::Slug;
/// assert_eq!("tenant-1".parse::<Slug>()?.as_str(), "tenant-1");
/// assert_eq!("3m".parse::<Slug>()?.as_str(), "3m");
/// assert!("Tenant 1".parse::<Slug>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
#[sea_orm(value_type = "String", from_str = "Slug::from_stored", to_str = "Slug::to_stored")]
pub struct Slug(String);

impl Slug {
    /// Maximum length, in characters.
    pub const MAX_LEN: usize = 48;

    /// Reserved words: host names that a company needs for itself, and schemas of PostgreSQL and of
    /// the registry.
    pub const RESERVED: [&str; 22] = [
        "admin",
        "api",
        "app",
        "assets",
        "auth",
        "blog",
        "cdn",
        "citus",
        "console",
        "docs",
        "ftp",
        "help",
        "information-schema",
        "localhost",
        "mail",
        "public",
        "registry",
        "smtp",
        "static",
        "status",
        "support",
        "www",
    ];

    /// Whether `label` cannot be a slug, see [`RESERVED`](Self::RESERVED).
    #[must_use]
    pub fn is_reserved(label: &str) -> bool {
        Self::RESERVED.contains(&label) || label == "pg" || label.starts_with("pg-")
    }

    /// The slug as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_stored(text: &str) -> Result<Self, ValueTypeErr> {
        text.parse().map_err(|_| ValueTypeErr)
    }

    fn to_stored(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("slug", text, rule));
        if text.is_empty() {
            return refuse("it is empty; write 1 to 48 characters such as tenant-1");
        }
        if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            return refuse("only the lower-case letters a to z, digits and hyphens are allowed");
        }
        if text.len() > Self::MAX_LEN {
            return refuse("it is longer than 48 characters");
        }
        if text.starts_with('-') {
            return refuse("it must begin with a letter or a digit");
        }
        if text.ends_with('-') {
            return refuse("it must end with a letter or a digit");
        }
        if Self::is_reserved(text) {
            return refuse("this word is reserved; choose another");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SeaORM requires it of every primary key, for generated numbers.
impl TryFromU64 for Slug {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Slug"))
    }
}
