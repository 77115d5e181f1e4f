//! Adoption of schemas that exist already: comparison with the migrations, and the record of those
//! that count as applied.
//!
//! ```no_run
//! # async fn example(
//! #     db: sea_orm::DatabaseConnection,
//! #     migrator: tenantry_migrate::DynMigrator,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use sea_orm::TransactionTrait;
//! use tenantry_migrate::adopt::Adoption;
//!
//! let scratch = db.begin().await?;
//! let adoption = Adoption::prepare(&scratch, &migrator, "acme", None).await?;
//! scratch.rollback().await?;
//! let txn = db.begin().await?;
//! adoption.lock(&txn, std::time::Duration::from_secs(5)).await?;
//! let differences = adoption.take_over(&txn, &"acme".parse()?).await?;
//! assert!(differences.is_empty());
//! // … the registry row, then
//! txn.commit().await?;
//! # Ok(()) }
//! ```

mod error;
mod list;
mod move_objects;
mod names;
mod records;
mod source;

use std::time::Duration;

use sea_orm::{ConnectionTrait, sea_query::PostgresQueryBuilder};
use tenantry_registry::{SchemaName, tenant};

pub use error::AdoptError;
pub use list::{Framework, ListedTenant, TenantList};

use crate::{
    DynMigrator, Error, Target,
    drift::{Change, Reference, read_structure},
    lock::poll_lock,
    plan::insert_applied,
    provision::{create_schema_sql, lock_tables, map_duplicate_schema, migrations_table_sql},
    search_path::{restore_search_path, set_search_path},
    setup::grant_defaults,
    sql::query::execute_batch,
};
use records::Records;

/// The adoption of a schema by a tenant: the schema itself, or its objects.
#[derive(Debug)]
pub struct Adoption<'a> {
    migrator: &'a DynMigrator,
    source: &'a str,
    /// As they were when the reference was built.
    records: Records,
    /// The migrations that count as applied, oldest first.
    applied: Vec<String>,
    reference: Reference,
}

impl<'a> Adoption<'a> {
    /// Checks that the schema `source` can be adopted, and builds the structure that its migrations
    /// create. Changes nothing: the transaction is rolled back and another begins, and its connection
    /// should be closed afterwards.
    ///
    /// If the schema has a migrations table with rows, these migrations count as applied; otherwise
    /// the migrations up to `at`, or all.
    ///
    /// # Errors
    /// - [`AdoptError::Reserved`], [`AdoptError::Missing`], [`AdoptError::OfTenant`],
    ///   [`AdoptError::BeingCreated`], [`AdoptError::NoTables`], [`AdoptError::OtherOwner`],
    /// - [`AdoptError::MigrationsTable`], [`AdoptError::UnknownMigrations`],
    ///   [`AdoptError::OtherMigrations`] if the migrations table does not agree,
    /// - [`AdoptError::Migration`] if `at` is not a migration, or if a migration fails in an empty schema.
    pub async fn prepare(
        txn: &impl ConnectionTrait,
        migrator: &'a DynMigrator,
        source: &'a str,
        at: Option<&str>,
    ) -> Result<Self, AdoptError> {
        source::check(txn, source, migrator).await?;
        let records = Records::read(txn, source, migrator).await?;
        let applied = records.applied(source, migrator, at)?;
        let reference = Reference::build(txn, migrator, &applied).await?;
        Ok(Self { migrator, source, records, applied, reference })
    }

    /// The newest migration before which none is missing.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let applied = |name: &String| self.applied.contains(name);
        self.migrator.names().into_iter().take_while(applied).last()
    }

    /// Sets the version and the migrations of a registry row.
    pub fn set_version(&self, row: &mut tenant::Model) {
        row.schema_version = self.version();
        (row.migrations, row.breaking) = self.migrator.applied(self.applied.clone());
    }

    /// Takes the lock that migration runs on the schema take while it has no registry row, until the
    /// transaction ends. The caller inserts the row after this.
    ///
    /// # Errors
    /// [`Error::Busy`] in [`AdoptError::Migration`] if another program holds it for longer than
    /// `limit`.
    pub async fn lock(
        &self,
        txn: &impl ConnectionTrait,
        limit: Duration,
    ) -> Result<(), AdoptError> {
        let name = format!("tenantry migration of {}", self.source);
        match poll_lock(txn, "pg_try_advisory_xact_lock", &name, limit).await? {
            true => Ok(()),
            false => Err(Error::Busy { schema: self.source.to_owned() }.into()),
        }
    }

    /// Creates the schema `to` and moves the objects of the source into it, except those of
    /// extensions. Locks the tables first.
    ///
    /// # Errors
    /// [`AdoptError::NotMovable`] with the objects that cannot be moved, and
    /// [`Error::SchemaExists`] in [`AdoptError::Migration`] if there is a schema of that name.
    pub async fn move_to(
        &self,
        txn: &impl ConnectionTrait,
        to: &SchemaName,
    ) -> Result<(), AdoptError> {
        lock_tables(txn, self.source).await?;
        source::check(txn, self.source, self.migrator).await?;
        move_objects::refuse(txn, self.source).await?;
        map_duplicate_schema(execute_batch(txn, &create_schema_sql(to)).await, to)?;
        move_objects::execute(txn, self.source, to, self.migrator).await?;
        let structure = read_structure(txn, to).await?;
        names::refuse(txn, self.source, to, &self.reference.additions(to, &structure)).await
    }

    /// Records the migrations in the schema's migrations table, which is created if it is missing,
    /// gives other roles the privileges that the migrations would have given them by default, and
    /// returns the differences of the schema from what the migrations create.
    ///
    /// # Errors
    /// [`AdoptError::Changed`] if the migrations table has changed since [`prepare`](Self::prepare),
    /// [`AdoptError::Migration`] otherwise.
    pub async fn take_over(
        &self,
        txn: &impl ConnectionTrait,
        schema: &SchemaName,
    ) -> Result<Vec<Change>, AdoptError> {
        let target = Target::Schema(schema.clone());
        if let Records::Found { .. } = &self.records {
            // Against migrations by other programs, and against a drop of the schema.
            let table = target.migrations_table(self.migrator);
            execute_batch(txn, &format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).await?;
        }
        if Records::read(txn, schema.as_str(), self.migrator).await? != self.records {
            return Err(AdoptError::Changed { schema: self.source.to_owned() });
        }
        let before = set_search_path(txn, &target, self.migrator).await?;
        let mut sql = String::new();
        if self.records == Records::NoTable {
            sql += &migrations_table_sql(self.migrator);
        }
        if self.records.names().is_empty() && !self.applied.is_empty() {
            sql += &insert_applied(self.migrator, &self.applied).to_string(PostgresQueryBuilder);
        }
        if !sql.is_empty() {
            execute_batch(txn, &sql).await?;
        }
        restore_search_path(txn, &before).await?;
        grant_defaults(txn, schema.as_str()).await?;
        let structure = read_structure(txn, schema).await?;
        Ok(self.reference.changes(schema, structure))
    }
}
