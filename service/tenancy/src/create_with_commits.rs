//! Creation of tenants whose migrations PostgreSQL does not run in one transaction.

use std::sync::atomic::Ordering;

use tenantry_migrate::{create_schema_with_commits, pause_after_race, remove_unfinished};
use tenantry_registry::{SchemaName, tenant};
use tracing::warn;

use super::{
    Error, NewTenant, Tenancy,
    pool::{MigrationTransaction, bounded},
};
use crate::DbErrorKind;

impl Tenancy {
    /// Creates a tenant, again if that lost a race or if an interrupted creation has left a schema
    /// of its name. Returns whether it was made of a spare.
    pub(super) async fn create_with_retries(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<bool, Error> {
        let create = || self.create_or_commit(new, row, keys, with_spares);
        let (mut created, mut races) = (create().await, 0);
        // Another transaction was creating the same object.
        while let Err(Error::Migration(error)) = &created
            && let Some(pause) =
                error.db_error_kind().and_then(|fault| pause_after_race(&fault, races))
        {
            tokio::time::sleep(pause).await;
            races += 1;
            created = create().await;
        }
        if matches!(created, Err(Error::SchemaTaken(_))) && self.clear(&row.schema).await? {
            return create().await;
        }
        created
    }

    /// Creates a tenant in one transaction or, where PostgreSQL requires it, with a commit after
    /// each migration.
    async fn create_or_commit(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<bool, Error> {
        let with_commits = &self.inner.with_commits;
        // The migrations of a spare have run already.
        if with_spares || !with_commits.load(Ordering::Relaxed) {
            match self.create_in_one(new, row, keys, with_spares).await {
                Err(Error::Migration(error))
                    if error.db_error_kind() == Some(DbErrorKind::NeedsCommit) =>
                {
                    if !with_commits.swap(true, Ordering::Relaxed) {
                        warn!(%error, "new tenants are created with a commit after each migration");
                    }
                }
                created => return created,
            }
        }
        let created = self.create_with_commits(new, row, keys).await;
        // An existing schema is detected before anything is created.
        if created.is_err()
            && !matches!(created, Err(Error::SchemaTaken(_)))
            && let Err(error) = self.clear(&row.schema).await
        {
            warn!(
                schema = %row.schema, %error,
                "an unfinished schema is left; the next creation of the tenant removes it"
            );
        }
        created.map(|()| false)
    }

    /// Builds the schema first, migration by migration, and inserts the rows of the registry last.
    async fn create_with_commits(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
    ) -> Result<(), Error> {
        // Conflicts in the registry are detected before anything is built.
        let trial = self.inner.lifecycle.begin_for_ddl().await?;
        self.insert_rows(&trial, new, row, false).await?;
        trial.rollback().await?;
        let create = async {
            let txn = self.inner.lifecycle.begin_for_migrations().await?;
            let migrations = MigrationTransaction(&txn);
            create_schema_with_commits(&migrations, &row.schema, &self.inner.migrator).await?;
            self.insert_rows(&txn, new, row, false).await?;
            self.finish(txn, new, row, keys).await
        };
        bounded(create).await
    }

    /// Removes a schema that an interrupted creation has left. Returns whether there was one.
    async fn clear(&self, schema: &SchemaName) -> Result<bool, Error> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        let removed = remove_unfinished(&txn, schema).await?;
        txn.commit().await?;
        Ok(removed)
    }
}
