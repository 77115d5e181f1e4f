//! Errors of this crate inside an error of SeaORM, which has no variant for them: they travel in the
//! one that sqlx keeps for its callers.

use std::error::Error;

use sea_orm::{DbErr, RuntimeErr, sqlx};
use tenantry_migrate::driver_error;

pub(super) fn wrap(error: impl Error + Send + Sync + 'static) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(sqlx::Error::Configuration(Box::new(error)).into()))
}

pub(super) fn find<T: Error + 'static>(error: &DbErr) -> Option<&T> {
    match driver_error(error)? {
        sqlx::Error::Configuration(error) => error.downcast_ref(),
        _ => None,
    }
}
