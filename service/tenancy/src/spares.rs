//! Schemas that are created in advance, so that a new tenant only has to take one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_migrate::{
    DynMigrator, SLUG_LOCK_TIMEOUT, create_schema, create_schema_with_commits,
    drift::embeds_schema_name_in, insert_tenant, remove_unfinished,
};
use tenantry_registry::{SchemaName, TenantId, audit::Entry, tenant};
use tokio::sync::{Notify, OnceCell};
use tracing::{debug, warn};

use super::{
    Error,
    pool::{MigrationTransaction, PoolHandle, bounded},
    recording::record,
};
use crate::DbErrorKind;

/// How often the spares are counted, since other processes take them too.
const PERIOD: Duration = Duration::from_secs(10);

pub(super) struct Spares {
    pub(super) target: u32,
    db: PoolHandle,
    migrator: DynMigrator,
    schema_prefix: String,
    supported: OnceCell<bool>,
    /// Notified when a spare may have been taken.
    pub(super) taken: Notify,
    /// Whether the database came with spares, and no more are made.
    prepared: AtomicBool,
}

impl Spares {
    pub(super) fn new(
        target: u32,
        db: PoolHandle,
        migrator: DynMigrator,
        schema_prefix: String,
    ) -> Self {
        let (supported, taken) = (OnceCell::new(), Notify::new());
        let prepared = AtomicBool::new(false);
        Self { target, db, migrator, schema_prefix, supported, taken, prepared }
    }

