use sea_orm::DbErr;
use thiserror::Error;

use super::super::marker;

/// A statement was refused before it was sent, because it cannot be executed on a tenant's handle.
/// Found inside the [`DbErr`] that the handle returns, see [`Misuse::find`]. The connection is not
/// affected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The SQL begins or ends a transaction, which would affect the next tenant on the connection.
    #[error(
        "{keyword} is not allowed on a tenant's handle, whose connections are shared; call \
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
}

impl Misuse {
    /// Maximum number of parameters of one statement (PostgreSQL manual, appendix K).
    pub const MAX_PARAMETERS: usize = 65_535;

    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<Misuse> for DbErr {
    fn from(misuse: Misuse) -> Self {
        // The statement is at fault, not the connection.
        Self::Query(marker::source(misuse))
    }
}
