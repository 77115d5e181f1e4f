use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::rule_text::{RULES, RuleText};

/// The rules that [`check`](fn@super::check) runs.
///
/// ```
/// use tenantry_migrate::lint::{Profile, Rule};
/// assert_eq!(Profile::default(), Profile::Postgres);
/// assert!(Profile::Citus.includes(Rule::Trigger) && !Profile::Postgres.includes(Rule::Trigger));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Profile {
    /// Unsafe on one PostgreSQL server: locks a table in use, breaks the previous release, affects
    /// more than the tenant's schema, or differs between tenants.
    #[default]
    Postgres,
    /// Also: prevents a schema from moving to another node of a Citus cluster.
    Citus,
}

impl Profile {
    /// Whether this profile runs `rule`.
    #[must_use]
    pub fn includes(self, rule: Rule) -> bool {
        self == Self::Citus || rule.profile() == Self::Postgres
    }
}

/// A kind of finding. Its name as text is stable.
///
/// ```
/// use tenantry_migrate::lint::Rule;
/// assert_eq!(Rule::DropColumn.to_string(), "drop-column");
/// assert_eq!("drop-column".parse(), Ok(Rule::DropColumn));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A table without a primary key.
    PrimaryKey,
    /// An identity column, a serial column, or a sequence.
    Identity,
    /// An object of the schema depends on, or a statement creates or uses, an object outside it.
    OutsideSchema,
    /// A foreign key to a table that exists once.
    SharedForeignKey,
    /// `CREATE`, `ALTER` or `DROP EXTENSION`.
    Extension,
    /// A statement names a schema.
    SchemaQualified,
    /// The placeholder in a string or in the body of a function.
    PlaceholderInString,
    /// A statement changes or reads `search_path`.
    SearchPath,
    /// A setting that outlives the transaction.
    SessionSetting,
    /// A temporary object that outlives the transaction.
    TemporaryTable,
    /// A catalog query that finds an object by name in any schema.
    CatalogByName,
    /// A migration has another result in a second schema.
    DiffersBetweenSchemas,
    /// A function whose body resolves names by the `search_path` of its caller.
    FunctionSearchPath,
    /// A trigger.
    Trigger,
    /// An enum, domain, range or composite type.
    CustomType,
    /// Several actions in one `ALTER TABLE`.
    MultipleActions,
    /// A constraint or index without a name.
    UnnamedConstraint,
    /// A constraint is renamed.
    RenameConstraint,
    /// A deferrable constraint.
    DeferrableConstraint,
    /// Table inheritance.
    Inheritance,
    /// A volatile function in an `UPDATE` or `DELETE`.
    VolatileFunction,
    /// `ADD COLUMN` with a default that is computed for each row.
    VolatileDefault,
    /// `ADD COLUMN … NOT NULL` without a default.
    NotNullWithoutDefault,
    /// `SET NOT NULL` that scans the table.
    SetNotNull,
    /// An index built without `CONCURRENTLY` on an existing table.
    IndexWithoutConcurrently,
    /// A change of a column's type that rewrites or scans the table.
    TypeChange,
    /// A foreign key or CHECK that is validated while the table is locked.
    ValidatedConstraint,
    /// Any other rewrite of an existing table.
    RewritesTable,
    /// Any other `ALTER TABLE` that scans an existing table.
    ScansTable,
    /// A column is dropped.
    DropColumn,
    /// An existing table is dropped.
    DropTable,
    /// A table or a column is renamed.
    Rename,
    /// A statement begins or ends a transaction.
    TransactionControl,
    /// `CONCURRENTLY` in a migration that runs in a transaction.
    ConcurrentlyInTransaction,
    /// A statement outside a transaction that fails if it is repeated.
    NotIdempotent,
    /// The migration fails.
    MigrationFails,
    /// An `allow` without a reason, or that suppresses no finding.
    UnusedAllow,
}

/// The text is not the name of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown rule {0:?}")]
pub struct UnknownRule(pub String);

impl Rule {
    /// All rules.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().map(|text| text.rule)
    }

    fn text(self) -> &'static RuleText {
        &RULES[self as usize]
    }

    /// The rule's name.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.text().id
    }

    /// The smallest profile that runs the rule.
    #[must_use]
    pub fn profile(self) -> Profile {
        self.text().profile
    }

    /// Why a finding is a problem.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.text().reason
    }

    /// The safe alternative.
    #[must_use]
    pub fn help(self) -> &'static str {
        self.text().help
    }

    /// Whether a finding can be suppressed. Not if a run refuses the statement.
    pub(super) const fn allowable(self) -> bool {
        !matches!(
            self,
            Self::MigrationFails | Self::UnusedAllow | Self::TransactionControl | Self::Extension
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        Self::all().find(|rule| rule.id() == text).ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::{RULES, Rule};

    #[test]
    fn each_rule_has_its_own_text() {
        for (index, text) in RULES.iter().enumerate() {
            assert_eq!(text.rule as usize, index, "{}", text.id);
            assert_eq!(text.id.parse(), Ok(text.rule));
        }
        assert!("drop_column".parse::<Rule>().is_err());
    }
}
