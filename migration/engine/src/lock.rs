//! The lock on a schema while it is migrated, and the registry row that is updated under it.

use std::time::{Duration, Instant};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    QuerySelect, sea_query::LockType,
};
use tenantry_registry::{SchemaName, TenantId, audit, tenant};

use crate::{
    DynMigrator, Error, MigrationState, Target, Timeouts,
    session::{limit_idle_time_sql, notice_lost_client},
    sql::query::{rows, scalar, statement},
};

/// Advisory lock that every creation of a tenant shares until its transaction ends.
pub(crate) const PROVISIONING: &str = "tenantry provisioning";

/// Longest wait for the advisory lock on a schema without a registry row.
const ADVISORY_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// What to do if another run has locked the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LockMode<'a> {
    /// Skip the schema of this tenant.
    SkipLocked(TenantId, &'a SchemaName),
    /// Wait.
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockResult {
    /// The schema is locked until the transaction ends.
    Acquired {
        /// Whether it has a migrations table.
        installed: bool,
    },
    HeldByOther,
    /// The tenant was dropped, or has another schema.
    TenantGone,
}

/// Settings of a transaction that migrates a schema.
pub(crate) struct TransactionSettings<'a> {
    pub(crate) target: &'a Target,
    pub(crate) migrator: &'a DynMigrator,
    pub(crate) timeouts: Timeouts,
}

impl TransactionSettings<'_> {
    /// Locks a tenant and applies the settings, in one round trip.
    ///
    /// The lock is on the tenant's registry row: a crash releases it, and changes of the tenant's
    /// status wait for it. `FOR NO KEY UPDATE` does not block rows that reference the tenant.
    pub(crate) async fn try_lock_tenant(
        &self,
        txn: &DatabaseTransaction,
        id: TenantId,
        schema: &SchemaName,
    ) -> Result<LockResult, Error> {
        let sql = format!(
            r#"SELECT {}, "schema", "status" NOT IN ('dropping', 'dropped')
               FROM "registry"."tenants" WHERE "id" = $5 FOR NO KEY UPDATE SKIP LOCKED"#,
            self.columns()
        );
        let values = self.values().into_iter().chain([id.into()]);
        let Some(row) = rows(txn, sql, values).await?.into_iter().next() else {
            let sql = r#"SELECT true FROM "registry"."tenants" WHERE "id" = $1"#;
            let exists: Option<bool> = scalar(txn, sql, [id.into()]).await?;
            return Ok(exists.map_or(LockResult::TenantGone, |_| LockResult::HeldByOther));
        };
        let same_schema = row.try_get_by_index::<SchemaName>(4)? == *schema;
        Ok(match same_schema && row.try_get_by_index(5)? {
            true => LockResult::Acquired { installed: row.try_get_by_index(3)? },
            false => LockResult::TenantGone,
        })
    }

    /// Applies the settings. Returns whether the schema has a migrations table.
    pub(crate) async fn apply(&self, txn: &DatabaseTransaction) -> Result<bool, Error> {
        let rows = rows(txn, format!("SELECT {}", self.columns()), self.values()).await?;
        let installed = rows.first().map(|row| row.try_get_by_index(3)).transpose()?;
        Ok(installed.unwrap_or_default())
    }

    /// Expressions that apply the settings, and whether there is a migrations table. By itself,
    /// `to_regclass` does not see a schema that was created after this transaction began, if the
    /// session has looked for it before: a statement that reads a table makes the server process
    /// the changes of others first.
    fn columns(&self) -> String {
        format!(
            "set_config('search_path', $1, true),
             concat(set_config('lock_timeout', coalesce($2, current_setting('lock_timeout')), true),
                 {}, {}),
             set_config('statement_timeout', coalesce($3, current_setting('statement_timeout')), true),
             EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = to_regclass($4))",
            limit_idle_time_sql(),
            notice_lost_client(true)
        )
    }

    fn values(&self) -> [sea_orm::Value; 4] {
        [
            self.target.search_path(self.migrator).into(),
            Timeouts::setting(self.timeouts.lock).into(),
            Timeouts::setting(self.timeouts.statement).into(),
            self.target.migrations_table(self.migrator).into(),
        ]
    }
}

