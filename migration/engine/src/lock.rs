//! The claim on a schema while it is migrated, and what is written to the registry under it.

use std::time::{Duration, Instant};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryFilter,
    QuerySelect, Statement, UpdateMany, Value,
    sea_query::{Expr, LockType},
};
use tenantry_registry::{SchemaName, TenantId, tenant};

use crate::{
    DynMigrator, Error, FleetTenant, MigrationState, Target, Timeouts,
    session::{bound_idle_time, notice_lost_client},
};

/// The advisory lock that every provisioning shares until its transaction ends.
pub(crate) const PROVISIONING: &str = "tenantry provisioning";

/// How long to wait for the claim on a schema that is no tenant's.
const LONGEST: Duration = Duration::from_secs(60);

/// Columns that set the scope of a schema and the timeouts until the transaction ends, and tell
/// whether the schema has a table of migrations.
fn scope_columns() -> String {
    format!(
        "set_config('search_path', $1, true),
         concat(set_config('lock_timeout', coalesce($2, current_setting('lock_timeout')), true),
             {}, {}),
         set_config('statement_timeout', coalesce($3, current_setting('statement_timeout')), true),
         to_regclass($4) IS NOT NULL",
        bound_idle_time(),
        notice_lost_client(true)
    )
}

/// Who wants a schema, and what is to be done when somebody else has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LockMode<'a> {
    /// A fleet run, that leaves it to them.
    SkipLocked(&'a FleetTenant),
    /// Anybody, who waits until they are done.
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockResult {
    /// The schema is ours until the transaction ends.
    Acquired,
    /// Somebody else has it in hand.
    HeldByOther,
    /// There is no such tenant any more, or it has another schema.
    TenantGone,
}

/// What is known of a schema in whose scope the transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scoped {
    /// Whether it has a table of migrations.
    pub(crate) installed: bool,
}

/// The scope of a schema, to be set in a transaction.
pub(crate) struct Scope<'a> {
    pub(crate) target: &'a Target,
    pub(crate) migrator: &'a DynMigrator,
    pub(crate) timeouts: Timeouts,
}

impl Scope<'_> {
    /// Claims a tenant and sets its scope in one round trip.
    ///
    /// The lock on the tenant's registry row is the claim: a crash releases it, and operations on
    /// the tenant's lifecycle wait for it. What only refers to the tenant does not: the row stays.
    pub(crate) async fn claim_member(
        &self,
        txn: &DatabaseTransaction,
        member: &FleetTenant,
    ) -> Result<(LockResult, Scoped), Error> {
        let scope = scope_columns();
        let sql = format!(
            r#"SELECT {scope}, "schema", "status" NOT IN ('dropping', 'dropped')
               FROM "registry"."tenants" WHERE "id" = $5 FOR NO KEY UPDATE SKIP LOCKED"#
        );
        let values = self.values().into_iter().chain([member.id.into()]);
        let locked = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let Some(row) = txn.query_one_raw(locked).await? else {
            let row =
                tenant::Entity::find_by_id(member.id).select_only().column(tenant::Column::Id);
            let there = row.into_tuple::<TenantId>().one(txn).await?.is_some();
            let claim = if there { LockResult::HeldByOther } else { LockResult::TenantGone };
            return Ok((claim, Scoped { installed: false }));
        };
        let scoped = Scoped { installed: row.try_get_by_index(3)? };
        let same = row.try_get_by_index::<SchemaName>(4)? == member.schema;
        let stays: bool = row.try_get_by_index(5)?;
        Ok((if same && stays { LockResult::Acquired } else { LockResult::TenantGone }, scoped))
    }

    /// Sets the scope of a schema that is claimed already.
    pub(crate) async fn set(&self, txn: &DatabaseTransaction) -> Result<Scoped, Error> {
        let sql = format!("SELECT {}", scope_columns());
        let set = Statement::from_sql_and_values(DbBackend::Postgres, sql, self.values());
        let row = txn.query_one_raw(set).await?;
        let installed = row.map(|row| row.try_get_by_index(3)).transpose()?;
        Ok(Scoped { installed: installed.unwrap_or_default() })
    }

    fn values(&self) -> [Value; 4] {
        [
            self.migrator.search_path(self.target).into(),
            Timeouts::setting(self.timeouts.lock).into(),
            Timeouts::setting(self.timeouts.statement).into(),
            self.target.table(self.migrator).into(),
        ]
    }
}

/// Waits for the claim on a schema, and returns the tenant that it belongs to, if it does.
///
/// A schema without a registry row, and the registry itself, are guarded by an advisory lock.
///
/// # Errors
/// [`Error::Dropping`] when the tenant is being dropped.
pub(crate) async fn claim(
    txn: &DatabaseTransaction,
    target: &Target,
) -> Result<Option<TenantId>, Error> {
    if *target != Target::Registry && registry_exists(txn).await? {
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
    // Tried in a loop: waiting inside PostgreSQL for an advisory lock deadlocks with a
    // CREATE INDEX CONCURRENTLY that runs under the same lock.
    let lock = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))",
        [format!("tenantry migration of {target}").into()],
    );
    let begun = Instant::now();
    loop {
        let row = txn.query_one_raw(lock.clone()).await?;
        if row.map(|row| row.try_get_by_index::<bool>(0)).transpose()? == Some(true) {
            return Ok(None);
        }
        if begun.elapsed() > LONGEST {
            return Err(Error::Busy { schema: target.name().to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes what a tenant's schema has come to to its registry row, and clears the last failure.
/// A schema without a row has no version to keep.
pub(crate) async fn record_version(
    txn: &impl ConnectionTrait,
    target: &Target,
    state: &MigrationState,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    if *target == Target::Registry || !registry_exists(txn).await? {
        return Ok(());
    }
    version_update(target, state, migrator, Expr::value(tenantry_registry::now()))
        .exec(txn)
        .await?;
    Ok(())
}

pub(crate) fn version_update(
    target: &Target,
    state: &MigrationState,
    migrator: &DynMigrator,
    at: Expr,
) -> UpdateMany<tenant::Entity> {
    let (migrations, breaking) = migrator.applied(state.applied.clone());
    tenant::Entity::update_many()
        .col_expr(tenant::Column::SchemaVersion, Expr::value(state.version(migrator)))
        .col_expr(tenant::Column::Migrations, Expr::value(migrations))
        .col_expr(tenant::Column::Breaking, Expr::value(breaking))
        .col_expr(tenant::Column::MigrationError, Expr::value(None::<sea_orm::JsonValue>))
        .col_expr(tenant::Column::MigrationAttempts, Expr::value(0))
        .col_expr(tenant::Column::UpdatedAt, at)
        .filter(tenant::Column::Schema.eq(target.name()))
        .filter(tenant::Column::Status.ne(tenant::Status::Dropped))
}

pub(crate) async fn registry_exists(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let statement = Statement::from_string(
        DbBackend::Postgres,
        "SELECT to_regclass('registry.tenants') IS NOT NULL",
    );
    match db.query_one_raw(statement).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(false),
    }
}
