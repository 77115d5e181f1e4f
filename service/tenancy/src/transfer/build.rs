//! A new tenant with the structure and rows of another one.

use sea_orm::{ConnectionTrait, DbErr, EntityTrait};
use tenantry_migrate::{announce_provisioning, apply_remaining, apply_remaining_with_commits};
use tenantry_registry::{
    SchemaName,
    audit::{self, Action},
    tenant,
};
use tracing::warn;

use super::{
    load::{Copied, RowSource},
    tables::{Contents, Sequence, column},
};
use crate::{
    DbErrorKind, Error, NewTenant, Tenancy, TenantInfo,
    lifecycle::{Creation, Origin, Structure, Uncommitted},
    locked_row::LockRetry,
    pool::{Executor, MigrationTransaction, Transaction},
    settings::Settings,
};

/// What a tenant is built from, apart from the rows.
pub(super) struct Model<'a> {
    pub(super) new: NewTenant,
    pub(super) settings: Settings,
    /// How the audit log calls it.
    pub(super) action: Action,
    /// The tenant that is copied, as the audit log shows it.
    pub(super) source: String,
    /// The migrations of the rows.
    pub(super) migrations: &'a [String],
    pub(super) contents: &'a Contents,
    pub(super) sequences: &'a [Sequence],
}

/// A tenant that is complete except for the commit.
pub(super) struct Built {
    creation: Creation,
    uncommitted: Uncommitted,
    source: String,
    pub(super) copied: Copied,
    /// The migrations that were run after the rows were loaded.
    pub(super) migrated: Vec<String>,
}

impl Tenancy {
    /// Builds a tenant: structure as of the version of the rows, rows, the remaining migrations.
    /// Without a `source` it gets no rows.
    pub(super) async fn build(
        &self,
        model: Model<'_>,
        source: Option<impl RowSource>,
    ) -> Result<Built, Error> {
        let all = &self.inner.migrator;
        let structure = Structure::Copy(all.only(model.migrations));
        let (creation, uncommitted) =
            self.begin_structure(model.new, &model.settings, model.action, &structure).await?;
        let Uncommitted { scope, mut origin } = uncommitted;
        let txn = scope.db;
        let names = all.names().into_iter();
        let migrated = names.filter(|name| !model.migrations.contains(name)).collect();
        let filled = async {
            let mut copied = Copied::default();
            if let Some(source) = source {
                let data = (model.contents, model.sequences);
                copied = self.load(&txn, &creation.row.schema, data, source).await?;
            }
            self.migrate_remaining(&txn, &creation, model.migrations, &mut origin).await?;
            analyze(&txn, &creation.row.schema).await?;
            Ok(copied)
        };
        let copied = match filled.await {
            Ok(copied) => copied,
            Err(error) => {
                drop(txn);
                self.clear_after_failure(&creation.row, origin).await;
                return Err(error);
            }
        };
        let uncommitted = Uncommitted { scope: self.scope(txn, &creation), origin };
        Ok(Built { creation, uncommitted, source: model.source, copied, migrated })
    }

    /// Records the creation of a tenant and commits it.
    pub(super) async fn commit_built(&self, built: Built) -> Result<TenantInfo, Error> {
        let Built { creation, uncommitted, source, .. } = built;
        let entry = self.creation_entry(&creation);
        let entry = entry.before(serde_json::json!({ "slug": source }));
        let record = async {
            let txn = &uncommitted.scope.db;
            // The commit of the creation notifies.
            audit::record(txn, entry, Vec::new()).await?;
            announce_provisioning(txn).await
        };
        if let Err(error) = record.await {
            let origin = uncommitted.origin;
            drop(uncommitted);
            self.clear_after_failure(&creation.row, origin).await;
            return Err(error.into());
        }
        self.commit_creation(creation, uncommitted).await
    }

    /// Runs the migrations that the schema lacks; where PostgreSQL requires it, with a commit after
    /// each.
    async fn migrate_remaining(
        &self,
        txn: &Transaction,
        creation: &Creation,
        applied: &[String],
        origin: &mut Origin,
    ) -> Result<(), Error> {
        let (schema, all) = (&creation.row.schema, &self.inner.migrator);
        let retry = LockRetry::new();
        loop {
            let attempt = txn.begin_transaction(Default::default()).await?;
            let migrations = MigrationTransaction(&attempt);
            let error = match apply_remaining(&migrations, schema, all, applied).await {
                Ok(()) => return Ok(attempt.commit().await?),
                Err(error) => Error::from(error),
            };
            attempt.rollback().await?;
            if error.db_error_kind() == Some(DbErrorKind::NeedsCommit) {
                warn!(%error, "the migrations after the rows run with a commit after each");
                break;
            }
            // A table that exists once is locked.
            retry.pause(error).await?;
        }
        *origin = Origin::CommittedMigrations;
        // The row is inserted last then, and until that the schema is marked as unfinished.
        tenant::Entity::delete_by_id(creation.row.id).exec(txn).await?;
        let migrations = MigrationTransaction(txn);
        apply_remaining_with_commits(&migrations, schema, all, applied).await?;
        self.insert_rows(txn, creation, &Structure::Copy(all.clone())).await?;
        Ok(())
    }
}

/// Updates the planner's statistics of the tables as they are after the migrations. An error is not
/// one of the copy: an expression of an index may fail.
async fn analyze(txn: &Transaction, schema: &SchemaName) -> Result<(), DbErr> {
    let names: Vec<String> = column(txn, ANALYZED, [schema.as_str().into()]).await?;
    if names.is_empty() {
        return Ok(());
    }
    let attempt = txn.begin_transaction(Default::default()).await?;
    match batch(&attempt, &format!("ANALYZE {}", names.join(", "))).await {
        Ok(()) => attempt.commit().await,
        Err(error) => {
            warn!(%schema, %error, "the tables were not analyzed; autovacuum does it");
            attempt.rollback().await
        }
    }
}

/// Partitions are analyzed with their table.
const ANALYZED: &str = "\
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition ORDER BY 1";

/// Sends statements without parameters.
#[expect(clippy::disallowed_methods, reason = "names are of PostgreSQL's catalog, and quoted")]
pub(super) async fn batch(txn: &Transaction, sql: &str) -> Result<(), DbErr> {
    txn.execute_unprepared(sql).await.map(drop)
}
