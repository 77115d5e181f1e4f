//! Moving the objects of a schema into another one with `ALTER … SET SCHEMA`.

use sea_orm::ConnectionTrait;
use tenantry_registry::SchemaName;

use super::AdoptError;
use crate::{
    DynMigrator, Target,
    provision::rename_in_search_paths,
    sql::query::{column, execute_batch, rows},
};

/// The objects of the schema $1 that have to be moved: all but those of extensions, and sequences of
/// columns, which follow their tables. Indexes, constraints, triggers and row types have no schema of
/// their own.
const MEMBERS: &str = "
    member AS MATERIALIZED (
        SELECT d.classid, d.objid, it.type, it.identity
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_depend d
            ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid
        CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) it
        WHERE n.nspname = $1
        AND d.classid NOT IN ('pg_catalog.pg_extension'::regclass, 'pg_catalog.pg_default_acl'::regclass)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
            WHERE x.classid = d.classid AND x.objid = d.objid AND (x.deptype = 'e'
            OR x.refclassid = 'pg_catalog.pg_class'::regclass AND x.refobjsubid > 0
                AND x.classid = 'pg_catalog.pg_class'::regclass AND x.deptype IN ('a', 'i')))
    )";

/// Kinds of objects that have `ALTER … SET SCHEMA`, as `pg_identify_object` names them.
const MOVABLE: &str = "('table', 'foreign table', 'view', 'materialized view', 'sequence', 'type',
    'function', 'procedure', 'aggregate', 'operator', 'operator class', 'operator family', 'collation',
    'conversion', 'statistics object', 'text search configuration', 'text search dictionary',
    'text search parser', 'text search template')";

/// Returns an error if objects of the schema cannot be moved.
pub(super) async fn refuse(txn: &impl ConnectionTrait, from: &str) -> Result<(), AdoptError> {
    let sql = format!(
        "WITH {MEMBERS}
         SELECT concat_ws(' ', type, identity), CASE type
             WHEN 'publication namespace' THEN 'the publication would lose the tables; publish the tables \
                 by name'
             ELSE 'PostgreSQL cannot move it; drop it, or move it to another database' END
         FROM member WHERE type NOT IN {MOVABLE}
         UNION ALL
         SELECT format('table %s', i.inhrelid::regclass), format(
             'it is a partition or child of %s, which is in another schema; move both into one schema',
             i.inhparent::regclass)
         FROM pg_catalog.pg_inherits i
         JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')
         JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
         WHERE c.relnamespace <> p.relnamespace
         AND (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)
             IN (c.relnamespace, p.relnamespace)
         ORDER BY 1"
    );
    let found = rows(txn, sql, [from.into()]).await?;
    let objects: Result<Vec<_>, _> =
        found.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect();
    let objects = objects.map_err(|error: sea_orm::DbErr| error)?;
    match objects.is_empty() {
        true => Ok(()),
        false => Err(AdoptError::NotMovable { schema: from.to_owned(), objects }),
    }
}

/// `ALTER ROUTINE` statements that give the functions of the schema $2 the path $3 if they have the
/// server's default path with the schema $1: they were created with `SET search_path FROM CURRENT`.
const DEFAULT_PATHS: &str = r#"
    SELECT format('ALTER ROUTINE %s SET search_path = %s', p.oid::regprocedure, $3)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace,
        unnest(p.proconfig) setting
    WHERE n.nspname = $2 AND replace(setting, ' ', '') IN (
        replace('search_path="$user",' || quote_ident($1), ' ', ''),
        replace('search_path="$user","' || replace($1, '"', '""') || '"', ' ', ''))"#;

/// Moves the objects. References between them stay valid, and functions with the schema in their
/// `search_path` setting get the new name.
pub(super) async fn execute(
    txn: &impl ConnectionTrait,
    from: &str,
    to: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), AdoptError> {
    // Functions before the types in their signatures.
    let sql = format!(
        "WITH {MEMBERS}
         SELECT format('ALTER %s %s SET SCHEMA %I',
             CASE type WHEN 'statistics object' THEN 'STATISTICS' ELSE upper(type) END, identity, $2)
         FROM member WHERE type IN {MOVABLE}
         ORDER BY CASE classid WHEN 'pg_catalog.pg_class'::regclass THEN 1
             WHEN 'pg_catalog.pg_type'::regclass THEN 2 ELSE 0 END, objid"
    );
    let alter: Vec<String> = column(txn, sql, [from.into(), to.as_str().into()]).await?;
    if !alter.is_empty() {
        execute_batch(txn, &alter.join(";\n")).await?;
    }
    let path = Target::Schema(to.clone()).search_path(migrator);
    let values = [from.into(), to.as_str().into(), path.into()];
    let alter: Vec<String> = column(txn, DEFAULT_PATHS, values).await?;
    if !alter.is_empty() {
        execute_batch(txn, &alter.join(";\n")).await?;
    }
    Ok(rename_in_search_paths(txn, from, to).await?)
}
