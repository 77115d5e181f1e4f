use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64, sea_query::ValueTypeErr};

use crate::NameError;

/// A host name of a tenant, such as `guards.example.org`: lower case, without port and trailing dot.
///
/// The rules are RFC 1123, 2.1: labels of 1 to 63 letters, digits and hyphens, no hyphen at either
/// end, at most 253 characters in all. At least two labels and no numeric last one, so that neither
/// `localhost` nor an address is a host name.
///
/// ```
/// use tenantry_registry::Hostname;
/// assert_eq!("Guards.Example.org.".parse::<Hostname>()?.as_str(), "guards.example.org");
/// assert!("guards.example.org:80".parse::<Hostname>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
#[sea_orm(
    value_type = "String",
    from_str = "Hostname::from_stored",
    to_str = "Hostname::to_stored"
)]
pub struct Hostname(String);

impl Hostname {
    /// The host name as a string.
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

impl FromStr for Hostname {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("host name", text, rule));
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.len() > 253 {
            return refuse("it is longer than 253 characters");
        }
        let labels: Vec<&str> = name.split('.').collect();
        for label in &labels {
            if label.is_empty() || label.len() > 63 {
                return refuse("each part between the dots must have 1 to 63 characters");
            }
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return refuse("only letters, digits, hyphens and dots are allowed (no port)");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return refuse("no part may begin or end with a hyphen");
            }
        }
        let top = labels[labels.len() - 1];
        if labels.len() < 2 || top.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("it must be a full host name such as guards.example.org");
        }
        Ok(Self(name))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SeaORM requires it of every primary key, for generated numbers.
impl TryFromU64 for Hostname {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Hostname"))
    }
}
