use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;

use super::{
    format::{format_count, plural},
    terminal::print_json,
};
use crate::{
    DynMigrator,
    connect::DatabaseArgs,
    lint::{Finding, Profile, Report, check},
};

/// `migration check`
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Rules to run: `postgres` finds what is unsafe on one PostgreSQL server; `citus` also finds
    /// what keeps a schema from moving to another node of a Citus cluster, such as triggers, enums,
    /// sequences and constraints without a name.
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Prints the findings. Exit status 1 if there are any.
pub(super) async fn run(
    arguments: &CheckArgs,
    database: &DatabaseArgs,
    migrator: &DynMigrator,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let database = database.connect_as_owner(2).await?;
    let report = check(&database.connection, migrator, arguments.profile).await?;
    database.connection.close_by_ref().await?;
    let mut out = io::stdout().lock();
    if arguments.json {
        print_json(&report)?;
    } else {
        write_text(&mut out, &report)?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_text(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for finding in &report.findings {
        write_finding(out, finding)?;
        writeln!(out, "  help       {}\n", finding.help)?;
    }
    for allowed in &report.allowed {
        write_finding(out, &allowed.finding)?;
        writeln!(out, "  allowed    because {}\n", allowed.allowed_because)?;
    }
    let with: BTreeSet<&str> = report.findings.iter().map(|it| it.migration.as_str()).collect();
    let checked = plural(report.migrations.len(), "migration");
    let findings = match report.findings.len() {
        0 => "no findings".to_owned(),
        n => format!("{} in {}", plural(n, "finding"), plural(with.len(), "migration")),
    };
    match report.allowed.len() {
        0 => writeln!(out, "{checked} checked: {findings}"),
        n => writeln!(out, "{checked} checked: {findings}, {} allowed", format_count(n)),
    }
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { migration, rule, message, reason, .. } = finding;
    writeln!(out, "{migration}: {rule}: {message}")?;
    if let Some(statement) = &finding.statement {
        let lines: Vec<&str> = statement.lines().map(str::trim).collect();
        writeln!(out, "  statement  {}", lines.join("\n             "))?;
    }
    writeln!(out, "  reason     {reason}")
}

#[cfg(test)]
mod tests {
    use crate::lint::{AllowedFinding, Finding, Profile, Report, Rule};

    #[test]
    fn prints_migration_rule_statement_and_help() {
        let finding = Finding {
            migration: "m2".to_owned(),
            rule: Rule::DropColumn,
            statement: Some("ALTER TABLE a\n    DROP b".to_owned()),
            message: "column a.b is dropped".to_owned(),
            reason: Rule::DropColumn.reason(),
            help: Rule::DropColumn.help(),
        };
        let report = Report {
            profile: Profile::Postgres,
            migrations: vec!["m1".to_owned(), "m2".to_owned()],
            findings: vec![finding.clone()],
            allowed: vec![AllowedFinding { finding, allowed_because: "so be it".to_owned() }],
        };
        let mut out = Vec::new();
        super::write_text(&mut out, &report).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in [
            "m2: drop-column: column a.b is dropped\n",
            "  statement  ALTER TABLE a\n             DROP b\n",
            "  help       stop using the column in one release, drop it in a later one\n",
            "  allowed    because so be it\n",
            "\n2 migrations checked: 1 finding in 1 migration, 1 allowed\n",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
    }
}
