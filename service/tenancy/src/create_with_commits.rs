//! Creation of tenants whose migrations PostgreSQL does not run in one transaction.

use std::{sync::atomic::Ordering, time::Instant};

use tenantry_migrate::{create_schema_with_commits, pause_after_race, remove_unfinished};
use tenantry_registry::{SchemaName, tenant};
use tracing::warn;

use super::{
    Error, Tenancy,
    lifecycle::{Creation, Origin, Structure, Uncommitted},
    locked_row::{MAX_BLOCKED, PAUSE},
    pool::{MigrationTransaction, bounded},
};
use crate::DbErrorKind;

impl Tenancy {
    /// Creates a tenant except for the commit, again if that lost a race or if an interrupted
    /// creation has left a schema of its name.
    pub(super) async fn create_with_retries(
        &self,
        creation: &Creation,
        structure: &Structure,
    ) -> Result<Uncommitted, Error> {
        let create = || self.create_or_commit(creation, structure);
        let (mut created, mut races) = (create().await, 0);
        let started = Instant::now();
        // Another transaction was creating the same object, or has locked a shared table.
        while let Err(error @ (Error::Migration(_) | Error::Database(_))) = &created
            && let Some(pause) = error.db_error_kind().and_then(|fault| match fault {
                DbErrorKind::LockTimeout if self.inner.migrator.shared().is_some() => {
                    (started.elapsed() < MAX_BLOCKED).then_some(PAUSE)
                }
                fault => pause_after_race(&fault, races),
            })
        {
            tokio::time::sleep(pause).await;
            races += 1;
            created = create().await;
        }
        if matches!(created, Err(Error::SchemaTaken(_))) && self.clear(&creation.row.schema).await?
        {
            return create().await;
        }
        created
    }

    /// Creates a tenant in one transaction or, where PostgreSQL requires it, with a commit after
    /// each migration.
    async fn create_or_commit(
        &self,
        creation: &Creation,
        structure: &Structure,
    ) -> Result<Uncommitted, Error> {
        let with_commits = &self.inner.with_commits;
        // The migrations of a spare have run already.
        if matches!(structure, Structure::Spare) || !with_commits.load(Ordering::Relaxed) {
            match self.create_in_one(creation, structure).await {
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
        let created = self.create_with_commits(creation, structure).await;
        // An existing schema is detected before anything is created.
        if created.is_err() && !matches!(created, Err(Error::SchemaTaken(_))) {
            self.clear_after_failure(&creation.row, Origin::CommittedMigrations).await;
        }
        created
    }

    /// Builds the schema first, migration by migration, and inserts the rows of the registry last.
    async fn create_with_commits(
        &self,
        creation: &Creation,
        structure: &Structure,
    ) -> Result<Uncommitted, Error> {
        // Conflicts in the registry are detected before anything is built.
        let trial = self.inner.lifecycle.begin_for_ddl().await?;
        self.insert_rows(&trial, creation, &Structure::Migrations).await?;
        trial.rollback().await?;
        let create = async {
            let txn = match structure {
                Structure::Copy(_) => self.inner.lifecycle.begin_for_copy().await?,
                _ => self.inner.lifecycle.begin_for_migrations().await?,
            };
            let migrations = MigrationTransaction(&txn);
            let schema = &creation.row.schema;
            let migrator = self.migrator_of(structure);
            create_schema_with_commits(&migrations, schema, migrator).await?;
            let inserted = match structure {
                Structure::Spare => &Structure::Migrations,
                other => other,
            };
            self.insert_rows(&txn, creation, inserted).await?;
            let scope = self.seed(txn, creation, structure).await?;
            Ok(Uncommitted { scope, origin: Origin::CommittedMigrations })
        };
        bounded(create).await
    }

    /// Removes the schema of a creation that failed after it had committed migrations.
    pub(super) async fn clear_after_failure(&self, row: &tenant::Model, origin: Origin) {
        if origin == Origin::CommittedMigrations
            && let Err(error) = self.clear(&row.schema).await
        {
            warn!(
                schema = %row.schema, %error,
                "an unfinished schema is left; the next creation of the tenant removes it"
            );
        }
    }

    /// Removes a schema that an interrupted creation has left. Returns whether there was one.
    async fn clear(&self, schema: &SchemaName) -> Result<bool, Error> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        let removed = remove_unfinished(&txn, schema).await?;
        txn.commit().await?;
        Ok(removed)
    }
}
