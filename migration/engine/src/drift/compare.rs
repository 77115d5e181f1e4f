//! Compares a schema with the reference of its version.

use sea_orm_migration::MigratorTraitSelf;

use super::{
    Change,
    diff::diff,
    inspect::{InspectedSchema, Inspection},
    reference::{ReferenceError, References},
    structure::CatalogEntry,
};
use crate::{DynMigrator, Error};

/// Whether a schema matches the reference. See [`difference`] for the differences.
pub(super) async fn matches_reference(
    inspected: &InspectedSchema,
    names: &[String],
    references: &mut References<'_>,
) -> Result<bool, Error> {
    let Some(Inspection::Hash(hash)) = &inspected.structure else { return Ok(false) };
    let applied = applied(inspected, names);
    let wrong = wrong_version(inspected, names).or_else(|| wrong_set(inspected));
    if applied.len() != inspected.records.len() || wrong.is_some() {
        return Ok(false);
    }
    let reference = references.get(&applied).await?;
    Ok(reference.is_ok_and(|it| it.hash.as_ref() == Some(hash)))
}

/// The differences between a fully inspected schema and its reference, or why there is no
/// reference.
///
/// The reference is that of the migrations in its migrations table. If the registry has another
/// version, the migrations table may be wrong instead of the structure: the explanation with fewer
/// differences is returned.
pub(super) async fn difference(
    inspected: &InspectedSchema,
    migrator: &DynMigrator,
    references: &mut References<'_>,
) -> Result<Result<Vec<Change>, ReferenceError>, Error> {
    let Some(Inspection::Full(structure)) = &inspected.structure else { return Ok(Ok(Vec::new())) };
    let names = migrator.names();
    let mut found = structure.clone();
    found.extend(inspected.records.iter().map(|name| record(migrator, name, names.contains(name))));
    let mut against =
        async |applied: &[String]| -> Result<Result<Vec<Change>, ReferenceError>, Error> {
            let reference = references.get(applied).await?;
            Ok(reference.map(|reference| {
                let mut expected = reference.structure(&inspected.schema);
                expected.extend(applied.iter().map(|name| record(migrator, name, true)));
                diff(&expected, &reference.comparable(&inspected.schema, found.clone()))
            }))
        };
    let mut changes = match against(&applied(inspected, &names)).await? {
        Ok(changes) => changes,
        unbuilt => return Ok(unbuilt),
    };
    let Some(wrong) = wrong_version(inspected, &names) else {
        if changes.is_empty() {
            changes.extend(wrong_set(inspected));
        }
        return Ok(Ok(changes));
    };
    changes.push(wrong);
    if let Some(steps) = registered(inspected).and_then(|version| up_to(version, &names)) {
        let others = against(&names[..steps]).await?.unwrap_or_default();
        if !others.is_empty() && others.len() <= changes.len() {
            return Ok(Ok(others));
        }
    }
    Ok(Ok(changes))
}

/// The registry has another version than the migrations table. A version that is in the table but
/// unknown to this build is from a newer build.
fn wrong_version(inspected: &InspectedSchema, names: &[String]) -> Option<Change> {
    let version = registered(inspected)?;
    let own = names.iter().take_while(|name| inspected.records.contains(name)).last();
    let newer = version.is_some_and(|version| {
        !names.iter().any(|name| name == version)
            && inspected.records.iter().any(|it| it == version)
    });
    if version == own.map(String::as_str) || newer {
        return None;
    }
    let text = |version: Option<&str>| version.unwrap_or("none").to_owned();
    Some(Change::Changed {
        object: "registry".to_owned(),
        name: "schema_version".to_owned(),
        expected: text(own.map(String::as_str)),
        found: text(version),
    })
}

/// The version in the registry is right, but its set of migrations is not.
fn wrong_set(inspected: &InspectedSchema) -> Option<Change> {
    let row = inspected.tenant.as_ref()?;
    let mut records = inspected.records.clone();
    records.sort_unstable();
    let knows_set = row.version.as_ref().is_some_and(|version| row.migrations.contains(version));
    if !knows_set || row.migrations == records {
        return None;
    }
    Some(Change::Changed {
        object: "registry".to_owned(),
        name: "migrations".to_owned(),
        expected: records.join(" "),
        found: row.migrations.join(" "),
    })
}

/// The applied migrations that this build has, oldest first.
pub(super) fn applied(inspected: &InspectedSchema, names: &[String]) -> Vec<String> {
    names.iter().filter(|name| inspected.records.contains(name)).cloned().collect()
}

/// The number of migrations up to a version, if this build has it.
fn up_to(version: Option<&str>, names: &[String]) -> Option<usize> {
    match version {
        None => Some(0),
        Some(version) => names.iter().position(|name| name == version).map(|at| at + 1),
    }
}

/// The version in the registry, if the schema has a row.
fn registered(inspected: &InspectedSchema) -> Option<Option<&str>> {
    inspected.tenant.as_ref().map(|tenant| tenant.version.as_deref())
}

/// An applied migration, as an entry of the structure.
fn record(migrator: &DynMigrator, name: &str, known: bool) -> CatalogEntry {
    let table = migrator.migration_table_name();
    CatalogEntry {
        kind: "migration".to_owned(),
        name: name.to_owned(),
        parent: Some(format!("column {table}.version")),
        definition: if known { "applied" } else { "applied, unknown to this build" }.to_owned(),
    }
}
