//! Tenants whose migrations PostgreSQL refuses in one transaction.

use std::sync::atomic::Ordering;

use tenantry_migrate::{create_schema_with_commits, pause_after_race, remove_unfinished};
use tenantry_registry::{SchemaName, tenant};
use tracing::warn;

use super::{Error, NewTenant, Tenancy, pool::bounded};
use crate::DbErrorKind;

impl Tenancy {
    /// Creates a tenant in one transaction, or with a commit after each migration where PostgreSQL
    /// wants that. A schema that such a creation has left when it was interrupted is removed.
    ///
    /// Whether it was made out of a spare.
    pub(super) async fn create_either_way(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<bool, Error> {
        let (mut created, mut races) =
            (self.create_or_commit(new, row, keys, with_spares).await, 0);
        // Lost against another transaction that made the same object at the same moment.
        while let Err(Error::Migration(error)) = &created
            && let Some(pause) =
                error.db_error_kind().and_then(|fault| pause_after_race(&fault, races))
        {
            tokio::time::sleep(pause).await;
            races += 1;
            created = self.create_or_commit(new, row, keys, with_spares).await;
        }
        if matches!(created, Err(Error::SchemaTaken(_))) && self.clear(&row.schema).await? {
            return self.create_or_commit(new, row, keys, with_spares).await;
        }
        created
    }

    async fn create_or_commit(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
        with_spares: bool,
    ) -> Result<bool, Error> {
        let with_commits = &self.inner.with_commits;
        // A spare is made already.
        if with_spares || !with_commits.load(Ordering::Relaxed) {
            match self.create_as(new, row, keys, with_spares).await {
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
        // That there is a schema already is found out before anything is made.
        if created.is_err()
            && !matches!(created, Err(Error::SchemaTaken(_)))
            && let Err(error) = self.clear(&row.schema).await
        {
            warn!(schema = %row.schema, %error, "an unfinished schema is left; the next creation of it removes it");
        }
        created.map(|()| false)
    }

    /// The schema comes first, migration by migration, and the rows of the registry last.
    async fn create_with_commits(
        &self,
        new: &NewTenant,
        row: &tenant::Model,
        keys: &[String],
    ) -> Result<(), Error> {
        // What refuses the tenant is found out first.
        let trial = self.inner.lifecycle.begin_for_ddl().await?;
        self.enter(&trial, new, row, false).await?;
        trial.rollback().await?;
        let begun = self.inner.lifecycle.begin_for_migrations().await?;
        let create = async {
            if let Some(txn) = begun.for_migrations() {
                create_schema_with_commits(txn, &row.schema, &self.inner.migrator).await?;
            }
            self.enter(&begun, new, row, false).await?;
            self.finish(begun, new, row, keys).await
        };
        bounded(create).await
    }

    /// Removes a schema that an interrupted creation has left. Whether there was one.
    async fn clear(&self, schema: &SchemaName) -> Result<bool, Error> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        let removed = remove_unfinished(&txn, schema).await?;
        txn.commit().await?;
        Ok(removed)
    }
}
