//! `status` and `list` of single schemas, read from their migrations tables.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use sea_orm::DatabaseConnection;
use sea_orm_migration::MigratorTraitSelf;
use serde::Serialize;

use super::{
    args::StatusArgs,
    hint::with_hint,
    names::CommandNames,
    table, table_that_fits,
    terminal::{print_error, print_json},
};
use crate::{DynMigrator, MigrationState, Target, state};

/// Migration states of schemas.
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
    /// Reads each schema. A schema that cannot be read is reported.
    pub(super) async fn fetch(
        db: &DatabaseConnection,
        named: impl Iterator<Item = (String, Target, DynMigrator)>,
        names: &CommandNames,
    ) -> Self {
        let mut states = Self { found: Vec::new(), failed: false };
        for (name, target, migrator) in named {
            match state(db, &target, &migrator).await {
                Ok(MigrationState { applied, pending }) => {
                    let schema = target.name().to_owned();
                    states.found.push(Found { name, schema, applied, pending });
                }
                Err(error) => {
                    print_error(format_args!("{name}: {}", with_hint(&error, names)));
                    states.failed = true;
                }
            }
        }
        states
    }

    /// Prints a line for each schema. Exit status 1 unless all are up to date.
    pub(super) fn status(&self, args: &StatusArgs) -> io::Result<ExitCode> {
        let header = ["TENANT", "VERSION", "APPLIED", "PENDING"];
        let rows = self.found.iter().map(|it| {
            let version = it.applied.last().cloned().unwrap_or_else(|| "none".to_owned());
            vec![it.name.clone(), version, it.applied.len().to_string(), it.pending.join(" ")]
        });
        self.write(args, &header, rows.collect())?;
        let up_to_date = self.found.iter().all(|it| it.pending.is_empty());
        Ok(if up_to_date && !self.failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Prints a line for each migration of each schema.
    pub(super) fn list(&self, args: &StatusArgs) -> io::Result<ExitCode> {
        let mut rows = Vec::new();
        for Found { name, applied, pending, .. } in &self.found {
            let mut add = |migration: &String, state: &str| {
                rows.push(vec![name.clone(), migration.clone(), state.to_owned()]);
            };
            applied.iter().for_each(|migration| add(migration, "applied"));
            pending.iter().for_each(|migration| add(migration, "pending"));
        }
        self.write(args, &["TENANT", "MIGRATION", "STATE"], rows)?;
        Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn write(&self, args: &StatusArgs, header: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if args.json {
            return print_json(&self.found);
        }
        if rows.is_empty() && !self.failed {
            return writeln!(out, "No tenants.");
        }
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "{}", table_that_fits(header, rows, args.wide))
    }
}

/// A migration and its flags.
#[derive(Serialize)]
struct Listed {
    name: String,
    /// Runs outside a transaction.
    non_transactional: bool,
    /// Listed in `breaking()`: programs without it stop serving the tenant.
    breaking: bool,
}

/// Prints the migrations of this program.
pub(super) fn migrations(migrator: &DynMigrator, json: bool) -> io::Result<ExitCode> {
    let listed = migrator.migrations().into_iter().map(|migration| Listed {
        name: migration.name().to_owned(),
        non_transactional: migration.use_transaction() == Some(false),
        breaking: migrator.breaking().contains(&migration.name()),
    });
    let mut out = io::stdout().lock();
    if json {
        print_json(&listed.collect::<Vec<_>>())?;
    } else {
        let rows = listed.map(|it| {
            let flags = [(it.non_transactional, "non-transactional"), (it.breaking, "breaking")];
            let flags = flags.into_iter().filter_map(|(set, flag)| set.then_some(flag));
            vec![it.name, flags.collect::<Vec<_>>().join(", ")]
        });
        writeln!(out, "{}", table(Vec::new(), rows))?;
    }
    Ok(ExitCode::SUCCESS)
}
