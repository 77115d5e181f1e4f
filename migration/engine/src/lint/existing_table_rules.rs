//! Rules for tables that existed before the migration, which may be large and in use: locks held
//! while rows are scanned or rewritten, and changes that break the previous release.

use super::{
    Rule,
    catalog_snapshot::{Column, Constraint, Relation},
    violation::{Effect, Violation},
};

pub(super) fn violations(effect: &Effect<'_>, violations: &mut Vec<Violation>) {
    let mut fire = |rule, message: String| violations.push(Violation { rule, message });
    for table in effect.start.tables() {
        let Some(before) = effect.before.relation(table.oid) else { continue };
        let Some(after) = effect.after.relation(table.oid) else {
            fire(Rule::DropTable, format!("table {} is dropped", before.name));
            continue;
        };
        Table { effect, before, after }.effects(&mut fire);
    }
}

/// A table before and after a statement.
struct Table<'a> {
    effect: &'a Effect<'a>,
    before: &'a Relation,
    after: &'a Relation,
}

impl Table<'_> {
    fn effects(&self, fire: &mut impl FnMut(Rule, String)) {
        let name = &self.after.name;
        if self.before.name != *name {
            fire(Rule::Rename, format!("table {} is renamed to {name}", self.before.name));
        }
        let mut explained = self.columns(fire);
        explained |= self.constraints(fire);
        explained |= self.indexes(fire);
        if explained {
            return;
        }
        if self.rewritten() {
            fire(Rule::RewritesTable, format!("all rows of {name} are rewritten"));
        } else if self.read()
            && self.effect.before.track_counts
            && self.effect.statement.starts_with(&["alter"])
        {
            fire(Rule::ScansTable, format!("all rows of {name} are scanned under a lock"));
        }
    }

    fn rewritten(&self) -> bool {
        self.before.relfilenode != self.after.relfilenode
    }

    /// Whether it was scanned; true if PostgreSQL does not count scans.
    fn read(&self) -> bool {
        !self.effect.before.track_counts || self.before.seq_scans < self.after.seq_scans
    }

    fn type_changed(&self) -> bool {
        let (oid, Self { effect, .. }) = (self.after.oid, self);
        effect.after.columns_of(oid).any(|column| {
            let old = effect.before.column(oid, column.number);
            old.is_some_and(|old| old.type_name != column.type_name)
        })
    }

    /// Indexes of the table that the statement built.
    fn built(&self) -> impl Iterator<Item = &Relation> {
        let is_built = |index: &&Relation| {
            let old = self.effect.before.same_index(index);
            index.relfilenode != 0 && old.is_none_or(|old| old.relfilenode != index.relfilenode)
        };
        let indexes = self.effect.after.indexes().filter(|it| it.table == Some(self.after.oid));
        indexes.filter(is_built)
    }

    /// Returns whether a column explains a rewrite or a scan.
    fn columns(&self, fire: &mut impl FnMut(Rule, String)) -> bool {
        let (oid, table) = (self.after.oid, &self.after.name);
        let mut explained = false;
        for column in self.effect.after.columns_of(oid) {
            explained |= match self.effect.before.column(oid, column.number) {
                None => self.new_column(column, fire),
                Some(old) => self.changed_column(old, column, fire),
            };
        }
        for old in self.effect.before.columns_of(oid) {
            let was_there = self.effect.start.column(oid, old.number).is_some();
            if was_there && self.effect.after.column(oid, old.number).is_none() {
                fire(Rule::DropColumn, format!("column {table}.{} is dropped", old.name));
            }
        }
        explained
    }

    fn new_column(&self, column: &Column, fire: &mut impl FnMut(Rule, String)) -> bool {
        let name = format!("{}.{}", self.after.name, column.name);
        if column.generated && self.rewritten() {
            fire(
                Rule::RewritesTable,
                format!("the generated column {name} is computed for each row"),
            );
            return true;
        }
        if column.has_default && self.rewritten() {
            fire(Rule::VolatileDefault, format!("the default of {name} is computed for each row"));
            return true;
        }
        if column.not_null && !column.has_default {
            let message = format!("the new column {name} is NOT NULL without a default");
            fire(Rule::NotNullWithoutDefault, message);
            return true;
        }
        false
    }

    fn changed_column(
        &self,
        old: &Column,
        column: &Column,
        fire: &mut impl FnMut(Rule, String),
    ) -> bool {
        let name = format!("{}.{}", self.after.name, column.name);
        let was_there = self.effect.start.column(self.after.oid, column.number).is_some();
        let mut explained = false;
        if old.name != column.name && was_there {
            fire(Rule::Rename, format!("column {} is renamed to {name}", old.name));
        }
        if old.type_name != column.type_name
            && (self.rewritten() || self.read() || self.built().next().is_some())
        {
            let (old, new) = (&old.type_name, &column.type_name);
            fire(Rule::TypeChange, format!("the type of {name} changes from {old} to {new}"));
            explained = true;
        }
        if column.not_null && !old.not_null && self.read() {
            fire(Rule::SetNotNull, format!("{name} is scanned for nulls"));
            explained = true;
        }
        explained
    }

    fn constraints(&self, fire: &mut impl FnMut(Rule, String)) -> bool {
        let Self { effect, after, .. } = self;
        let mut explained = false;
        for constraint in effect.after.constraints.iter().filter(|it| it.table == after.oid) {
            let name = format!("{} of {}", constraint.name, after.name);
            let is_rows = matches!(constraint.kind, 'c' | 'f');
            match effect.before.same_constraint(constraint) {
                None if is_rows && constraint.validated && !self.only_nulls(constraint) => {
                    let message = format!("{name} is checked for each row when it is added");
                    fire(Rule::ValidatedConstraint, message);
                    explained = true;
                }
                // Not by VALIDATE: ALTER CONSTRAINT … ENFORCED, or SET NOT NULL.
                Some(old)
                    if !old.validated
                        && constraint.validated
                        && effect.statement.find(&["validate"]).is_none() =>
                {
                    let message = format!("{name} is checked for each row under its lock");
                    fire(Rule::ValidatedConstraint, message);
                    explained = true;
                }
                Some(old) if !old.validated && constraint.validated => {
                    // In a later transaction, VALIDATE allows reads and writes.
                    if effect.start.constraint(constraint.oid).is_none() {
                        let message = format!(
                            "{name} is validated in the transaction that added it, under its lock"
                        );
                        fire(Rule::ValidatedConstraint, message);
                    }
                    explained = true;
                }
                _ => {}
            }
        }
        explained
    }

    /// Whether it is a foreign key on columns that the same statement adds without a default:
    /// PostgreSQL checks no rows then.
    fn only_nulls(&self, constraint: &Constraint) -> bool {
        let (oid, Self { effect, .. }) = (self.after.oid, self);
        let is_new = |number: &i16| {
            effect.before.column(oid, *number).is_none()
                && effect.after.column(oid, *number).is_some_and(|column| !column.has_default)
        };
        constraint.kind == 'f'
            && constraint.columns.as_ref().is_some_and(|columns| columns.iter().all(is_new))
    }

    fn indexes(&self, fire: &mut impl FnMut(Rule, String)) -> bool {
        if self.rewritten() || self.type_changed() {
            return false;
        }
        let is_concurrent = self.effect.statement.concurrently().is_some();
        for index in self.built().filter(|_| !is_concurrent) {
            let (index, table) = (&index.name, &self.after.name);
            let message = format!("index {index} of {table} is built under a lock");
            fire(Rule::IndexWithoutConcurrently, message);
        }
        self.built().next().is_some()
    }
}
