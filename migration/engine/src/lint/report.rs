use serde::Serialize;

use super::{
    Profile, Rule,
    allow::Suppression,
    observer::{Failure, MigrationTrace},
    violation::Violation,
};

/// Result of [`check`](fn@super::check).
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The rules that were run.
    pub profile: Profile,
    /// The checked migrations: all, or up to the first that fails.
    pub migrations: Vec<String>,
    /// Findings in the order of the statements.
    pub findings: Vec<Finding>,
    /// Findings that the migration allows.
    pub allowed: Vec<AllowedFinding>,
}

/// An unsafe statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the migration.
    pub migration: String,
    /// The rule.
    pub rule: Rule,
    /// The statement with its values. `None` if the migration fails before its first statement.
    pub statement: Option<String>,
    /// What the statement does.
    pub message: String,
    /// Why that is a problem.
    pub reason: &'static str,
    /// The safe alternative.
    pub help: &'static str,
}

/// A finding that the migration allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedFinding {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The reason that the migration gives.
    pub allowed_because: String,
}

impl Finding {
    fn new(migration: &str, statement: Option<&str>, violation: Violation) -> Self {
        let Violation { rule, message } = violation;
        Self {
            migration: migration.to_owned(),
            rule,
            statement: statement.map(str::to_owned),
            message,
            reason: rule.reason(),
            help: rule.help(),
        }
    }
}

impl Report {
    /// Whether there are no findings.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds a report of other migrations.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.migrations.extend(other.migrations);
        self.findings.extend(other.findings);
        self.allowed.extend(other.allowed);
        self
    }

    /// Adds to a failure that migrations of the tables that exist once are pending, since it may be
    /// due to that.
    pub(super) fn explained_by(mut self, pending: &[String]) -> Self {
        let failed = self.findings.iter_mut().filter(|it| it.rule == Rule::MigrationFails);
        for finding in failed.filter(|_| !pending.is_empty()) {
            finding.message.push_str(&format!(
                " (the tables that exist once lack {}; apply it first if this migration needs it)",
                pending.join(", ")
            ));
        }
        self
    }

    pub(super) fn new(profile: Profile) -> Self {
        Self { profile, ..Self::default() }
    }

    /// Adds the violations of one migration, as far as the profile includes their rules.
    pub(super) fn add(&mut self, migration: &str, trace: MigrationTrace) {
        self.migrations.push(migration.to_owned());
        let failed = trace.failed.is_some();
        for mut executed in trace.statements {
            let sql = Some(executed.sql.as_str()).filter(|sql| !sql.is_empty());
            executed.violations.retain(|violation| self.profile.includes(violation.rule));
            for violation in executed.violations {
                let rule = violation.rule;
                let finding = Finding::new(migration, sql, violation);
                match executed.suppressions.iter_mut().find(|it| it.covers(rule)) {
                    Some(suppression) => {
                        suppression.used = true;
                        let allowed_because = suppression.reason.clone();
                        self.allowed.push(AllowedFinding { finding, allowed_because });
                    }
                    None => self.findings.push(finding),
                }
            }
            self.add_unused(migration, sql, &executed.suppressions, failed);
        }
        self.add_unused(migration, None, &trace.pending, failed);
        if let Some(Failure { statement, message }) = trace.failed {
            let violation = Violation { rule: Rule::MigrationFails, message };
            self.findings.push(Finding::new(migration, statement.as_deref(), violation));
        }
    }

    fn add_unused(
        &mut self,
        migration: &str,
        sql: Option<&str>,
        suppressions: &[Suppression],
        failed: bool,
    ) {
        let faults = suppressions.iter().filter_map(|it| it.fault(self.profile, failed));
        self.findings.extend(faults.map(|message| {
            Finding::new(migration, sql, Violation { rule: Rule::UnusedAllow, message })
        }));
    }
}
