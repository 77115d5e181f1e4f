use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    DynMigrator,
    connect::DatabaseArgs,
    lint::{Finding, Report, check},
};
use clap::Args;

/// `migration check`
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Write one JSON document.
    #[arg(long)]
    json: bool,
}

/// Checks the migrations and says what was found: exit status 1 when anything was.
pub(super) async fn run(
    arguments: &CheckArgs,
    database: &DatabaseArgs,
    migrator: &DynMigrator,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let database = database.connect(2).await?;
    let report = check(&database.connection, migrator).await?;
    database.connection.close_by_ref().await?;
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write_text(&mut out, &report)?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_text(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for finding in &report.findings {
        write_finding(out, finding)?;
        writeln!(out, "  instead    {}\n", finding.help)?;
    }
    for allowed in &report.allowed {
        write_finding(out, &allowed.finding)?;
        writeln!(out, "  meant      {}\n", allowed.allowed_because)?;
    }
    let migrations = match report.migrations.len() {
        1 => "1 migration".to_owned(),
        n => format!("{n} migrations"),
    };
    let allowed = match report.allowed.len() {
        0 => String::new(),
        n => format!(", {n} allowed"),
    };
    if report.is_clean() {
        return writeln!(out, "{migrations} checked, nothing found{allowed}");
    }
    let with: BTreeSet<&str> = report.findings.iter().map(|it| it.migration.as_str()).collect();
    let (found, with) = (report.findings.len(), with.len());
    writeln!(out, "{migrations} checked, {found} found in {with} of them{allowed}")
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { migration, rule, message, reason, .. } = finding;
    writeln!(out, "{migration}: {rule}: {message}")?;
    if let Some(statement) = &finding.statement {
        let lines: Vec<&str> = statement.lines().map(str::trim).collect();
        writeln!(out, "  statement  {}", lines.join("\n             "))?;
    }
    writeln!(out, "  why        {reason}")
}

#[cfg(test)]
mod tests {
    use crate::lint::{AllowedFinding, Finding, Report, Rule};

    #[test]
    fn a_finding_names_migration_rule_statement_and_the_safe_way() {
        let finding = Finding {
            migration: "m2".to_owned(),
            rule: Rule::DropColumn,
            statement: Some("ALTER TABLE a\n    DROP b".to_owned()),
            message: "column a.b is dropped".to_owned(),
            reason: Rule::DropColumn.reason(),
            help: Rule::DropColumn.help(),
        };
        let report = Report {
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
            "  instead    stop using the column, release that, drop it in a later release\n",
            "  meant      so be it\n",
            "\n2 migrations checked, 1 found in 1 of them, 1 allowed\n",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
    }
}
