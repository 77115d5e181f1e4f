//! `status` and `list` of schemas one by one, as the schemas themselves have it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use sea_orm::DatabaseConnection;
use sea_orm_migration::MigratorTraitSelf;
use serde::Serialize;

use super::{table, terminal::print_error};
use crate::{DynMigrator, MigrationState, Target, state};

/// The states of some schemas.
pub(super) struct SchemaStatuses {
    found: Vec<Found>,
    failed: bool,
}

#[derive(Serialize)]
struct Found {
    /// Slug of the tenant, or else the schema.
    name: String,
    schema: String,
    applied: Vec<String>,
    pending: Vec<String>,
}

impl SchemaStatuses {
    /// Looks at each; one that cannot be looked at is named.
    pub(super) async fn fetch(
        db: &DatabaseConnection,
        named: Vec<(String, Target)>,
        migrator: &DynMigrator,
    ) -> Self {
        let mut states = Self { found: Vec::new(), failed: false };
        for (name, target) in named {
            match state(db, &target, migrator).await {
                Ok(MigrationState { applied, pending }) => {
                    let schema = target.name().to_owned();
                    states.found.push(Found { name, schema, applied, pending });
                }
                Err(error) => {
                    print_error(&format_args!("{name}: {error}"));
                    states.failed = true;
                }
            }
        }
        states
    }

    /// One line for each schema; status 1 unless all are up to date.
    pub(super) fn status(&self, json: bool) -> io::Result<ExitCode> {
        let header = vec!["TENANT", "VERSION", "APPLIED", "PENDING"];
        let rows = self.found.iter().map(|it| {
            let version = it.applied.last().cloned().unwrap_or_else(|| "none".to_owned());
            vec![it.name.clone(), version, it.applied.len().to_string(), it.pending.join(" ")]
        });
        self.write(json, header, rows.collect())?;
        let up_to_date = self.found.iter().all(|it| it.pending.is_empty());
        Ok(if up_to_date && !self.failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// One line for each migration of each schema.
    pub(super) fn list(&self, json: bool) -> io::Result<ExitCode> {
        let mut rows = Vec::new();
        for Found { name, applied, pending, .. } in &self.found {
            let mut add = |migration: &String, state: &str| {
                rows.push(vec![name.clone(), migration.clone(), state.to_owned()]);
            };
            applied.iter().for_each(|migration| add(migration, "applied"));
            pending.iter().for_each(|migration| add(migration, "pending"));
        }
        self.write(json, vec!["TENANT", "MIGRATION", "STATE"], rows)?;
        Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn write(&self, json: bool, header: Vec<&str>, rows: Vec<Vec<String>>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, &self.found)?;
            return writeln!(out);
        }
        if rows.is_empty() && !self.failed {
            return writeln!(out, "there are no tenants");
        }
        if rows.is_empty() { Ok(()) } else { writeln!(out, "{}", table(header, rows)) }
    }
}

/// A migration, and what it means for those who run it.
#[derive(Serialize)]
struct Listed {
    name: String,
    /// Runs outside a transaction.
    alone: bool,
    /// Stops programs without it.
    breaking: bool,
}

/// The migrations that the program has.
pub(super) fn migrations(migrator: &DynMigrator, json: bool) -> io::Result<ExitCode> {
    let listed = migrator.migrations().into_iter().map(|migration| Listed {
        name: migration.name().to_owned(),
        alone: migration.use_transaction() == Some(false),
        breaking: migrator.breaking().contains(&migration.name()),
    });
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &listed.collect::<Vec<_>>())?;
        writeln!(out)?;
    } else {
        let rows = listed.map(|it| {
            let flags = [(it.alone, "alone"), (it.breaking, "breaking")];
            let flags = flags.into_iter().filter_map(|(set, flag)| set.then_some(flag));
            vec![it.name, flags.collect::<Vec<_>>().join(", ")]
        });
        writeln!(out, "{}", table(Vec::new(), rows))?;
    }
    Ok(ExitCode::SUCCESS)
}
