//! Status of all tenants, from a few queries of the registry.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, FromQueryResult, prelude::DateTimeUtc};
use serde::{Deserialize, Serialize};

use super::tenants::map_missing_registry;
use crate::{DynMigrator, Error, shared_state, sql::query};

/// Status of all tenants and spares, except those that are being dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetStatus {
    /// Newest migration of this program.
    pub latest: Option<String>,
    /// Number of tenants and spares.
    pub tenants: usize,
    /// Those at `latest`.
    pub up_to_date: usize,
    /// Those that are spares.
    pub spares: usize,
    /// Versions of tenants, newest first.
    pub versions: Vec<VersionCount>,
    /// Tenants whose last migration failed, in the order of their creation.
    pub failed: Vec<FailedTenant>,
    /// Tenants that are being dropped, in the order of their creation; not counted above.
    pub dropping: Vec<DroppingTenant>,
    /// The tables that exist once, if the application has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedStatus>,
}

/// Status of the tables that exist once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedStatus {
    /// Their schema.
    pub schema: String,
    /// Newest applied migration.
    pub version: Option<String>,
    /// Pending migrations, oldest first.
    pub pending: Vec<String>,
}

/// Tenant that is being dropped. If that was interrupted, drop it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct DroppingTenant {
    /// Slug of the tenant.
    pub tenant: String,
    /// Its schema.
    pub schema: String,
    /// Start of the drop.
    pub since: DateTimeUtc,
}

/// Number of tenants at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionCount {
    /// Newest migration before which none is missing; `None` if no migration is applied.
    pub version: Option<String>,
    /// Comparison with this program.
    #[serde(flatten)]
    pub status: VersionStatus,
    /// Tenants and spares.
    pub tenants: usize,
    /// Those that are spares.
    pub spares: usize,
    /// Tenant whose registry row has been unchanged for the longest time.
    pub oldest: String,
    /// Last change of that row.
    pub last_changed: DateTimeUtc,
}

/// Version of a schema compared with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum VersionStatus {
    /// At the newest migration.
    UpToDate,
    /// Migrations are missing.
    Behind {
        /// Number of missing migrations.
        behind: usize,
    },
    /// The program does not have its newest migration.
    Ahead,
}

/// Tenant whose last migration failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedTenant {
    /// Slug of the tenant, or schema of the spare.
    pub tenant: String,
    /// Schema of its tables.
    pub schema: String,
    /// Its version.
    pub version: Option<String>,
    /// Failed runs since the last successful one.
    pub attempts: i32,
    /// The failure.
    #[serde(flatten)]
    pub failure: MigrationFailure,
}

/// Failure of a migration, as stored in `migration_error` of the tenant's row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrationFailure {
    /// The migration, if a migration failed.
    pub migration: Option<String>,
    /// SQLSTATE of the server's error.
    pub sqlstate: Option<String>,
    /// Error message.
    pub message: String,
    /// Time of the failure.
    pub at: Option<DateTimeUtc>,
}

impl FleetStatus {
    /// Whether every tenant is at the newest version, and so are the tables that exist once.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        let pending = |shared: &SharedStatus| !shared.pending.is_empty();
        self.up_to_date == self.tenants && !self.shared.as_ref().is_some_and(pending)
    }
}

