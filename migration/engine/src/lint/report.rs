use serde::Serialize;

use super::{
    Rule,
    observer::{Fired, Observed},
};

/// What [`check`](fn@super::check) found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The migrations that were checked: all, or up to the first that fails.
    pub migrations: Vec<String>,
    /// What is unsafe, in the order of the statements.
    pub findings: Vec<Finding>,
    /// What would be a finding if the migration did not say why it is meant.
    pub acknowledged: Vec<Acknowledged>,
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
    pub what: String,
    /// What goes wrong.
    pub why: &'static str,
    /// The safe way.
    pub instead: &'static str,
}

/// A finding that the migration says is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The reason that the migration gives.
    pub reason: String,
}

impl Finding {
    fn new(migration: &str, statement: Option<&str>, fired: Fired) -> Self {
        let Fired { rule, what } = fired;
        Self {
            migration: migration.to_owned(),
            rule,
            statement: statement.map(str::to_owned),
            what,
            why: rule.why(),
            instead: rule.instead(),
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
    pub(super) fn add(&mut self, migration: &str, observed: Observed) {
        self.migrations.push(migration.to_owned());
        let failed = observed.failed.is_some();
        for mut sent in observed.sent {
            let text = Some(sent.text.as_str()).filter(|text| !text.is_empty());
            for fired in sent.fired {
                let allowance = sent.allowances.iter_mut().find(|it| it.covers(fired.rule));
                let finding = Finding::new(migration, text, fired);
                match allowance {
                    Some(allowance) => {
                        allowance.used = true;
                        let reason = allowance.reason.clone();
                        self.acknowledged.push(Acknowledged { finding, reason });
                    }
                    None => self.findings.push(finding),
                }
            }
            for allowance in &sent.allowances {
                if let Some(what) = allowance.fault(failed) {
                    let fired = Fired { rule: Rule::Acknowledgement, what };
                    self.findings.push(Finding::new(migration, text, fired));
                }
            }
        }
        for allowance in &observed.pending {
            if let Some(what) = allowance.fault(failed) {
                let fired = Fired { rule: Rule::Acknowledgement, what };
                self.findings.push(Finding::new(migration, None, fired));
            }
        }
        if let Some(failure) = observed.failed {
            let fired = Fired { rule: Rule::Fails, what: failure.what };
            self.findings.push(Finding::new(migration, failure.statement.as_deref(), fired));
        }
    }
}
