use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// What [`check`](fn@super::check) looks for. Its name in text is short and never changes.
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
    /// An identity or serial column, or any other sequence.
    Identity,
    /// Something of the schema depends on, or a statement touches, what is outside it.
    OutsideSchema,
    /// `CREATE`, `ALTER` or `DROP EXTENSION`.
    Extension,
    /// A statement names a schema.
    SchemaQualified,
    /// A statement is about `search_path`.
    SearchPath,
    /// A setting that outlives the transaction of the migration.
    SessionSetting,
    /// A temporary object that outlives the transaction of the migration.
    TemporaryTable,
    /// A catalog query that finds an object by its name in whichever schema.
    CatalogByName,
    /// The migration makes something else in a second schema beside the first.
    DiffersBetweenSchemas,
    /// A function whose body finds tables by the `search_path` of its caller.
    FunctionSearchPath,
    /// A trigger.
    Trigger,
    /// An enum, domain, range or composite type.
    CustomType,
    /// Several actions in one `ALTER TABLE`.
    MultipleActions,
    /// A constraint or an index that PostgreSQL has to find a name for.
    UnnamedConstraint,
    /// A constraint gets another name.
    RenameConstraint,
    /// A deferrable constraint.
    DeferrableConstraint,
    /// Table inheritance.
    Inheritance,
    /// A volatile function in an `UPDATE` or `DELETE`.
    VolatileFunction,
    /// `ADD COLUMN` with a default that has to be computed for each row.
    VolatileDefault,
    /// `ADD COLUMN … NOT NULL` without a default.
    NotNullWithoutDefault,
    /// `SET NOT NULL` that has to read the table.
    SetNotNull,
    /// An index built without `CONCURRENTLY` on a table that was there before.
    IndexWithoutConcurrently,
    /// A change of a column's type that rewrites or reads the table.
    TypeChange,
    /// A foreign key or a CHECK that is validated while the table is locked.
    ValidatedConstraint,
    /// Any other rewrite of a table that was there before.
    RewritesTable,
    /// Any other `ALTER TABLE` that reads through a table that was there before.
    ScansTable,
    /// A column is dropped.
    DropColumn,
    /// A table is dropped that was there before.
    DropTable,
    /// A table or a column gets another name.
    Rename,
    /// A statement begins or ends a transaction.
    TransactionControl,
    /// `CONCURRENTLY` in a migration that runs in a transaction.
    ConcurrentlyInTransaction,
    /// Outside a transaction, what fails when it was done already.
    NotIdempotent,
    /// The migration fails.
    MigrationFails,
    /// An acknowledgement that does not acknowledge anything.
    UnusedAllow,
}

/// There is no rule of this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no rule {0:?}")]
pub struct UnknownRule(pub String);

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 35] = [
        Self::PrimaryKey,
        Self::Identity,
        Self::OutsideSchema,
        Self::Extension,
        Self::SchemaQualified,
        Self::SearchPath,
        Self::SessionSetting,
        Self::TemporaryTable,
        Self::CatalogByName,
        Self::DiffersBetweenSchemas,
        Self::FunctionSearchPath,
        Self::Trigger,
        Self::CustomType,
        Self::MultipleActions,
        Self::UnnamedConstraint,
        Self::RenameConstraint,
        Self::DeferrableConstraint,
        Self::Inheritance,
        Self::VolatileFunction,
        Self::VolatileDefault,
        Self::NotNullWithoutDefault,
        Self::SetNotNull,
        Self::IndexWithoutConcurrently,
        Self::TypeChange,
        Self::ValidatedConstraint,
        Self::RewritesTable,
        Self::ScansTable,
        Self::DropColumn,
        Self::DropTable,
        Self::Rename,
        Self::TransactionControl,
        Self::ConcurrentlyInTransaction,
        Self::NotIdempotent,
        Self::MigrationFails,
        Self::UnusedAllow,
    ];

    /// The rule's name in text.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.text()[0]
    }

    /// What goes wrong otherwise.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.text()[1]
    }

    /// The safe way.
    #[must_use]
    pub const fn help(self) -> &'static str {
        self.text()[2]
    }

    /// Whether a migration may do it all the same. Not where a run refuses it.
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
        let found = Self::ALL.into_iter().find(|rule| rule.id() == text);
        found.ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn every_rule_is_known_by_its_name() {
        for rule in Rule::ALL {
            assert_eq!(rule.id().parse(), Ok(rule));
            assert!(!rule.reason().is_empty() && !rule.help().is_empty());
        }
        assert!("drop_column".parse::<Rule>().is_err());
    }
}
