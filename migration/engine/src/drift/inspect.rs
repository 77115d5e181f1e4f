//! Inspection of schemas, in one snapshot of the database.

use std::collections::HashMap;

use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel, QueryResult,
    TransactionTrait, Value,
};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{SchemaName, Slug, TenantId, tenant};

use super::{
    catalog::{Oid, hashes, structures},
    finding::SchemaRef,
    structure::Structure,
};
use crate::{
    DynMigrator,
    sql::{
        query::{execute, rows},
        quoted,
    },
};

/// Schemas per transaction. Each takes a lock on its migrations table, and a server with default
/// settings has a few thousand locks.
pub(super) const BATCH: usize = 500;

/// The schemas to inspect, at most [`BATCH`].
#[derive(Debug, Clone)]
pub(super) enum Selection {
    /// Schemas of tenants with these slugs.
    Slugs(Vec<Slug>),
    /// Schemas with registry rows.
    Schemas(Vec<SchemaName>),
    /// A schema that may belong to no tenant.
    Unregistered(SchemaName),
}

/// An inspected schema.
#[derive(Debug)]
pub(super) struct InspectedSchema {
    pub(super) tenant: Option<Registered>,
    pub(super) schema: SchemaName,
    /// Applied migrations.
    pub(super) records: Vec<String>,
    /// `None` if the schema does not exist, is being dropped, or could not be inspected.
    pub(super) structure: Option<Inspection>,
    /// Why it could not be inspected.
    pub(super) error: Option<String>,
    /// Whether its node cannot be reached. Then it is one of the [`DownNodes`](super::down_nodes::DownNodes).
    pub(super) unreachable: bool,
    oid: Option<Oid>,
}

/// A registry row.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) slug: Option<Slug>,
    pub(super) version: Option<String>,
    pub(super) migrations: Vec<String>,
    /// Whether the tenant is being dropped; its tables may be gone.
    pub(super) dropping: bool,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The registry row.
    Row,
    Hash,
    Full,
}

/// The hash of a structure, or all of it.
#[derive(Debug)]
pub(super) enum Inspection {
    Hash(String),
    Full(Structure),
}

/// Inspects these schemas in one snapshot.
pub(super) async fn inspect_once(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    selection: &Selection,
    depth: Depth,
) -> Result<Vec<InspectedSchema>, DbErr> {
    let txn = db
        .begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly))
        .await?;
    // Citus warns for each connection to a node that fails, and the error says the same.
    let settings = "SELECT set_config('lock_timeout', '10s', true),
        set_config('client_min_messages', 'error', true)";
    execute(&txn, settings, []).await?;
    let table = migrator.migration_table_name().to_string();
    let mut inspected = Vec::new();
    let mut recording = Vec::new();
    for row in select(&txn, selection, &table).await? {
        let one = InspectedSchema::from_row(&row)?;
        if row.try_get("", "records")? {
            recording.push(inspected.len());
        }
        inspected.push(one);
    }
    if depth == Depth::Row {
        txn.rollback().await?;
        return Ok(inspected);
    }
    read_records(&txn, &table, &mut inspected, &recording).await?;
    let numbers: Vec<Oid> = inspected.iter().filter_map(|one| one.oid).collect();
    let mut inspections: HashMap<Oid, Inspection> = if depth == Depth::Full {
        let all = structures(&txn, &numbers).await?.into_iter();
        all.map(|(oid, structure)| (oid, Inspection::Full(structure))).collect()
    } else {
        let all = hashes(&txn, &numbers).await?.into_iter();
        all.map(|(oid, hash)| (oid, Inspection::Hash(hash))).collect()
    };
    txn.rollback().await?;
    for one in &mut inspected {
        one.structure = one.oid.and_then(|oid| inspections.remove(&oid));
    }
    Ok(inspected)
}

