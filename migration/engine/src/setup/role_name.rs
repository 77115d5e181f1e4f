use std::{fmt, str::FromStr};

use tenantry_registry::SchemaName;
use thiserror::Error;

/// The name of a role of PostgreSQL.
///
/// ```
/// use tenantry_migrate::setup::RoleName;
/// assert_eq!("shop-app".parse::<RoleName>()?.as_str(), "shop-app");
/// assert!("pg_write_all_data".parse::<RoleName>().is_err());
/// # Ok::<(), tenantry_migrate::setup::RoleNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName(String);

/// An invalid role name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is not a role name: {rule}")]
pub struct RoleNameError {
    name: String,
    rule: String,
}

impl RoleName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = RoleNameError;

    /// Accepts every name that `CREATE ROLE` accepts.
    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        let refuse =
            |rule: &str| Err(RoleNameError { name: text.to_owned(), rule: rule.to_owned() });
        let longest = SchemaName::MAX_LEN;
        if !(1..=longest).contains(&text.len()) {
            return refuse(&format!("it must have 1 to {longest} bytes"));
        }
        if text.contains('\0') {
            return refuse("it must not contain a NUL");
        }
        // PostgreSQL manual, CREATE ROLE and GRANT.
        let keywords = ["public", "none", "current_role", "current_user", "session_user"];
        if text.starts_with("pg_") || keywords.contains(&text) {
            return refuse("it is reserved by PostgreSQL");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
