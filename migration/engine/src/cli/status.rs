//! `migration status` of all tenants.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use sea_orm::DatabaseConnection;

use super::{
    args::StatusArgs,
    failure_groups::{Failure, FailureGroups},
    format::{MAX_LISTED, format_count, format_timestamp, plural},
    names::CommandNames,
    table_that_fits,
    terminal::print_json,
};
use crate::{DynMigrator, FleetStatus, SharedStatus, VersionCount, VersionStatus, fleet_status};

/// Prints the versions of all tenants. Exit status 0 if every tenant is up to date.
pub(super) async fn run(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    args: &StatusArgs,
    names: &CommandNames,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let status = fleet_status(db, migrator).await?;
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&status)?;
    } else {
        write(&mut out, &status, args.wide, names)?;
    }
    Ok(if status.is_up_to_date() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(
    out: &mut impl Write,
    status: &FleetStatus,
    wide: bool,
    names: &CommandNames,
) -> io::Result<()> {
    write_shared(out, status, names)?;
    if status.tenants == 0 {
        writeln!(out, "No tenants.")?;
        return write_dropping(out, status, names);
    }
    let width = format_count(status.tenants).to_string().len().max("TENANTS".len());
    let count = |n: usize| format!("{:>width$}", format_count(n).to_string());
    let (shown, rest) = most_numerous(&status.versions);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for version in shown {
        rows.push(vec![
            count(version.tenants),
            version.version.clone().unwrap_or_else(|| "none".to_owned()),
            format_status(version.status),
            if version.status == VersionStatus::UpToDate { String::new() } else { oldest(version) },
        ]);
    }
    if let Some(longest) = rest.iter().min_by_key(|it| it.last_changed) {
        rows.push(vec![
            count(rest.iter().map(|it| it.tenants).sum()),
            format!("{} other versions", format_count(rest.len())),
            String::new(),
            oldest(longest),
        ]);
    }
    let tenants_header = format!("{:>width$}", "TENANTS");
    let header = [&tenants_header, "VERSION", "STATE", "OLDEST"];
    writeln!(out, "{}", table_that_fits(&header, rows, wide))?;
    if !status.failed.is_empty() {
        write_failed(out, status)?;
    }
    let spares = match status.spares {
        0 => String::new(),
        1 => " (1 of them a spare)".to_owned(),
        n => format!(" ({} of them spares)", format_count(n)),
    };
    let latest = status.latest.as_deref().unwrap_or("none");
    let (up, all) = (format_count(status.up_to_date), plural(status.tenants, "tenant"));
    writeln!(out, "{up} of {all}{spares} up to date ({latest})")?;
    write_dropping(out, status, names)
}

fn write_shared(
    out: &mut impl Write,
    status: &FleetStatus,
    names: &CommandNames,
) -> io::Result<()> {
    let Some(SharedStatus { schema, version, pending }) = &status.shared else { return Ok(()) };
    let version = version.as_deref().unwrap_or("none");
    match pending.len() {
        0 => writeln!(out, "Shared tables in schema {schema}: up to date ({version})\n"),
        n => writeln!(
            out,
            "Shared tables in schema {schema}: {} behind ({version}); `{}` migrates them\n",
            format_count(n),
            names.migration("up --registry")
        ),
    }
}

/// A drop takes seconds; if it takes longer, it was interrupted.
fn write_dropping(
    out: &mut impl Write,
    status: &FleetStatus,
    names: &CommandNames,
) -> io::Result<()> {
    if status.dropping.is_empty() {
        return Ok(());
    }
    let all = status.dropping.len();
    writeln!(
        out,
        "\n{} being dropped. If a drop was interrupted, finish it with:",
        plural(all, "tenant")
    )?;
    for it in status.dropping.iter().take(MAX_LISTED) {
        let since = format_timestamp(it.since);
        let finish = names.tenant(&format!("drop {}", it.tenant));
        writeln!(out, "  {finish}    (since {since})")?;
    }
    match all.saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => writeln!(out, "  and {} more", format_count(more)),
    }
}

fn write_failed(out: &mut impl Write, status: &FleetStatus) -> io::Result<()> {
    let attempts = status.failed.iter().map(|it| it.attempts).max().unwrap_or_default();
    let plural = if attempts == 1 { "" } else { "s" };
    let last = status.failed.iter().filter_map(|it| it.failure.at).max();
    let last = last.map(|at| format!(", last {}", format_timestamp(at))).unwrap_or_default();
    let failed = format_count(status.failed.len());
    writeln!(out, "\n{failed} failed (up to {attempts} attempt{plural}{last}):")?;
    let mut groups = FailureGroups::default();
    for failed in &status.failed {
        groups.add(&Failure {
            tenant: &failed.tenant,
            schema: &failed.schema,
            migration: failed.failure.migration.as_deref(),
            sqlstate: failed.failure.sqlstate.as_deref(),
            message: &failed.failure.message,
        });
    }
    groups.write(out)?;
    writeln!(out)
}

fn format_status(standing: VersionStatus) -> String {
    match standing {
        VersionStatus::UpToDate => "up to date".to_owned(),
        VersionStatus::Behind { behind } => format!("{} behind", format_count(behind)),
        VersionStatus::Ahead => "ahead: unknown to this build".to_owned(),
    }
}

fn oldest(version: &VersionCount) -> String {
    format!("{}, last changed {}", version.oldest, format_timestamp(version.last_changed))
}

/// The versions with most tenants, newest first, and the others.
fn most_numerous(versions: &[VersionCount]) -> (Vec<&VersionCount>, Vec<&VersionCount>) {
    let mut by_size: Vec<usize> = (0..versions.len()).collect();
    by_size.sort_by_key(|index| std::cmp::Reverse(versions[*index].tenants));
    by_size.truncate(MAX_LISTED);
    let (shown, rest): (Vec<_>, Vec<_>) =
        versions.iter().enumerate().partition(|(index, _)| by_size.contains(index));
    let only = |it: Vec<(usize, _)>| it.into_iter().map(|(_, version)| version).collect();
    (only(shown), only(rest))
}
