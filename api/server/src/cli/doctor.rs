//! `doctor`: what is half done or stray.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use local_postgres::Access;
use serde::Serialize;
use tenantry::{Diagnosis, DoctorOptions, Finding, Fixed, Remedy, Tenancy};
use tenantry_migrate::cli::{format::plural, seconds, terminal::print_json};

use super::{
    connect::{Connector, user},
    error::{Error, shell_quoted},
    options::TenancyArgs,
};

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Fix what is safe to fix: no data is deleted that was not to be deleted already. Everything
    /// else is only named.
    #[arg(long)]
    fix: bool,

    /// Ignore drops that were started less long ago, in seconds: they may be in progress.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    min_age: Duration,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) tenancy: TenancyArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    findings: &'a [Shown<'a>],
    complete: bool,
}

/// A finding with the command that helps.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    command: Option<String>,
    /// Whether `--fix` has fixed it, or would.
    fixed: bool,
    fixable: bool,
    error: Option<&'a str>,
}

pub(super) async fn run(
    args: DoctorArgs,
    connector: Connector,
    application: &str,
) -> Result<ExitCode, Error> {
    let options = TenancyArgs { spares: 0, ..args.tenancy.clone() };
    let connected = connector.connect(&options, Access::Shared, user()).await?;
    let result = examine(&connected.tenancy, &args, application).await;
    connected.tenancy.close().await;
    result
}

async fn examine(
    tenancy: &Tenancy,
    args: &DoctorArgs,
    application: &str,
) -> Result<ExitCode, Error> {
    let diagnosis = tenancy.doctor(&DoctorOptions { min_age: args.min_age }).await?;
    let fixed = if args.fix { tenancy.fix(&diagnosis).await } else { Vec::new() };
    let shown = shown(&diagnosis, &fixed, application);
    if args.json {
        print_json(&Report { findings: &shown, complete: diagnosis.complete })?;
    } else {
        print(&mut io::stdout().lock(), &shown, diagnosis.complete)?;
    }
    let is_well = diagnosis.complete && shown.iter().all(|it| it.fixed);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown<'a>(diagnosis: &'a Diagnosis, fixed: &'a [Fixed], application: &str) -> Vec<Shown<'a>> {
    let findings = diagnosis.findings.iter();
    findings
        .map(|finding| {
            let fixed = fixed.iter().find(|it| it.finding == *finding);
            Shown {
                finding,
                command: command(&finding.remedy, application),
                fixed: fixed.is_some_and(|it| it.error.is_none()),
                fixable: finding.remedy.is_safe(),
                error: fixed.and_then(|it| it.error.as_deref()),
            }
        })
        .collect()
}

fn print(out: &mut impl Write, all: &[Shown<'_>], complete: bool) -> io::Result<()> {
    for Shown { finding, command, fixed, fixable, error } in all {
        match finding.tenant.as_deref().or(finding.schema.as_deref()) {
            Some(subject) => writeln!(out, "{subject}: {}", finding.message)?,
            None => writeln!(out, "{}", finding.message)?,
        }
        match (fixed, error, command) {
            (true, ..) => writeln!(out, "    fixed")?,
            (_, Some(error), _) => writeln!(out, "    not fixed: {error}")?,
            (_, _, Some(command)) => {
                writeln!(out, "    {command}{}", if *fixable { "    (or --fix)" } else { "" })?;
            }
            (..) if *fixable => writeln!(out, "    --fix removes it")?,
            (..) => {}
        }
    }
    if !complete {
        writeln!(out, "There may be more; only the first of each kind are listed.")?;
    }
    let left = all.iter().filter(|it| !it.fixed).count();
    match (all.len() - left, left) {
        (0, 0) => writeln!(out, "No findings."),
        (fixed, 0) => writeln!(out, "{} fixed.", plural(fixed, "finding")),
        (0, left) => writeln!(out, "{}.", plural(left, "finding")),
        (fixed, left) => writeln!(out, "{} fixed, {left} left.", plural(fixed, "finding")),
    }
}

/// The command, or the SQL, that helps.
fn command(remedy: &Remedy, application: &str) -> Option<String> {
    Some(match remedy {
        Remedy::FinishDrop { tenant } => format!("{application} tenant drop {tenant}"),
        Remedy::Purge { tenant } => format!("{application} tenant purge {tenant}"),
        Remedy::RestoreOrDrop { tenant } => {
            format!("restore its schema from a backup, or: {application} tenant drop {tenant}")
        }
        Remedy::AdoptOrDrop { schema } => {
            format!("{application} tenant adopt SLUG --schema {}", shell_quoted(schema))
        }
        Remedy::Migrate { tenant: Some(tenant) } => {
            format!("{application} migration up --tenant {tenant}")
        }
        Remedy::Migrate { tenant: None } => format!("{application} migration up --all"),
        Remedy::UpdateProgram => "use a newer program".to_owned(),
        Remedy::Sql { sql } => format!("in psql: {sql}"),
        Remedy::Inspect { .. } => "look at it: it is never removed by --fix".to_owned(),
        _ => return None,
    })
}
