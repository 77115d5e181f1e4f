use sea_orm::{DbErr, RuntimeErr, sqlx};
use tenantry_migrate::driver_error;
use thiserror::Error;

/// A statement was refused before it was sent, since it cannot be carried out on a tenant's handle.
/// Found inside the [`DbErr`] that the handle returns, see [`Misuse::find`]. The connection is not
/// affected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The text begins or ends a transaction, which its connection would take to the next tenant.
    #[error(
        "{keyword} is not sent on a tenant's handle, whose connections are shared; call `begin()` \
         for a transaction, and `begin()` on that for a savepoint"
    )]
    TransactionControl {
        /// What was found, such as `BEGIN`.
        keyword: &'static str,
    },

    /// It has more parameters than PostgreSQL's protocol can number.
    #[error(
        "the statement has {count} parameters, and PostgreSQL takes at most {limit}; split it into \
         several statements, or send the values as an array",
        limit = Misuse::MAX_PARAMETERS
    )]
    TooManyParameters {
        /// How many it has.
        count: usize,
    },

    /// The driver cannot send one of its values.
    #[error("parameter ${number} of the statement cannot be sent: {reason}")]
    Value {
        /// Which one, counted from 1.
        number: usize,
        /// Why, and what to do.
        reason: String,
    },

    /// The driver cannot encode some of its values, and does not say which.
    #[error(
        "only {encoded} of the statement's {count} parameters can be encoded; look for values that \
         are larger than a gigabyte or outside the range of their type"
    )]
    Encoding {
        /// How many it can.
        encoded: usize,
        /// How many there are.
        count: usize,
    },
}

impl Misuse {
    /// Most parameters of one statement (PostgreSQL manual, appendix K).
    pub const MAX_PARAMETERS: usize = 65_535;

    /// The misuse inside an error of SeaORM, if that is what it is.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        match driver_error(error)? {
            sqlx::Error::Configuration(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// SeaORM's error has no place for an error of ours but the one sqlx keeps for its own callers.
impl From<Misuse> for DbErr {
    fn from(misuse: Misuse) -> Self {
        Self::Query(RuntimeErr::SqlxError(sqlx::Error::Configuration(Box::new(misuse)).into()))
    }
}
