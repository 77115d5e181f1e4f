//! What a statement did, by comparing the catalog before and after it: the rules that hold for
//! every object, new or old.

use std::collections::BTreeSet;

use super::{
    Rule, existing,
    observer::Fired,
    snapshot::{Kind, Snapshot},
};
use crate::sql::Piece;

/// A statement, and the catalog around it.
pub(super) struct Effect<'a> {
    pub(super) piece: &'a Piece,
    /// When the migration began: what was there then is an existing table.
    pub(super) start: &'a Snapshot,
    pub(super) before: &'a Snapshot,
    pub(super) after: &'a Snapshot,
}

/// The rules that a statement breaks by what it did.
pub(super) fn effects(effect: &Effect<'_>) -> Vec<Fired> {
    let mut fired = Vec::new();
    objects(effect, &mut fired);
    constraints(effect, &mut fired);
    existing::effects(effect, &mut fired);
    fired
}

fn objects(effect: &Effect<'_>, fired: &mut Vec<Fired>) {
    let Effect { before, after, .. } = effect;
    let mut fire = |rule, what: String| fired.push(Fired { rule, what });
    for relation in &after.relations {
        let old = before.relation(relation.oid);
        if relation.kind == Kind::Sequence && old.is_none() {
            fire(Rule::Identity, format!("it makes the sequence {}", relation.name));
        }
        if relation.inherits && !old.is_some_and(|old| old.inherits) {
            fire(Rule::Inheritance, format!("table {} inherits from another", relation.name));
        }
    }
    for trigger in new(&before.triggers, &after.triggers) {
        fire(Rule::Trigger, format!("it makes the trigger {trigger}"));
    }
    for name in new(&before.types, &after.types) {
        fire(Rule::OwnType, format!("it makes the type {name}"));
    }
    for dependency in new(&before.leaving, &after.leaving) {
        fire(Rule::LeavesSchema, dependency.clone());
    }
    for relation in new(&before.touched, &after.touched) {
        fire(Rule::LeavesSchema, format!("it uses {relation}"));
    }
    if before.search_path != after.search_path {
        fire(Rule::SearchPath, format!("it sets search_path to {}", after.search_path));
    }
}

fn new<'a>(
    before: &'a BTreeSet<String>,
    after: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a String> {
    after.difference(before)
}

fn constraints(effect: &Effect<'_>, fired: &mut Vec<Fired>) {
    let Effect { before, after, .. } = effect;
    let text = effect.piece.sql.to_lowercase();
    let unnamed = |name: &str| !text.contains(&name.to_lowercase());
    let mut fire = |rule, what: String| fired.push(Fired { rule, what });
    for constraint in &after.constraints {
        let (name, table) = (&constraint.name, after.table_name(constraint.table));
        match before.same_constraint(constraint) {
            Some(old) if old.name != *name => {
                let what = format!("constraint {} of {table} becomes {name}", old.name);
                fire(Rule::RenameConstraint, what);
            }
            Some(_) => {}
            None if unnamed(name) => {
                let what = format!("a constraint of {table} is left to be called {name}");
                fire(Rule::UnnamedConstraint, what);
            }
            None => {}
        }
        let was_deferrable = before.same_constraint(constraint).is_some_and(|old| old.deferrable);
        if constraint.deferrable && !was_deferrable {
            fire(Rule::DeferrableConstraint, format!("{name} of {table} is deferrable"));
        }
    }
    for index in after.indexes() {
        let is_constraint = after.constraints.iter().any(|it| it.index == index.oid);
        let is_new = before.same_index(index).is_none();
        if is_new && !is_constraint && !index.partition && unnamed(&index.name) {
            let table = after.table_name(index.table.unwrap_or_default());
            let what = format!("an index of {table} is left to be called {}", index.name);
            fire(Rule::UnnamedConstraint, what);
        }
    }
}

/// The tables that have come to be without a primary key.
pub(super) fn keyless(before: &Snapshot, after: &Snapshot) -> Vec<i64> {
    let without = after.tables().filter(|table| !table.key && !table.partition);
    without
        .filter(|table| before.relation(table.oid).is_none_or(|old| old.key))
        .map(|table| table.oid)
        .collect()
}
