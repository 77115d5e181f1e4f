//! Errors of this crate inside an error of SeaORM. That has no variant for them, so they use the one
//! that sqlx reserves for its callers.

use std::error::Error;

use sea_orm::{DbErr, RuntimeErr, sqlx};
use tenantry_migrate::driver_error;

pub(super) fn wrap(error: impl Error + Send + Sync + 'static) -> DbErr {
    DbErr::Conn(source(error))
}

pub(super) fn source(error: impl Error + Send + Sync + 'static) -> RuntimeErr {
    RuntimeErr::SqlxError(sqlx::Error::Configuration(Box::new(error)).into())
}

pub(super) fn find<T: Error + 'static>(error: &DbErr) -> Option<&T> {
    match driver_error(error)? {
        sqlx::Error::Configuration(error) => error.downcast_ref(),
        _ => None,
    }
}
