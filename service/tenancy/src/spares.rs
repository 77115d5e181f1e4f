//! Schemas made ahead, so that a new tenant only has to take one.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_migrate::{
    DynMigrator, create_schema, create_schema_with_commits, drift::embeds_schema_name_in, register,
    remove_unfinished,
};
use tenantry_registry::{SchemaName, TenantId, tenant};
use tokio::sync::{Notify, OnceCell};
use tracing::{debug, warn};

use super::{
    Error,
    pool::{Lane, bounded},
    recording::record,
};
use crate::DbErrorKind;

/// How often the spares are counted without anybody having taken one here.
const PERIOD: Duration = Duration::from_secs(10);

/// The spares of one database, as one process keeps and takes them.
pub(super) struct Spares {
    pub(super) target: u32,
    db: Lane,
    migrator: DynMigrator,
    schema_prefix: String,
    usable: OnceCell<bool>,
    /// Told when there may be fewer than there should be.
    pub(super) taken: Notify,
}

impl Spares {
    pub(super) fn new(target: u32, db: Lane, migrator: DynMigrator, schema_prefix: String) -> Self {
        let (usable, taken) = (OnceCell::new(), Notify::new());
        Self { target, db, migrator, schema_prefix, usable, taken }
    }

    /// Whether spares are wanted, and a schema of this migrator can be given another name.
    ///
    /// Takes a connection of its own the first time.
    pub(super) async fn usable(&self) -> bool {
        if self.target == 0 {
            return false;
        }
        let find = async || {
            let begun = self.db.begin_for_migrations().await?;
            let Some(txn) = begun.for_migrations() else { return Ok(false) };
            let names = embeds_schema_name_in(txn, &self.migrator).await?;
            begun.rollback().await?;
            Ok::<_, Error>(!names)
        };
        match self.usable.get_or_try_init(|| bounded(find())).await {
            Ok(usable) => *usable,
            Err(error) => {
                warn!(%error, "whether spares can be used could not be found out");
                false
            }
        }
    }

    /// Keeps so many spares ready until it is aborted.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            if self.usable().await {
                self.top_up().await;
            } else if self.usable.initialized() {
                warn!("no spares are kept: a migration writes the name of its schema into a text");
                return;
            }
            // Elapsed or told: either way it is time to count.
            let _ = tokio::time::timeout(PERIOD, self.taken.notified()).await;
        }
    }

    async fn top_up(&self) {
        loop {
            match bounded(self.make_one()).await {
                Ok(Some(schema)) => debug!(%schema, "spare made"),
                Ok(None) => return,
                Err(error) => return warn!(%error, "a spare could not be made; trying again later"),
            }
        }
    }

    /// None when there are enough, or somebody else is making them.
    async fn make_one(&self) -> Result<Option<SchemaName>, Error> {
        // Mostly there are, and the connection of a transaction for migrations is closed after it.
        if self.enough(&self.db).await? {
            return Ok(None);
        }
        record(&self.db, &self.migrator).await;
        match self.make_one_of(false).await {
            Err(Error::Migration(error))
                if error.db_error_kind() == Some(DbErrorKind::NeedsCommit) =>
            {
                self.make_one_of(true).await
            }
            made => made,
        }
    }

    /// Makes a spare in one transaction, or with a commit after each migration.
    async fn make_one_of(&self, with_commits: bool) -> Result<Option<SchemaName>, Error> {
        let begun = self.db.begin_for_migrations().await?;
        let Some(txn) = begun.for_migrations() else { return Ok(None) };
        // Counted under the lock, so that two processes do not both make the last one.
        // With commits it lasts until the connection is closed, which follows.
        let function =
            if with_commits { "pg_try_advisory_lock" } else { "pg_try_advisory_xact_lock" };
        let lock = format!("SELECT {function}(hashtextextended('tenantry spares', 0))");
        if scalar(txn, &lock).await? != Some(true) {
            return Ok(None);
        }
        if self.enough(txn).await? {
            return Ok(None);
        }
        let id = TenantId::generate();
        let name = format!("{}spare_{}", self.schema_prefix, id.as_uuid().simple());
        let mut row = new_row(&self.migrator, name.parse()?);
        (row.id, row.status) = (id, tenant::Status::Spare);
        let made = async {
            if with_commits {
                create_schema_with_commits(txn, &row.schema, &self.migrator).await?;
                register(txn, &row).await?;
            } else {
                register(txn, &row).await?;
                create_schema(txn, &row.schema, &self.migrator).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = made.await {
            begun.rollback().await?;
            if with_commits {
                let txn = self.db.begin_for_ddl().await?;
                remove_unfinished(&txn, &row.schema).await?;
                txn.commit().await?;
            }
            return Err(error);
        }
        begun.commit().await?;
        Ok(Some(row.schema))
    }

    /// Those that are behind count too: a fleet run brings them up.
    async fn enough(&self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let count = "SELECT count(*) FROM registry.tenants WHERE status = 'spare'";
        let spares = scalar::<i64>(db, count).await?.unwrap_or_default();
        Ok(spares >= i64::from(self.target))
    }
}

/// The row of an active tenant whose schema is about to be made by `migrator`.
pub(super) fn new_row(migrator: &DynMigrator, schema: SchemaName) -> tenant::Model {
    let now = tenantry_registry::now();
    let (migrations, breaking) = migrator.all_applied();
    tenant::Model {
        id: TenantId::generate(),
        slug: None,
        schema,
        status: tenant::Status::Active,
        schema_version: migrator.latest(),
        migrations,
        breaking,
        max_connections: None,
        max_waiting: None,
        metadata: serde_json::json!({}),
        inserted_at: now,
        updated_at: now,
        migration_error: None,
        migration_attempts: 0,
        dropped_at: None,
        dropped_by: None,
    }
}

/// Makes a spare with the migrations of `row` become `row`. The schema that it has until now; None when
/// there is no spare that nobody else is taking or migrating.
///
/// The key is a new one: tenants in the order of their keys are in the order of their creation.
pub(super) async fn claim(
    txn: &impl ConnectionTrait,
    row: &tenant::Model,
) -> Result<Option<SchemaName>, DbErr> {
    let update = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "UPDATE registry.tenants t SET id = $1, slug = $2, schema = $3, status = 'active',
             metadata = $4, inserted_at = $5, updated_at = $5
         FROM (SELECT s.id, s.schema FROM registry.tenants s
             WHERE s.status = 'spare' AND s.schema_version IS NOT DISTINCT FROM $6
             AND s.migrations = $7
             ORDER BY s.id LIMIT 1 FOR UPDATE SKIP LOCKED) spare
         WHERE t.id = spare.id RETURNING spare.schema",
        [
            row.id.into(),
            row.slug.clone().into(),
            row.schema.clone().into(),
            row.metadata.clone().into(),
            row.inserted_at.into(),
            row.schema_version.clone().into(),
            row.migrations.clone().into(),
        ],
    );
    txn.query_one_raw(update).await?.map(|row| row.try_get_by_index(0)).transpose()
}

async fn scalar<T: sea_orm::TryGetable>(
    txn: &impl ConnectionTrait,
    sql: &str,
) -> Result<Option<T>, DbErr> {
    let row = txn.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}