/// Registry rows with their schemas; for an unregistered schema, without the row.
async fn select(
    txn: &DatabaseTransaction,
    selection: &Selection,
    table: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let json = |names: Vec<&str>| Value::from(serde_json::Value::from(names).to_string());
    let (from, value) = match selection {
        Selection::Slugs(slugs) => (
            "registry.tenants t
             WHERE t.status <> 'dropped'
             AND t.slug IN (SELECT json_array_elements_text($1::text::json))",
            json(slugs.iter().map(Slug::as_str).collect()),
        ),
        Selection::Schemas(schemas) => (
            "registry.tenants t
             WHERE t.status <> 'dropped'
             AND t.schema IN (SELECT json_array_elements_text($1::text::json))",
            json(schemas.iter().map(SchemaName::as_str).collect()),
        ),
        Selection::Unregistered(schema) => (
            "(SELECT NULL::uuid, NULL::text, $1::text, NULL::text, NULL::text[], NULL::text)
             t (id, slug, schema, schema_version, migrations, status)",
            Value::from(schema.as_str()),
        ),
    };
    let sql = format!(
        "SELECT t.id, t.slug, t.schema, t.schema_version, t.migrations, t.status,
             n.oid::bigint AS oid,
             EXISTS (SELECT FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
                 WHERE c.relname = $2 AND c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
                 AND a.attname = 'version' AND NOT a.attisdropped) AS records
         FROM (SELECT t.id, t.slug, t.schema, t.schema_version, t.migrations, t.status
               FROM {from}
               ORDER BY t.id LIMIT {BATCH}) t
         LEFT JOIN pg_catalog.pg_namespace n
             ON n.nspname = t.schema AND t.status IS DISTINCT FROM 'dropping'
         ORDER BY t.id"
    );
    rows(txn, sql, [value, table.into()]).await
}

/// Reads the migrations tables of the schemas in `recording` in one statement.
async fn read_records(
    txn: &DatabaseTransaction,
    table: &str,
    inspected: &mut [InspectedSchema],
    recording: &[usize],
) -> Result<(), DbErr> {
    let table = quoted(table);
    let parts = recording.iter().map(|&number| {
        let schema = inspected[number].schema.quoted();
        format!("SELECT {number}, version::text FROM {schema}.{table}")
    });
    let sql = parts.collect::<Vec<_>>().join("\nUNION ALL ");
    if sql.is_empty() {
        return Ok(());
    }
    for row in rows(txn, sql, []).await? {
        let number: i32 = row.try_get_by_index(0)?;
        if let Some(one) = usize::try_from(number).ok().and_then(|number| inspected.get_mut(number))
        {
            one.records.push(row.try_get_by_index(1)?);
        }
    }
    Ok(())
}

impl Selection {
    pub(super) fn one_by_one(self) -> Vec<Self> {
        match self {
            Self::Slugs(slugs) => slugs.into_iter().map(|it| Self::Slugs(vec![it])).collect(),
            Self::Schemas(them) => them.into_iter().map(|it| Self::Schemas(vec![it])).collect(),
            Self::Unregistered(_) => vec![self],
        }
    }
}

impl InspectedSchema {
    pub(super) fn subject(&self) -> SchemaRef {
        SchemaRef {
            slug: self.tenant.as_ref().and_then(|tenant| tenant.slug.clone()),
            schema: self.schema.clone(),
        }
    }

    fn from_row(row: &QueryResult) -> Result<Self, DbErr> {
        let id: Option<TenantId> = row.try_get("", "id")?;
        let (slug, version) = (row.try_get("", "slug")?, row.try_get("", "schema_version")?);
        let migrations: Option<Vec<String>> = row.try_get("", "migrations")?;
        let migrations = migrations.unwrap_or_default();
        let status: Option<String> = row.try_get("", "status")?;
        let dropping = status.as_deref() == Some(tenant::Status::Dropping.as_str());
        Ok(Self {
            tenant: id.map(|_| Registered { slug, version, migrations, dropping }),
            schema: row.try_get("", "schema")?,
            records: Vec::new(),
            structure: None,
            error: None,
            unreachable: false,
            oid: row.try_get("", "oid")?,
        })
    }
}
