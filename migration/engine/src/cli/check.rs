use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    AnyMigrator,
    check::{Finding, Report, check},
    connect::DatabaseArgs,
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
    migrator: &AnyMigrator,
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
        writeln!(out, "  instead    {}\n", finding.instead)?;
    }
    for acknowledged in &report.acknowledged {
        write_finding(out, &acknowledged.finding)?;
        writeln!(out, "  meant      {}\n", acknowledged.reason)?;
    }
    let migrations = match report.migrations.len() {
        1 => "1 migration".to_owned(),
        n => format!("{n} migrations"),
    };
    let acknowledged = match report.acknowledged.len() {
        0 => String::new(),
        n => format!(", {n} acknowledged"),
    };
    if report.is_clean() {
        return writeln!(out, "{migrations} checked, nothing found{acknowledged}");
    }
    let with: BTreeSet<&str> = report.findings.iter().map(|it| it.migration.as_str()).collect();
    let (found, with) = (report.findings.len(), with.len());
    writeln!(out, "{migrations} checked, {found} found in {with} of them{acknowledged}")
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { migration, rule, what, why, .. } = finding;
    writeln!(out, "{migration}: {rule}: {what}")?;
    if let Some(statement) = &finding.statement {
        let lines: Vec<&str> = statement.lines().map(str::trim).collect();
        writeln!(out, "  statement  {}", lines.join("\n             "))?;
    }
    writeln!(out, "  why        {why}")
}

#[cfg(test)]
mod tests {
    use crate::check::{Acknowledged, Finding, Report, Rule};

    #[test]
    fn a_finding_names_migration_rule_statement_and_the_safe_way() {
        let finding = Finding {
            migration: "m2".to_owned(),
            rule: Rule::DropColumn,
            statement: Some("ALTER TABLE a\n    DROP b".to_owned()),
            what: "column a.b is dropped".to_owned(),
            why: Rule::DropColumn.why(),
            instead: Rule::DropColumn.instead(),
        };
        let report = Report {
            migrations: vec!["m1".to_owned(), "m2".to_owned()],
            findings: vec![finding.clone()],
            acknowledged: vec![Acknowledged { finding, reason: "so be it".to_owned() }],
        };
        let mut out = Vec::new();
        super::write_text(&mut out, &report).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in [
            "m2: drop-column: column a.b is dropped\n",
            "  statement  ALTER TABLE a\n             DROP b\n",
            "  instead    stop using the column, release that, drop it in a later release\n",
            "  meant      so be it\n",
            "\n2 migrations checked, 1 found in 1 of them, 1 acknowledged\n",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
    }
}
