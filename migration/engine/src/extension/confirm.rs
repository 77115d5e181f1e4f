//! Checks of installed extensions.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr};

use super::{Extension, ExtensionError};
use crate::{DynMigrator, Error, sql::query::rows};

/// Tables, views and sequences in one of the schemas $1 that belong to no extension.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN (SELECT json_array_elements_text($1::text::json))
    AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2 LIMIT 20";

/// The installed ones of the extensions $1, and whether the role may use the schema of each.
const INSTALLED: &str = "
    SELECT e.extname::text, n.nspname::text, has_schema_privilege(n.oid, 'USAGE'), current_user::text
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname IN (SELECT json_array_elements_text($1::text::json))";

/// Returns an error unless every extension of `migrator` is installed in its declared schema, and
/// these schemas contain no tables. Sends nothing if no extension is declared.
///
/// # Errors
/// [`Error::Extension`], [`Error::Database`].
pub async fn confirm_extensions(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    confirm_installed(db, migrator).await?;
    let tables = tables_in_extension_schemas(db, migrator).await?;
    match tables.into_iter().next() {
        Some((schema, tables)) => Err(ExtensionError::HoldsTables { schema, tables }.into()),
        None => Ok(()),
    }
}

/// Returns an error unless every extension is installed in its declared schema.
pub(crate) async fn confirm_installed(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    for (extension, installed) in find_installed(db, migrator).await? {
        match installed {
            None => return Err(ExtensionError::Missing { extension }.into()),
            Some(Installed { role, usable: false }) => {
                return Err(ExtensionError::NoUsage { extension, role }.into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Extension that is installed in its declared schema.
pub(super) struct Installed {
    role: String,
    usable: bool,
}

/// The declared extensions, and which of them are installed. Returns an error if one is installed in
/// another schema.
pub(super) async fn find_installed(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<(Extension, Option<Installed>)>, Error> {
    let extensions = migrator.extensions();
    if extensions.is_empty() {
        return Ok(Vec::new());
    }
    let shared = migrator.shared().map(|shared| shared.schema().as_str());
    let invalid = extensions.iter().find_map(|it| Some((it.clone(), it.invalid_reason(shared)?)));
    if let Some((extension, reason)) = invalid {
        return Err(ExtensionError::Unusable { extension, reason }.into());
    }
    let mut installed = BTreeMap::new();
    for row in rows(db, INSTALLED, [json(extensions.iter().map(Extension::name))]).await? {
        let (name, schema): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let found = Installed { usable: row.try_get_by_index(2)?, role: row.try_get_by_index(3)? };
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

/// Tables, views and sequences in the schemas of extensions that are not the extensions' own. A name
/// without a schema would find them.
pub(crate) async fn tables_in_extension_schemas(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<BTreeMap<String, Vec<String>>, DbErr> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if migrator.extensions().is_empty() {
        return Ok(tables);
    }
    for row in rows(db, TABLES, [json(migrator.extensions().iter().map(Extension::schema))]).await?
    {
        tables.entry(row.try_get_by_index(0)?).or_default().push(row.try_get_by_index(1)?);
    }
    Ok(tables)
}

fn json<'a>(names: impl Iterator<Item = &'a str>) -> sea_orm::Value {
    serde_json::Value::from_iter(names).to_string().into()
}
