//! `--dry-run`: the SQL for one schema, or for one tenant of each version.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use sea_orm::DatabaseConnection;

use super::{
    format::{MAX_LISTED, plural},
    hint::with_hint,
    names::CommandNames,
    terminal::print_error,
};
use crate::{Action, DynMigrator, FleetTenant, Target, dry_run};

/// Prints the SQL for schemas.
pub(super) async fn print_schemas(
    db: &DatabaseConnection,
    schemas: &[(Target, DynMigrator)],
    action: &Action,
    names: &CommandNames,
) -> Result<ExitCode, Box<dyn Error>> {
    for (target, migrator) in schemas {
        let sql = dry_run(db, target, migrator, action).await;
        let sql = sql.map_err(|error| format!("{target}: {}", with_hint(&error, names)))?;
        print(&target.to_string(), &sql)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the SQL for tenants: of each version, that of one tenant.
pub(super) async fn print_tenants(
    db: &DatabaseConnection,
    members: Vec<FleetTenant>,
    migrator: &DynMigrator,
    action: &Action,
    names: &CommandNames,
) -> Result<ExitCode, Box<dyn Error>> {
    let groups = by_version(members);
    if groups.is_empty() {
        writeln!(io::stdout(), "-- no tenants")?;
    }
    let mut all_well = true;
    for ((version, _), members) in &groups {
        let version = version.as_deref().unwrap_or("no version");
        for member in members.iter().take(MAX_LISTED) {
            let target = Target::Schema(member.schema.clone());
            let sql = match dry_run(db, &target, migrator, action).await {
                Ok(sql) => sql,
                // Another tenant of the same version may work.
                Err(error) => {
                    print_error(format_args!("{member}: {}", with_hint(&error, names)));
                    all_well = false;
                    continue;
                }
            };
            match members.len() {
                1 => print(&format!("{member}, at {version}"), &sql)?,
                n if sql.is_empty() => {
                    writeln!(
                        io::stdout(),
                        "-- {} at {version}: nothing to do",
                        plural(n, "tenant")
                    )?;
                }
                n => {
                    let title = format!(
                        "{} at {version}: SQL for {member}; for the others only the schema name \
                         differs",
                        plural(n, "tenant")
                    );
                    print(&title, &sql)?;
                }
            }
            break;
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Groups tenants by version and set of applied migrations: of two tenants at the same version, one
/// may lack an older migration.
pub(super) fn by_version(
    members: Vec<FleetTenant>,
) -> BTreeMap<(Option<String>, String), Vec<FleetTenant>> {
    let mut groups: BTreeMap<_, Vec<FleetTenant>> = BTreeMap::new();
    for member in members {
        let key = (member.version.clone(), member.set.clone());
        groups.entry(key).or_default().push(member);
    }
    groups
}

pub(super) fn print(title: &str, sql: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "-- {title}")?;
    if sql.is_empty() {
        writeln!(out, "-- nothing to do")?;
    }
    for statement in sql {
        writeln!(out, "{statement};")?;
    }
    Ok(())
}
