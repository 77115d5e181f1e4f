//! Who a fleet run works on.

use std::{collections::HashSet, fmt};

use entity::registry::{SchemaName, Slug, TenantId, tenant};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, Select, Statement,
    sea_query::{Expr, extension::postgres::PgExpr},
};

use super::Canary;
use crate::{Error, Fault, claim::PROVISIONING};

/// A tenant or a spare, as the registry had it when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Key of the tenant.
    pub id: TenantId,
    /// Name of the tenant; none for a spare.
    pub slug: Option<Slug>,
    /// Schema of its tables.
    pub schema: SchemaName,
    /// Newest migration of its schema.
    pub version: Option<String>,
}

/// Which tenants are worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Every tenant and every spare, but for those that are being dropped.
    All,
    /// Those of them whose last migration failed.
    Failed,
    /// These.
    These(Vec<Member>),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.slug {
            Some(slug) => slug.fmt(f),
            None => self.schema.fmt(f),
        }
    }
}

type Row = (TenantId, Option<Slug>, SchemaName, Option<String>);

impl From<Row> for Member {
    fn from((id, slug, schema, version): Row) -> Self {
        Self { id, slug, schema, version }
    }
}

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
pub async fn members(db: &DatabaseConnection, who: &Who) -> Result<Vec<Member>, Error> {
    if let Who::These(members) = who {
        return Ok(members.clone());
    }
    let mut query = present();
    if *who == Who::Failed {
        query = query.filter(tenant::Column::MigrationError.is_not_null());
    }
    fetch(db, query).await
}

/// The tenants of these slugs, as far as there are any, in the order of their creation.
pub(crate) async fn members_named(
    db: &DatabaseConnection,
    slugs: &[Slug],
) -> Result<Vec<Member>, Error> {
    fetch(db, present().filter(tenant::Column::Slug.is_in(slugs.to_vec()))).await
}

/// All that are not being dropped.
fn present() -> Select<tenant::Entity> {
    tenant::Entity::find()
        .select_only()
        .columns(COLUMNS)
        .filter(tenant::Column::Status.ne(tenant::Status::Dropping))
        .order_by_asc(tenant::Column::Id)
}

async fn fetch(
    db: &DatabaseConnection,
    query: Select<tenant::Entity>,
) -> Result<Vec<Member>, Error> {
    let rows = query.into_tuple::<Row>().all(db).await.map_err(registry)?;
    Ok(rows.into_iter().map(Member::from).collect())
}

/// How many there are, and those whose version is not `latest` or whose last migration failed, be
/// it one that went back from `latest`: one query.
pub(super) async fn behind(
    db: &DatabaseConnection,
    who: &Who,
    latest: Option<String>,
) -> Result<(usize, Vec<Member>), Error> {
    // A row comes back also when nobody is behind: the number alone.
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        r#"SELECT "all"."count", t."id", t."slug", t."schema", t."schema_version"
           FROM (SELECT count(*) FROM "registry"."tenants"
                 WHERE "status" <> 'dropping' AND ("migration_error" IS NOT NULL OR NOT $2)) AS "all"
           LEFT JOIN "registry"."tenants" t
             ON t."status" <> 'dropping' AND (t."migration_error" IS NOT NULL
                OR NOT $2 AND t."schema_version" IS DISTINCT FROM $1)
           ORDER BY t."id""#,
        [latest.into(), (*who == Who::Failed).into()],
    );
    let rows = db.query_all_raw(statement).await.map_err(registry)?;
    let (mut all, mut behind) = (0, Vec::new());
    for row in rows {
        all = row.try_get_by_index::<i64>(0)? as usize;
        if row.try_get_by_index::<Option<TenantId>>(1)?.is_some() {
            behind.push(Member {
                id: row.try_get_by_index(1)?,
                slug: row.try_get_by_index(2)?,
                schema: row.try_get_by_index(3)?,
                version: row.try_get_by_index(4)?,
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
    members: &mut Vec<Member>,
) -> Result<Vec<Member>, Error> {
    match canary {
        Canary::Number(number) => Ok(members.drain(..members.len().min(*number)).collect()),
        Canary::Tag(tag) => {
            let tagged = serde_json::json!({ "tags": [tag] });
            let ids: HashSet<TenantId> = tenant::Entity::find()
                .select_only()
                .column(tenant::Column::Id)
                .filter(Expr::col(tenant::Column::Metadata).contains(tagged))
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
    match Fault::of(&error) {
        Fault::Missing => Error::MissingRegistry,
        _ => error.into(),
    }
}
