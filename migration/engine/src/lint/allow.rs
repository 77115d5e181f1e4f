use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::SchemaManager;

use super::{Profile, Rule};
use crate::sql::SqlStatement;

/// The start of a suppression in an SQL comment.
const BEGIN: &str = "check: allow";

/// Allows the next statement of a migration to violate `rule`, and gives the reason.
///
/// Sends the comment `/* check: allow RULE because REASON */`, which [`check`](fn@super::check) and
/// dry runs show. Raw SQL can contain the comment itself.
///
/// ```no_run
/// # async fn up(manager: &sea_orm_migration::SchemaManager<'_>) -> Result<(), sea_orm::DbErr> {
/// use tenantry_migrate::lint::{Rule, allow};
/// use sea_orm_migration::prelude::*;
///
/// allow(manager, Rule::DropColumn, "nothing reads it since release 1.4").await?;
/// manager.alter_table(Table::alter().table("guards").drop_column("fax").to_owned()).await
/// # }
/// ```
///
/// # Errors
/// If the database fails.
#[expect(clippy::disallowed_methods, reason = "a comment, whose end the reason cannot contain")]
pub async fn allow(manager: &SchemaManager<'_>, rule: Rule, reason: &str) -> Result<(), DbErr> {
    let reason = reason.replace("*/", "* /").replace("/*", "/ *");
    let comment = format!("/* {BEGIN} {rule} because {reason} */");
    manager.get_connection().execute_unprepared(&comment).await?;
    Ok(())
}

/// Suppressions with a reason in the statements of a migration, and what else a run needs to know
/// about them.
#[derive(Debug, Default)]
pub(crate) struct Suppressions(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    rules: Vec<Rule>,
    /// Statements that may create functions, in lower case.
    functions: Vec<String>,
    /// Whether a statement may affect objects outside the schema.
    reaches_outside: bool,
}

impl Suppressions {
    /// Reads a statement or batch.
    pub(crate) fn read(&self, sql: &str) {
        let mut seen = self.seen();
        let lower = sql.to_lowercase();
        if ["function", "procedure", "routine"].iter().any(|word| lower.contains(word)) {
            seen.functions.push(lower);
        }
        seen.reaches_outside =
            seen.reaches_outside || !SqlStatement::split(sql).iter().all(stays_inside);
        // Most statements contain no suppression.
        if !sql.contains("check:") {
            return;
        }
        for comment in SqlStatement::split(sql).iter().flat_map(|statement| &statement.comments) {
            let Some(suppression) = Suppression::read(comment) else { continue };
            let rule = suppression.rule.parse().ok();
            seen.rules.extend(rule.filter(|rule| suppression.covers(*rule)));
        }
    }

    pub(crate) fn allows(&self, rule: Rule) -> bool {
        self.seen().rules.contains(&rule)
    }

    /// Whether a statement may have created an object outside the schema, judged by its tokens.
    pub(crate) fn may_reach_outside(&self) -> bool {
        self.seen().reaches_outside
    }

    /// Whether the migration may have created this function.
    pub(crate) fn mentions_function(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.seen().functions.iter().any(|text| text.contains(&name))
    }

    /// Whether the migration created this function and allows its unqualified names.
    pub(crate) fn allows_function(&self, name: &str) -> bool {
        self.allows(Rule::FunctionSearchPath) && self.mentions_function(name)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a statement can only affect the current schema: it names no other, and executes no code
/// that might.
fn stays_inside(statement: &SqlStatement) -> bool {
    const KINDS: [&str; 10] = [
        "create", "alter", "drop", "reindex", "vacuum", "analyze", "refresh", "comment", "cluster",
        "truncate",
    ];
    const OUTSIDE: [&str; 14] = [
        "schema",
        "extension",
        "database",
        "role",
        "user",
        "publication",
        "subscription",
        "event",
        "language",
        "server",
        "wrapper",
        "cast",
        "execute",
        "as",
    ];
    let words = || 0..statement.words.len();
    let is_outside = |at: usize| {
        statement.symbol(at) == Some(".")
            || statement.word(at).is_some_and(|word| OUTSIDE.contains(&word))
    };
    statement.is_empty()
        || statement.word(0).is_some_and(|word| KINDS.contains(&word)) && !words().any(is_outside)
}

/// A suppression comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suppression {
    pub(super) rule: String,
    pub(super) reason: String,
    pub(super) used: bool,
}

impl Suppression {
    /// Parses a comment without its delimiters. `None` for any other comment.
    pub(super) fn read(comment: &str) -> Option<Self> {
        let words = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        let rest = words.strip_prefix(BEGIN)?.trim_start();
        let (rule, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let reason = rest.strip_prefix("because").unwrap_or_default().trim();
        Some(Self { rule: rule.to_owned(), reason: reason.to_owned(), used: false })
    }

    pub(super) fn covers(&self, rule: Rule) -> bool {
        rule.allowable() && self.rule == rule.id() && !self.reason.is_empty()
    }

    /// Why it suppresses nothing. Unknown if the migration `failed`, or if the profile does not run
    /// the rule.
    pub(super) fn fault(&self, profile: Profile, failed: bool) -> Option<String> {
        let rule = &self.rule;
        match rule.parse::<Rule>() {
            Err(unknown) => Some(format!("check: allow names an {unknown}")),
            Ok(rule) if !rule.allowable() => Some(format!("{rule} cannot be allowed")),
            Ok(_) if self.reason.is_empty() => Some(format!("{rule} is allowed without a reason")),
            Ok(rule) if self.used || failed || !profile.includes(rule) => None,
            // The object may exist already; a run needs the suppression.
            Ok(Rule::OutsideSchema) => None,
            Ok(_) => Some(format!("{rule} is allowed, but the statement does not violate it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Suppression;

    #[test]
    fn parses_comments() {
        let read = |text| Suppression::read(text).map(|it| (it.rule, it.reason));
        let pair = |rule: &str, reason: &str| Some((rule.to_owned(), reason.to_owned()));
        assert_eq!(read(" check: allow rename because a b "), pair("rename", "a b"));
        assert_eq!(read("check:  allow\n rename   because\n x"), pair("rename", "x"));
        assert_eq!(read("check: allow rename"), pair("rename", ""));
        assert_eq!(read("check: allow rename because"), pair("rename", ""));
        assert_eq!(read("check: allow rename it is well"), pair("rename", ""));
        assert_eq!(read("check: allow"), pair("", ""));
        assert_eq!(read("check that all is well"), None);
    }
}
