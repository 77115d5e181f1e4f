//! Who a fleet run works on.

use std::{collections::HashSet, fmt};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, Select, Statement,
    sea_query::{Expr, extension::postgres::PgExpr},
};
use tenantry_registry::{SchemaName, Slug, TenantId, tenant};

use super::Canary;
use crate::{DbErrorKind, DynMigrator, Error, lock::PROVISIONING};

/// A tenant or a spare, as the registry had it when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetTenant {
    /// Key of the tenant.
    pub id: TenantId,
    /// Name of the tenant; none for a spare.
    pub slug: Option<Slug>,
    /// Schema of its tables.
    pub schema: SchemaName,
    /// Newest migration of its schema before which none is missing.
    pub version: Option<String>,
    /// Stands for the set of its migrations.
    pub(crate) set: String,
}

/// Which tenants are worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSelection {
    /// Every tenant and every spare, but for those that are being dropped.
    All,
    /// Those of them whose last migration failed.
    LastMigrationFailed,
    /// These.
    Only(Vec<FleetTenant>),
}

impl fmt::Display for FleetTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.slug {
            Some(slug) => slug.fmt(f),
            None => self.schema.fmt(f),
        }
    }
}

type Row = (TenantId, Option<Slug>, SchemaName, Option<String>, String);

impl From<Row> for FleetTenant {
    fn from((id, slug, schema, version, set): Row) -> Self {
        Self { id, slug, schema, version, set }
    }
}

/// The names themselves are many.
const SET: &str = r#"md5("migrations"::text)"#;

const COLUMNS: [tenant::Column; 4] = [
    tenant::Column::Id,
    tenant::Column::Slug,
    tenant::Column::Schema,
    tenant::Column::SchemaVersion,
];

/// The members of a fleet, in the order of their creation.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::Database`].
pub async fn fleet_tenants(
    db: &DatabaseConnection,
    who: &TenantSelection,
) -> Result<Vec<FleetTenant>, Error> {
    if let TenantSelection::Only(members) = who {
        return Ok(members.clone());
    }
    let mut query = present();
    if *who == TenantSelection::LastMigrationFailed {
        query = query.filter(tenant::Column::MigrationError.is_not_null());
    }
    fetch(db, query).await
}

/// The tenants of these slugs, as far as there are any, in the order of their creation.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::Database`].
pub async fn tenants_by_slug(
    db: &DatabaseConnection,
    slugs: &[Slug],
) -> Result<Vec<FleetTenant>, Error> {
    fetch(db, present().filter(tenant::Column::Slug.is_in(slugs.to_vec()))).await
}

/// All that are not dropped, nor being dropped.
fn present() -> Select<tenant::Entity> {
    tenant::Entity::find()
        .select_only()
        .columns(COLUMNS)
        .expr(Expr::cust(SET))
        .filter(tenant::Column::Status.is_not_in(tenant::Status::GONE))
        .order_by_asc(tenant::Column::Id)
}

async fn fetch(
    db: &DatabaseConnection,
    query: Select<tenant::Entity>,
) -> Result<Vec<FleetTenant>, Error> {
    let rows = query.into_tuple::<Row>().all(db).await.map_err(registry)?;
    Ok(rows.into_iter().map(FleetTenant::from).collect())
}

/// How many there are, and those that do not have exactly the migrations of `migrator`, or whose
/// last migration failed, be it one that went back from the newest: one query.
pub(super) async fn behind(
    db: &DatabaseConnection,
    who: &TenantSelection,
    migrator: &DynMigrator,
) -> Result<(usize, Vec<FleetTenant>), Error> {
    let (names, _) = migrator.all_applied();
    // A row comes back also when nobody is behind: the number alone.
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        r#"SELECT "all"."count", t."id", t."slug", t."schema", t."schema_version",
               md5(t."migrations"::text)
           FROM (SELECT count(*) FROM "registry"."tenants"
                 WHERE "status" NOT IN ('dropping', 'dropped')
                 AND ("migration_error" IS NOT NULL OR NOT $2)) AS "all"
           LEFT JOIN "registry"."tenants" t
             ON t."status" NOT IN ('dropping', 'dropped')
             AND (t."migration_error" IS NOT NULL
                OR NOT $2 AND (t."schema_version" IS DISTINCT FROM $1
                   OR t."migrations" <> $3 AND t."schema_version" = ANY (t."migrations")))
           ORDER BY t."id""#,
        [
            migrator.latest().into(),
            (*who == TenantSelection::LastMigrationFailed).into(),
            names.into(),
        ],
    );
    let rows = db.query_all_raw(statement).await.map_err(registry)?;
    let (mut all, mut behind) = (0, Vec::new());
    for row in rows {
        all = row.try_get_by_index::<i64>(0)? as usize;
        if row.try_get_by_index::<Option<TenantId>>(1)?.is_some() {
            behind.push(FleetTenant {
                id: row.try_get_by_index(1)?,
                slug: row.try_get_by_index(2)?,
                schema: row.try_get_by_index(3)?,
                version: row.try_get_by_index(4)?,
                set: row.try_get_by_index(5)?,
            });
        }
    }
    Ok((all, behind))
}

/// Waits for the tenants that are being created at this moment, so that they are seen.
pub(super) async fn provisioned(db: &DatabaseConnection) -> Result<(), Error> {
    let wait = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        [PROVISIONING.into()],
    );
    // A transaction of its own: the lock is let go as soon as it was had.
    db.execute_raw(wait).await?;
    Ok(())
}

/// Takes out of `members` those who go first.
pub(super) async fn canaries(
    db: &DatabaseConnection,
    canary: &Canary,
    members: &mut Vec<FleetTenant>,
) -> Result<Vec<FleetTenant>, Error> {
    match canary {
        Canary::Number(number) => Ok(members.drain(..members.len().min(*number)).collect()),
        Canary::Tag(tag) => {
            let tagged = serde_json::json!({ "tags": [tag] });
            let ids: HashSet<TenantId> = tenant::Entity::find()
                .select_only()
                .column(tenant::Column::Id)
                .filter(Expr::col(tenant::Column::Metadata).contains(tagged))
                .filter(tenant::Column::Status.is_not_in(tenant::Status::GONE))
                .into_tuple()
                .all(db)
                .await?
                .into_iter()
                .collect();
            // Who has been migrated before may have it; if nobody has, it is misspelt.
            if ids.is_empty() {
                return Err(Error::NoCanary { tag: tag.clone() });
            }
            Ok(members.extract_if(.., |member| ids.contains(&member.id)).collect())
        }
    }
}

/// A table that is not there is a registry that is not there.
pub(crate) fn registry(error: DbErr) -> Error {
    match DbErrorKind::of(&error) {
        DbErrorKind::UndefinedTable => Error::MissingRegistry,
        _ => error.into(),
    }
}
