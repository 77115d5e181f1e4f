use super::{Rule, catalog_snapshot::Snapshot};
use crate::sql::SqlStatement;

/// A rule that a statement violates, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) message: String,
}

/// A statement, and the catalog before and after it.
pub(super) struct Effect<'a> {
    pub(super) statement: &'a SqlStatement,
    /// At the start of the migration: only tables of this snapshot may be large and in use.
    pub(super) start: &'a Snapshot,
    pub(super) before: &'a Snapshot,
    pub(super) after: &'a Snapshot,
}