/// Waits for the lock on a schema. Returns the tenant that the schema belongs to, if it does.
///
/// A schema without a registry row, the registry and the schema of the tables that exist once have
/// an advisory lock.
///
/// # Errors
/// [`Error::Dropping`] if the tenant is being dropped, [`Error::Busy`] if another run holds an
/// advisory lock for too long.
pub(crate) async fn lock_schema(
    txn: &DatabaseTransaction,
    target: &Target,
) -> Result<Option<TenantId>, Error> {
    if matches!(target, Target::Schema(_)) && registry_exists(txn).await? {
        let row = tenant::Entity::find()
            .select_only()
            .columns([tenant::Column::Id, tenant::Column::Status])
            .filter(tenant::Column::Schema.eq(target.name()))
            .filter(tenant::Column::Status.ne(tenant::Status::Dropped))
            .lock(LockType::NoKeyUpdate)
            .into_tuple()
            .one(txn)
            .await?;
        match row {
            Some((_, tenant::Status::Dropping)) => {
                return Err(Error::Dropping { schema: target.name().to_owned() });
            }
            Some((id, _)) => return Ok(Some(id)),
            None => {}
        }
    }
    let name = format!("tenantry migration of {target}");
    match poll_lock(txn, "pg_try_advisory_xact_lock", &name, ADVISORY_LOCK_TIMEOUT).await? {
        true => Ok(None),
        false => Err(Error::Busy { schema: target.name().to_owned() }),
    }
}

/// Takes an advisory lock by polling, because a wait inside PostgreSQL deadlocks with a `CREATE INDEX
/// CONCURRENTLY` that runs under the same lock. Returns `false` after `limit`.
pub(crate) async fn poll_lock(
    txn: &impl ConnectionTrait,
    function: &str,
    name: &str,
    limit: Duration,
) -> Result<bool, DbErr> {
    let sql = format!("SELECT {function}(hashtextextended($1, 0))");
    let started = Instant::now();
    while scalar(txn, &sql, [name.into()]).await? != Some(true) {
        if started.elapsed() > limit {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

/// A statement that writes the state of a tenant's schema to the registry row, clears the last
/// failure, and inserts an audit entry if the applied migrations have changed.
///
/// The tenant's row is locked, so that all parts of the statement see the same. The server makes the
/// entry's id, a UUID of version 7: the text is also part of scripts that are run for many tenants.
pub(crate) fn version_update_sql(
    target: &Target,
    state: &MigrationState,
    migrator: &DynMigrator,
) -> String {
    const SQL: &str = r#"WITH old AS (
    SELECT id, slug, schema_version, migrations FROM registry.tenants
    WHERE schema = $1 AND status <> 'dropped'
), updated AS (
    UPDATE registry.tenants SET schema_version = $2, migrations = $3, breaking = $4,
        migration_error = NULL, migration_attempts = 0, updated_at = now()
    WHERE schema = $1 AND status <> 'dropped'
)
INSERT INTO registry.audit (id, actor, action, tenant_id, slug, before, after)
SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1), 52, 1), 53, 1),
        'hex')::uuid, 'migration', $5, id, slug, jsonb_build_object('schema_version', schema_version),
    jsonb_build_object('schema_version', $2::text) || jsonb_strip_nulls(jsonb_build_object(
        'applied', nullif(to_jsonb(ARRAY(
            SELECT unnest($3::text[]) EXCEPT SELECT unnest(migrations) ORDER BY 1)), '[]'),
        'rolled_back', nullif(to_jsonb(ARRAY(
            SELECT unnest(migrations) EXCEPT SELECT unnest($3::text[]) ORDER BY 1)), '[]')))
FROM old WHERE slug IS NOT NULL AND migrations <> $3"#;
    let (migrations, breaking) = migrator.applied(state.applied.clone());
    let values = [
        target.name().into(),
        state.version(migrator).into(),
        migrations.into(),
        breaking.into(),
        audit::Action::Migrated.as_str().into(),
    ];
    statement(SQL, values).to_string()
}

pub(crate) async fn registry_exists(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let sql = "SELECT true FROM pg_catalog.pg_class WHERE oid = to_regclass('registry.tenants')";
    Ok(scalar(db, sql, []).await?.unwrap_or_default())
}