/// Returns the status of all tenants, and of the shared tables.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::Database`].
pub async fn fleet_status(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Result<FleetStatus, Error> {
    let shared = shared_status(db, migrator).await?;
    Ok(FleetStatus { shared, ..tenants_status(db, migrator).await? })
}

/// Returns the status of all tenants, without the shared tables, on any connection.
///
/// # Errors
/// As for [`fleet_status`].
pub async fn tenants_status(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<FleetStatus, Error> {
    let names = migrator.names();
    let mut versions: BTreeMap<(Reverse<VersionPosition>, usize), VersionCount> = BTreeMap::new();
    for row in rows::<VersionRow>(db, VERSIONS).await.map_err(map_missing_registry)? {
        let position = VersionPosition::of(row.version.as_deref(), &names);
        let missing = missing(&row, &names);
        let count = VersionCount {
            status: position.status(names.len(), missing),
            version: row.version,
            tenants: row.tenants as usize,
            spares: row.spares as usize,
            oldest: row.oldest,
            last_changed: row.last_changed,
        };
        // Sets that differ only in migrations unknown to this program are one entry.
        match versions.entry((Reverse(position), missing)) {
            Entry::Vacant(entry) => _ = entry.insert(count),
            Entry::Occupied(mut entry) => entry.get_mut().add(count),
        }
    }
    let versions: Vec<VersionCount> = versions.into_values().collect();
    let failed = rows::<FailedRow>(db, FAILED).await?;
    Ok(FleetStatus {
        latest: migrator.latest(),
        tenants: versions.iter().map(|it| it.tenants).sum(),
        up_to_date: versions
            .iter()
            .filter(|it| it.status == VersionStatus::UpToDate)
            .map(|it| it.tenants)
            .sum(),
        spares: versions.iter().map(|it| it.spares).sum(),
        versions,
        dropping: rows(db, DROPPING).await?,
        failed: failed.into_iter().map(FailedTenant::from).collect(),
        shared: None,
    })
}

async fn shared_status(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Result<Option<SharedStatus>, Error> {
    let Some(shared) = migrator.shared() else { return Ok(None) };
    let state = shared_state(db, migrator).await?;
    let version = state.version(shared.migrator());
    let schema = shared.schema().to_string();
    Ok(Some(SharedStatus { schema, version, pending: state.pending }))
}

const VERSIONS: &str = r#"
    SELECT "schema_version" AS "version", "migrations", count(*) AS "tenants",
           count(*) FILTER (WHERE "status" = 'spare') AS "spares",
           (array_agg(coalesce("slug", "schema") ORDER BY "updated_at", "id"))[1] AS "oldest",
           min("updated_at") AS "last_changed"
    FROM "registry"."tenants" WHERE "status" NOT IN ('dropping', 'dropped') GROUP BY 1, 2"#;

const FAILED: &str = r#"
    SELECT coalesce("slug", "schema") AS "tenant", "schema", "schema_version" AS "version",
           "migration_attempts" AS "attempts", "migration_error" AS "error"
    FROM "registry"."tenants"
    WHERE "migration_error" IS NOT NULL AND "status" NOT IN ('dropping', 'dropped') ORDER BY "id""#;

const DROPPING: &str = r#"
    SELECT coalesce("slug", "schema") AS "tenant", "schema", "updated_at" AS "since"
    FROM "registry"."tenants" WHERE "status" = 'dropping' ORDER BY "id""#;

#[derive(FromQueryResult)]
struct VersionRow {
    version: Option<String>,
    migrations: Vec<String>,
    tenants: i64,
    spares: i64,
    oldest: String,
    last_changed: DateTimeUtc,
}

#[derive(FromQueryResult)]
struct FailedRow {
    tenant: String,
    schema: String,
    version: Option<String>,
    attempts: i32,
    error: sea_orm::JsonValue,
}

/// Position of a version among a program's migrations; older versions are less.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum VersionPosition {
    Applied(usize),
    Unknown(String),
}

impl VersionPosition {
    fn of(version: Option<&str>, names: &[String]) -> Self {
        let Some(version) = version else { return Self::Applied(0) };
        match names.iter().position(|name| name == version) {
            Some(index) => Self::Applied(index + 1),
            None => Self::Unknown(version.to_owned()),
        }
    }

    fn status(&self, all: usize, missing: usize) -> VersionStatus {
        match self {
            _ if missing > 0 => VersionStatus::Behind { behind: missing },
            Self::Unknown(_) => VersionStatus::Ahead,
            Self::Applied(applied) if *applied == all => VersionStatus::UpToDate,
            Self::Applied(applied) => VersionStatus::Behind { behind: all - applied },
        }
    }
}

/// Number of the program's migrations that are not applied; 0 if only the version is known.
fn missing(row: &VersionRow, names: &[String]) -> usize {
    if row.version.as_ref().is_some_and(|version| row.migrations.contains(version)) {
        names.iter().filter(|name| !row.migrations.contains(name)).count()
    } else {
        0
    }
}

impl VersionCount {
    fn add(&mut self, other: Self) {
        self.tenants += other.tenants;
        self.spares += other.spares;
        if other.last_changed < self.last_changed {
            (self.oldest, self.last_changed) = (other.oldest, other.last_changed);
        }
    }
}

impl From<FailedRow> for FailedTenant {
    fn from(row: FailedRow) -> Self {
        let FailedRow { tenant, schema, version, attempts, error } = row;
        // Content in another format is shown unchanged.
        let failure = serde_json::from_value(error.clone()).unwrap_or_else(|_| MigrationFailure {
            message: error.to_string(),
            ..MigrationFailure::default()
        });
        Self { tenant, schema, version, attempts, failure }
    }
}

async fn rows<R: FromQueryResult>(db: &impl ConnectionTrait, sql: &str) -> Result<Vec<R>, DbErr> {
    let rows = query::rows(db, sql, []).await?;
    rows.iter().map(|row| R::from_query_result(row, "")).collect()
}
