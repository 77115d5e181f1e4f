use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Extension, ExtensionError};
use crate::{DynMigrator, Error};

/// Tables, views and sequences in one of the schemas $1 that belong to no extension.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN (SELECT json_array_elements_text($1::text::json))
    AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2 LIMIT 20";

/// The extensions $1 that are installed, and whether the schema of each may be used.
const INSTALLED: &str = "
    SELECT e.extname::text, n.nspname::text, has_schema_privilege(n.oid, 'USAGE'), current_user::text
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname IN (SELECT json_array_elements_text($1::text::json))";

/// Refuses unless every extension of `migrator` is installed in the schema that it declares, and
/// these schemas hold no tables. Where none is declared nothing is asked.
///
/// # Errors
/// [`Error::Extension`], [`Error::Database`].
pub async fn confirm_extensions(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    confirm_installed(db, migrator).await?;
    let tables = tables_beside(db, migrator).await?;
    match tables.into_iter().next() {
        Some((schema, tables)) => Err(ExtensionError::HoldsTables { schema, tables }.into()),
        None => Ok(()),
    }
}

/// Refuses unless every extension is installed where it should be.
pub(crate) async fn confirm_installed(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    for (extension, found) in look(db, migrator).await? {
        match found {
            None => return Err(ExtensionError::Missing { extension }.into()),
            Some(Found { role, usable: false }) => {
                return Err(ExtensionError::NoUsage { extension, role }.into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// An extension that is installed in its schema.
pub(super) struct Found {
    role: String,
    usable: bool,
}

/// The declared extensions, and which of them are installed. Refuses one that is elsewhere.
pub(super) async fn look(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<(Extension, Option<Found>)>, Error> {
    let extensions = migrator.extensions();
    if extensions.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((extension, reason)) =
        extensions.iter().find_map(|it| Some((it.clone(), it.invalid_reason()?)))
    {
        return Err(ExtensionError::Unusable { extension, reason }.into());
    }
    let mut installed = BTreeMap::new();
    for row in ask(db, INSTALLED, extensions.iter().map(Extension::name)).await? {
        let (name, schema): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let found = Found { usable: row.try_get_by_index(2)?, role: row.try_get_by_index(3)? };
        installed.insert(name, (schema, found));
    }
    let mut all = Vec::with_capacity(extensions.len());
    for extension in extensions.iter().cloned() {
        match installed.remove(extension.name()) {
            Some((found, _)) if found != extension.schema() => {
                return Err(ExtensionError::Elsewhere { extension, found }.into());
            }
            other => all.push((extension, other.map(|(_, found)| found))),
        }
    }
    Ok(all)
}

/// What schemas of extensions hold that is not the extensions' own and that a name without a
/// schema finds: tables, views, sequences.
pub(crate) async fn tables_beside(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<BTreeMap<String, Vec<String>>, DbErr> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if migrator.extensions().is_empty() {
        return Ok(tables);
    }
    for row in ask(db, TABLES, migrator.extensions().iter().map(Extension::schema)).await? {
        tables.entry(row.try_get_by_index(0)?).or_default().push(row.try_get_by_index(1)?);
    }
    Ok(tables)
}

async fn ask<'a>(
    db: &impl ConnectionTrait,
    sql: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<sea_orm::QueryResult>, DbErr> {
    let names = serde_json::Value::from_iter(names).to_string();
    db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [names.into()])).await
}
