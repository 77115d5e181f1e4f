use sea_orm::DbErr;
use tenantry_migrate::{DbErrorKind, driver_error};
use tenantry_registry::{PLACEHOLDER, Slug};
use thiserror::Error;

use super::super::marker;

/// A statement that cannot be executed on a tenant's handle. Found inside the [`DbErr`] that the
/// handle returns, see [`Misuse::find`]. It was refused before it was sent, except for
/// [`PlaceholderInString`](Misuse::PlaceholderInString). The connection is not affected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The SQL begins or ends a transaction, which would affect the next tenant on the connection.
    #[error(
        "{keyword} is not allowed on a handle, since tenants share its connections; call \
         `begin()` for a transaction, and `begin()` on that for a savepoint"
    )]
    TransactionControl {
        /// The keyword, such as `BEGIN`.
        keyword: &'static str,
    },

    /// The statement has more parameters than PostgreSQL's protocol allows.
    #[error(
        "the statement has {count} parameters, and PostgreSQL accepts at most {limit}; split it \
         into several statements, or send the values as an array",
        limit = Misuse::MAX_PARAMETERS
    )]
    TooManyParameters {
        /// Number of parameters.
        count: usize,
    },

    /// The driver cannot send one of the values.
    #[error("parameter ${number} of the statement cannot be sent: {reason}")]
    Value {
        /// Number of the parameter, counted from 1.
        number: usize,
        /// The reason, and what to do.
        reason: String,
    },

    /// The driver cannot encode some of the values, and does not report which.
    #[error(
        "only {encoded} of the statement's {count} parameters can be encoded; look for values that \
         are larger than a gigabyte or outside the range of their type"
    )]
    Encoding {
        /// Number of values that can be encoded.
        encoded: usize,
        /// Number of parameters.
        count: usize,
    },

    /// The statement has the placeholder, but is on the connection to shared tables.
    #[error(
        "the statement names a tenant's table (\"@tenant\"), but is on the connection to shared \
         tables; send it on the tenant's handle, or in a transaction from `for_tenant`"
    )]
    PlaceholderWithoutTenant,

    /// The tenant of a transaction was resolved by another `Tenancy`, which may have another
    /// database.
    #[error(
        "tenant {slug} was resolved by another Tenancy than the transaction's; resolve it with the \
         same one"
    )]
    OtherTenancy {
        /// The tenant.
        slug: Slug,
    },

    /// The statement needs a session of its own, and the connections lead through a pooler
    /// ([`Config::direct_url`](crate::Config::direct_url)).
    #[error(
        "{what} needs a session of its own, but the pooler gives each session to other clients \
         after the transaction; {instead}"
    )]
    NeedsSession {
        /// What would stay in the session.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },

    /// PostgreSQL was asked for a schema with the name of the placeholder, which is not replaced in
    /// a string, such as `nextval('"@tenant".numbers')`, or in the body of a function or a `DO`.
    #[error(
        "{message}: the placeholder is replaced only where it is a quoted identifier, not in a \
         string or in the body of a function; pass the name of the tenant's schema as a value, as \
         in format('%I.%I', $1, $2), or write names without a schema in \
         `begin_with_search_path()`"
    )]
    PlaceholderInString {
        /// The message of PostgreSQL.
        message: String,
    },
}

impl Misuse {
    /// Maximum number of parameters of one statement (PostgreSQL manual, appendix K).
    pub const MAX_PARAMETERS: usize = 65_535;

    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }

    /// Whether a name with the placeholder reached PostgreSQL and caused the error of a statement:
    /// class 3F (missing schema) or 42 (missing table, type, function …).
    pub(crate) fn in_answer(error: &DbErr) -> Option<Self> {
        let code = DbErrorKind::sqlstate(error)?;
        let is_name = code.starts_with("3F") || code.starts_with("42");
        let message = driver_error(error)?.as_database_error()?.message();
        // As in `schema "@tenant" does not exist`, not as in a mail address.
        let names = message.split(['"', ' ']).any(|word| {
            word.strip_prefix(PLACEHOLDER)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        (is_name && names).then(|| Self::PlaceholderInString { message: message.to_owned() })
    }
}

impl From<Misuse> for DbErr {
    fn from(misuse: Misuse) -> Self {
        // The statement is at fault, not the connection.
        Self::Query(marker::source(misuse))
    }
}
