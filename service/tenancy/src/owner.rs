//! The role that owns schemas and tables, where it is not that of the application.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_migrate::connect::is_same_database;
use tenantry_registry::SchemaName;
use thiserror::Error;
use tokio::sync::OnceCell;

use super::{
    marker,
    pool::{PoolHandle, TenantPool},
};

/// Maximum number of the owner's connections.
pub(super) const MAX_CONNECTIONS: usize = 4;

/// Schemas can be neither created nor dropped. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The role may not create schemas, and no owner is configured
    /// ([`Config::owner_url`](super::Config::owner_url)).
    #[error(
        "role {role:?} may not create schemas in database {database:?}, and no URL is configured for \
         the role that owns them; nothing was changed"
    )]
    Required {
        /// The role of the connection.
        role: String,
        /// The database.
        database: String,
    },

    /// The schema of a tenant belongs to a role whose rights this one does not have.
    #[error(
        "schema {schema:?} belongs to role {owner:?}, so role {role:?} may not drop it; nothing was \
         changed"
    )]
    NotOwner {
        /// The schema.
        schema: String,
        /// The role that it belongs to.
        owner: String,
        /// The role of the connection.
        role: String,
    },

    /// The owner's URL leads to another database.
    #[error(
        "the owner's URL leads to another database than the application's; nothing was changed, \
         correct the URL"
    )]
    OtherDatabase,

    /// The owner cannot connect.
    #[error("the owner of schemas cannot connect: {0}; nothing was changed")]
    Unreachable(String),
}

impl OwnerError {
    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<OwnerError> for DbErr {
    fn from(error: OwnerError) -> Self {
        marker::wrap(error)
    }
}

/// Where schemas are created and dropped.
#[derive(Default)]
pub(super) struct SchemaOwner {
    /// `None` if it is the role of the application.
    pool: Option<Arc<TenantPool>>,
    /// Whether that role has been found to have the right.
    may_create: AtomicBool,
    /// Set when the owner's database has been found to be the application's.
    same_database: OnceCell<()>,
}

impl SchemaOwner {
    pub(super) fn new(pool: Option<TenantPool>) -> Self {
        Self { pool: pool.map(Arc::new), ..Self::default() }
    }

    /// The pool of a separate role.
    pub(super) fn pool(&self) -> Option<&Arc<TenantPool>> {
        self.pool.as_ref()
    }

    /// The role of the application may create schemas.
    pub(super) fn set_may_create(&self) {
        self.may_create.store(true, Ordering::Relaxed);
    }

    /// Whether schemas can be created, as far as is known.
    pub(super) fn is_available(&self) -> bool {
        self.pool.is_some() || self.may_create.load(Ordering::Relaxed)
    }

    /// The pool for schemas, after it was found to be usable. `application` is the other one.
    pub(super) async fn of(&self, application: &PoolHandle) -> Result<Arc<TenantPool>, DbErr> {
        match &self.pool {
            Some(pool) => {
                let confirm = || confirm_same_database(application, pool);
                self.same_database.get_or_try_init(confirm).await?;
                Ok(Arc::clone(pool))
            }
            None => {
                // Asked again each time, since the privilege may be granted at any time.
                if !self.may_create.load(Ordering::Relaxed) {
                    confirm_privilege(application).await?;
                    self.set_may_create();
                }
                Ok(Arc::clone(application.pool()))
            }
        }
    }
}

async fn confirm_privilege(application: &PoolHandle) -> Result<(), DbErr> {
    let sql = "SELECT current_user::text, current_database()::text,
        has_database_privilege(current_database(), 'CREATE')";
    let Some(row) = query(application, sql.to_owned()).await? else { return Ok(()) };
    match row.try_get_by_index(2)? {
        true => Ok(()),
        false => Err(OwnerError::Required {
            role: row.try_get_by_index(0)?,
            database: row.try_get_by_index(1)?,
        }
        .into()),
    }
}

/// Checks that the role of `txn` may drop the schema, unless there is none.
pub(super) async fn confirm_ownership(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<(), DbErr> {
    let sql = "SELECT pg_get_userbyid(nspowner)::text, current_user::text,
        pg_has_role(nspowner, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = $1";
    let values = [schema.as_str().into()];
    let asked = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let Some(row) = txn.query_one_raw(asked).await? else { return Ok(()) };
    match row.try_get_by_index(2)? {
        true => Ok(()),
        false => Err(OwnerError::NotOwner {
            schema: schema.to_string(),
            owner: row.try_get_by_index(0)?,
            role: row.try_get_by_index(1)?,
        }
        .into()),
    }
}

async fn confirm_same_database(
    application: &PoolHandle,
    owner: &Arc<TenantPool>,
) -> Result<(), DbErr> {
    let txn = application.begin().await?;
    let same = is_same_database(&txn, &owner.lifecycle()).await.map_err(|error| match &error {
        DbErr::Conn(_) => {
            let cause = tenantry_migrate::describe(&error);
            OwnerError::Unreachable(cause.replace("DATABASE_URL", "the owner's URL")).into()
        }
        _ => error,
    });
    txn.rollback().await?;
    if same? { Ok(()) } else { Err(OwnerError::OtherDatabase.into()) }
}

async fn query(db: &PoolHandle, sql: String) -> Result<Option<sea_orm::QueryResult>, DbErr> {
    db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await
}