    /// The database came with spares: those are taken whatever the target is.
    #[cfg(feature = "testing")]
    pub(super) fn set_prepared(&self) {
        self.prepared.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_prepared(&self) -> bool {
        self.prepared.load(Ordering::Relaxed)
    }

    /// Whether there are to be spares and the schema of this migrator can be renamed.
    ///
    /// Takes a connection the first time.
    pub(super) async fn is_supported(&self) -> bool {
        if self.are_prepared() || self.target == 0 {
            return self.are_prepared();
        }
        let find = async {
            let txn = self.db.begin_for_migrations().await?;
            let names = embeds_schema_name_in(&MigrationTransaction(&txn), &self.migrator).await?;
            txn.rollback().await?;
            Ok::<_, Error>(!names)
        };
        match self.supported.get_or_try_init(|| bounded(find)).await {
            Ok(supported) => *supported,
            // The creation reports that the role may not create schemas.
            Err(Error::Owner(_)) => false,
            Err(error) => {
                warn!(%error, "could not determine whether spares can be used");
                false
            }
        }
    }

    /// Keeps the configured number of spares until the task is aborted.
    pub(super) async fn maintain(self: Arc<Self>) {
        loop {
            if self.is_supported().await {
                self.top_up().await;
            } else if self.supported.initialized() {
                warn!(
                    "no spares are created: a migration stores the name of its schema in a function or a default"
                );
                return;
            }
            // Counts again after each period, or earlier when a spare was taken.
            let _ = tokio::time::timeout(PERIOD, self.taken.notified()).await;
        }
    }

    async fn top_up(&self) {
        if let Err(error) = self.fill().await {
            warn!(%error, "a spare could not be created; retrying later");
        }
    }

    /// Creates spares until there are enough.
    pub(super) async fn fill(&self) -> Result<(), Error> {
        while let Some(schema) = bounded(self.create_one()).await? {
            debug!(%schema, "spare created");
        }
        Ok(())
    }

    /// Creates a spare. Returns `None` if there are enough or another process is creating them.
    async fn create_one(&self) -> Result<Option<SchemaName>, Error> {
        // Counted first, since there usually are enough.
        if self.enough(&self.db).await? {
            return Ok(None);
        }
        record(&self.db, &self.migrator).await;
        match self.create_one_with(false).await {
            Err(Error::Migration(error))
                if error.db_error_kind() == Some(DbErrorKind::NeedsCommit) =>
            {
                self.create_one_with(true).await
            }
            created => created,
        }
    }

    /// Creates a spare in one transaction, or with a commit after each migration.
    async fn create_one_with(&self, commits: bool) -> Result<Option<SchemaName>, Error> {
        let transaction = self.db.begin_for_migrations().await?;
        let txn = MigrationTransaction(&transaction);
        // Counted under a lock, so that two processes do not both create the last one. With commits
        // it is held until the connection is closed after this.
        let function = if commits { "pg_try_advisory_lock" } else { "pg_try_advisory_xact_lock" };
        let lock = format!("SELECT {function}(hashtextextended('tenantry spares', 0))");
        if scalar(&txn, &lock).await? != Some(true) || self.enough(&txn).await? {
            return Ok(None);
        }
        let id = TenantId::generate();
        let name = format!("{}spare_{}", self.schema_prefix, id.as_uuid().simple());
        let mut row = new_row(&self.migrator, SchemaName::new(&name)?);
        (row.id, row.status) = (id, tenant::Status::Spare);
        let create = async {
            if commits {
                create_schema_with_commits(&txn, &row.schema, &self.migrator).await?;
                insert_tenant(&txn, &row, None).await?;
            } else {
                insert_tenant(&txn, &row, None).await?;
                create_schema(&txn, &row.schema, &self.migrator).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = create.await {
            transaction.rollback().await?;
            if commits {
                let txn = self.db.begin_for_ddl().await?;
                remove_unfinished(&txn, &row.schema).await?;
                txn.commit().await?;
            }
            return Err(error);
        }
        transaction.commit().await?;
        Ok(Some(row.schema))
    }

    /// Whether there are enough spares. Those that are behind count too, since a fleet run migrates
    /// them.
    async fn enough(&self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let count = "SELECT count(*) FROM registry.tenants WHERE status = 'spare'";
        let spares = scalar::<i64>(db, count).await?.unwrap_or_default();
        Ok(spares >= i64::from(self.target))
    }
}

/// The row of an active tenant whose schema is about to be created by `migrator`.
pub(super) fn new_row(migrator: &DynMigrator, schema: SchemaName) -> tenant::Model {
    let now = tenantry_registry::now();
    let (migrations, breaking) = migrator.all_applied();
    tenant::Model {
        id: TenantId::generate(),
        slug: None,
        schema,
        status: tenant::Status::Active,
        status_reason: None,
        status_since: None,
        status_before: None,
        purge_after: None,
        read_only: false,
        schema_version: migrator.latest(),
        migrations,
        breaking,
        max_connections: None,
        max_waiting: None,
        max_body_bytes: None,
        cors_origins: Vec::new(),
        metadata: serde_json::json!({}),
        inserted_at: now,
        updated_at: now,
        migration_error: None,
        migration_attempts: 0,
        dropped_at: None,
        dropped_by: None,
    }
}

/// Turns a spare with the migrations of `row` into `row` and inserts its audit entry. Returns the
/// schema that it has had, or `None` if all spares are being taken or migrated.
///
/// It gets a new id, so that the order of ids stays that of creation.
pub(super) async fn take_spare(
    txn: &impl ConnectionTrait,
    row: &tenant::Model,
    entry: Entry,
) -> Result<Option<SchemaName>, DbErr> {
    let values = [
        row.id.into(),
        row.slug.clone().into(),
        row.schema.clone().into(),
        row.metadata.clone().into(),
        row.inserted_at.into(),
        row.schema_version.clone().into(),
        row.migrations.clone().into(),
    ];
    let sql = format!(
        "WITH taken AS (UPDATE registry.tenants t SET id = $1, slug = $2, schema = $3, status = 'active',
             metadata = $4, inserted_at = $5, updated_at = $5
         FROM (SELECT s.id, s.schema, set_config('lock_timeout', '{SLUG_LOCK_TIMEOUT}', true)
             FROM registry.tenants s
             WHERE s.status = 'spare' AND s.schema_version IS NOT DISTINCT FROM $6
             AND s.migrations = $7
             ORDER BY s.id LIMIT 1 FOR UPDATE SKIP LOCKED) spare
         WHERE t.id = spare.id RETURNING spare.schema), entry AS ({})
         SELECT schema, set_config('lock_timeout', NULL, true) FROM taken",
        Entry::insert_from("taken", values.len() + 1)
    );
    let values = values.into_iter().chain(entry.values());
    let update = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    txn.query_one_raw(update).await?.map(|row| row.try_get_by_index(0)).transpose()
}

async fn scalar<T: sea_orm::TryGetable>(
    txn: &impl ConnectionTrait,
    sql: &str,
) -> Result<Option<T>, DbErr> {
    let row = txn.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}
