//! How far all tenants are, from the registry alone: a few queries, whatever their number.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, FromQueryResult, Statement,
    prelude::DateTimeUtc,
};
use serde::{Deserialize, Serialize};

use crate::{DynMigrator, Error, fleet::registry};

/// How far all tenants and spares are, but for those that are being dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetStatus {
    /// The newest migration of this program: where all should be.
    pub latest: Option<String>,
    /// Tenants and spares.
    pub tenants: usize,
    /// Those of them at `latest`.
    pub up_to_date: usize,
    /// Those of them that are spares.
    pub spares: usize,
    /// Each version that somebody has, newest first.
    pub versions: Vec<VersionCount>,
    /// Those whose last migration failed, in the order of their creation.
    pub failed: Vec<FailedTenant>,
    /// The tenants that are being dropped, in the order of their creation. They are not counted.
    pub dropping: Vec<DroppingTenant>,
}

/// A tenant that is being dropped. If that was interrupted, dropping it again finishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct DroppingTenant {
    /// Slug of the tenant.
    pub tenant: String,
    /// Its schema.
    pub schema: String,
    /// Since when.
    pub since: DateTimeUtc,
}

/// The tenants that are at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionCount {
    /// The newest migration before which none is missing; none when there is none yet.
    pub version: Option<String>,
    /// Where that is, seen from this program.
    #[serde(flatten)]
    pub status: VersionStatus,
    /// Tenants and spares.
    pub tenants: usize,
    /// Those of them that are spares.
    pub spares: usize,
    /// The tenant whose row has not changed for the longest.
    pub oldest: String,
    /// When that row was last changed.
    pub last_changed: DateTimeUtc,
}

/// Where a version is, seen from a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum VersionStatus {
    /// At the newest migration.
    UpToDate,
    /// Migrations are missing.
    Behind {
        /// So many.
        behind: usize,
    },
    /// At a migration that the program does not have.
    Ahead,
}

/// A tenant whose last migration failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedTenant {
    /// Name of the tenant, or schema of the spare.
    pub tenant: String,
    /// Schema of its tables.
    pub schema: String,
    /// Where it is.
    pub version: Option<String>,
    /// How often it has failed since it last succeeded.
    pub attempts: i32,
    /// What failed.
    #[serde(flatten)]
    pub failure: MigrationFailure,
}

/// What `migration_error` of a tenant's row holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrationFailure {
    /// The migration, where it was one that failed.
    pub migration: Option<String>,
    /// What the server called it.
    pub sqlstate: Option<String>,
    /// Why.
    pub message: String,
    /// When.
    pub at: Option<DateTimeUtc>,
}

impl FleetStatus {
    /// Whether every tenant is where it should be.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.up_to_date == self.tenants
    }
}

/// How far all tenants are.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::Database`].
pub async fn fleet_status(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Result<FleetStatus, Error> {
    let names = migrator.names();
    let mut versions: BTreeMap<(Reverse<VersionPosition>, usize), VersionCount> = BTreeMap::new();
    for row in rows::<VersionRow>(db, VERSIONS).await.map_err(registry)? {
        let place = VersionPosition::of(row.version.as_deref(), &names);
        let missing = missing(&row, &names);
        let count = VersionCount {
            status: place.status(names.len(), missing),
            version: row.version,
            tenants: row.tenants as usize,
            spares: row.spares as usize,
            oldest: row.oldest,
            last_changed: row.last_changed,
        };
        // Sets that differ only in what this program does not know are one line.
        match versions.entry((Reverse(place), missing)) {
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
    })
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

/// A version among a program's migrations, older ones less.
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

/// How many of a program's migrations the set lacks that a version stands for. None where the
/// version alone is known.
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
        // What somebody else has written there is shown as it is.
        let failure = serde_json::from_value(error.clone()).unwrap_or_else(|_| MigrationFailure {
            message: error.to_string(),
            ..MigrationFailure::default()
        });
        Self { tenant, schema, version, attempts, failure }
    }
}

async fn rows<R: FromQueryResult>(db: &DatabaseConnection, sql: &str) -> Result<Vec<R>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|row| R::from_query_result(row, "")).collect()
}
