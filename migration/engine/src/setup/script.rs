//! The statements of a setup, as they are run and printed.

use std::fmt;

use super::RoleName;
use crate::sql::quoted;

/// How long a statement waits for a lock before the step is rolled back and repeated: while `ALTER
/// TABLE … OWNER` waits, later statements on the table wait behind it.
const SET_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";

/// The statements that are missing for least privilege. [`Display`](fmt::Display) writes a script for
/// psql.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupPlan {
    /// The database.
    pub database: String,
    /// Role that owns schemas and tables.
    pub owner: RoleName,
    /// Role that the application serves with.
    pub application: RoleName,
    /// Whether the roles exist already.
    pub roles_exist: bool,
    /// The statements, oldest first. Empty if nothing is missing.
    pub steps: Vec<SetupStep>,
    /// The other databases of the server that the application's role may connect to, because
    /// every role may.
    pub other_databases: Vec<String>,
}

/// Statements that run in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupStep {
    /// Purpose of the statements.
    pub title: String,
    /// The statements, without `;`.
    pub statements: Vec<String>,
}

impl SetupStep {
    pub(super) fn new(title: impl Into<String>, statements: Vec<String>) -> Self {
        Self { title: title.into(), statements }
    }

    /// The statements as one batch for a transaction.
    #[must_use]
    pub fn sql(&self) -> String {
        format!("{SET_LOCK_TIMEOUT};\n{};", self.statements.join(";\n"))
    }
}

impl SetupPlan {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What this plan leaves to the operator.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let Self { owner, application, other_databases, .. } = self;
        let mut remarks = Vec::new();
        if !self.roles_exist {
            remarks.push(format!(
                "The roles have no passwords yet. In psql: \\password {}, \\password {}",
                quoted(owner.as_str()),
                quoted(application.as_str())
            ));
        }
        if !other_databases.is_empty() {
            let names: Vec<String> = other_databases.iter().map(|name| quoted(name)).collect();
            remarks.push(format!(
                "Everybody may connect to {}, and so may {}. REVOKE CONNECT ON DATABASE … FROM \
                 PUBLIC changes that, also for other roles",
                names.join(", "),
                quoted(application.as_str())
            ));
        }
        remarks
    }
}

impl fmt::Display for SetupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, owner, application, steps, .. } = self;
        writeln!(
            f,
            "-- Database {}: {} owns schemas and tables,",
            one_line(database),
            owner_of(owner)
        )?;
        writeln!(
            f,
            "-- {} reads and writes rows. Run with psql -v ON_ERROR_STOP=1.",
            owner_of(application)
        )?;
        if steps.is_empty() {
            writeln!(f, "-- Nothing is missing.")?;
        }
        for step in steps {
            let (title, sql) = (one_line(&step.title), step.sql());
            writeln!(f, "\n-- {title}\nBEGIN;\n{sql}\nCOMMIT;")?;
        }
        for remark in self.remarks() {
            writeln!(f, "\n-- {}", one_line(&remark))?;
        }
        Ok(())
    }
}

fn owner_of(role: &RoleName) -> String {
    one_line(&quoted(role.as_str()))
}

/// A comment ends with its line, and a name may contain line breaks.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_line_break_does_not_leave_its_comment() {
        let plan = SetupPlan {
            database: "a\nDROP TABLE b;\r--".to_owned(),
            owner: "o\"\nx".parse().unwrap(),
            application: "app".parse().unwrap(),
            roles_exist: false,
            steps: vec![SetupStep::new("in c\nd", vec!["SELECT 1".to_owned()])],
            other_databases: vec!["e\nf".to_owned()],
        };
        let script = plan.to_string();
        let sql: Vec<&str> =
            script.lines().filter(|it| !it.is_empty() && !it.starts_with("--")).collect();
        assert_eq!(sql, ["BEGIN;", "SET LOCAL lock_timeout = '1s';", "SELECT 1;", "COMMIT;"]);
        assert!(script.contains(r#"\password "o"" x""#), "{script}");
    }
}
