use serde::Serialize;

use super::{Rule, observer::MigrationTrace, violation::Violation};

/// What [`check`](fn@super::check) found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The migrations that were checked: all, or up to the first that fails.
    pub migrations: Vec<String>,
    /// What is unsafe, in the order of the statements.
    pub findings: Vec<Finding>,
    /// What would be a finding if the migration did not say why it is meant.
    pub allowed: Vec<AllowedFinding>,
}

/// One thing that is unsafe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the migration.
    pub migration: String,
    /// The rule that it breaks.
    pub rule: Rule,
    /// The statement, with its values. None when the migration fails before it sends one.
    pub statement: Option<String>,
    /// What the statement does.
    pub message: String,
    /// What goes wrong.
    pub reason: &'static str,
    /// The safe way.
    pub help: &'static str,
}

/// A finding that the migration says is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedFinding {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The reason that the migration gives.
    pub allowed_because: String,
}

impl Finding {
    fn new(migration: &str, statement: Option<&str>, violations: Violation) -> Self {
        let Violation { rule, message } = violations;
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
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds what one migration did.
    pub(super) fn add(&mut self, migration: &str, observed: MigrationTrace) {
        self.migrations.push(migration.to_owned());
        let failed = observed.failed.is_some();
        for mut sent in observed.sent {
            let text = Some(sent.text.as_str()).filter(|text| !text.is_empty());
            for violations in sent.violations {
                let suppression =
                    sent.suppressions.iter_mut().find(|it| it.covers(violations.rule));
                let finding = Finding::new(migration, text, violations);
                match suppression {
                    Some(suppression) => {
                        suppression.used = true;
                        let allowed_because = suppression.reason.clone();
                        self.allowed.push(AllowedFinding { finding, allowed_because });
                    }
                    None => self.findings.push(finding),
                }
            }
            for suppression in &sent.suppressions {
                if let Some(message) = suppression.fault(failed) {
                    let violations = Violation { rule: Rule::UnusedAllow, message };
                    self.findings.push(Finding::new(migration, text, violations));
                }
            }
        }
        for suppression in &observed.pending {
            if let Some(message) = suppression.fault(failed) {
                let violations = Violation { rule: Rule::UnusedAllow, message };
                self.findings.push(Finding::new(migration, None, violations));
            }
        }
        if let Some(failure) = observed.failed {
            let violations = Violation { rule: Rule::MigrationFails, message: failure.message };
            self.findings.push(Finding::new(migration, failure.statement.as_deref(), violations));
        }
    }
}
