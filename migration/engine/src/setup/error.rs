use sea_orm::DbErr;
use thiserror::Error;

use super::RoleName;
use crate::describe;

/// Why roles and privileges cannot be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// One role cannot be both.
    #[error("{0:?} cannot be both the owner and the application; name two roles")]
    OneRole(String),

    /// The default name of a role would be too long.
    #[error("the database name {database:?} is too long for the default names of roles; name both")]
    NoDefaultName {
        /// The database.
        database: String,
    },

    /// A superuser is refused nothing.
    #[error("role {0:?} is a superuser; name another role for the application")]
    Superuser(String),

    /// The role of the connection cannot take its own rights.
    #[error(
        "role {0:?} of this connection cannot be that of the application; connect as an \
         administrator of the database"
    )]
    OwnRole(String),

    /// The objects belong to other roles, so that the owner's role could not migrate them.
    #[error(
        "{number} {} not belong to role {owner:?}, but to {}, such as {example}; name that role as \
         the owner, or have the ownership changed",
        if *number == 1 { "object does" } else { "objects do" }, owners.join(", ")
    )]
    OtherOwner {
        /// The role that should own them.
        owner: String,
        /// Number of the objects.
        number: usize,
        /// The roles that they belong to.
        owners: Vec<String>,
        /// One of the objects.
        example: String,
    },

    /// Statements had no effect: for some missing privileges PostgreSQL only warns.
    #[error(
        "{} without effect, such as: {}. Have an administrator of the server run them",
        if statements.len() == 1 { "a statement was".to_owned() }
        else { format!("{} statements were", statements.len()) },
        statements.first().map_or("", String::as_str)
    )]
    NotApplied {
        /// The statements.
        statements: Vec<String>,
    },

    /// The application's role has more rights, which come from other roles.
    #[error(
        "role {role:?} still {}, because of a role that it is a member of ({}); revoke the \
         membership, or name another role for the application",
        rights.join(" and "),
        if member_of.is_empty() { "none".to_owned() } else { member_of.join(", ") }
    )]
    StillPrivileged {
        /// The role.
        role: RoleName,
        /// What it may do.
        rights: Vec<String>,
        /// The roles that it is a member of.
        member_of: Vec<String>,
    },

    /// An error of the database.
    #[error("{}", describe(.0))]
    Database(#[from] DbErr),
}
