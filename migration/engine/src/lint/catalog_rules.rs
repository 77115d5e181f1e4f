//! Rules that compare the catalog before and after a statement, for new and existing objects.

use std::collections::BTreeSet;

use super::{
    Rule,
    catalog_snapshot::{Kind, SharedKey, Snapshot},
    existing_table_rules,
    violation::{Effect, Violation},
};

/// The violations of a statement, by its effects on the catalog.
pub(super) fn catalog_violations(effect: &Effect<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    objects(effect, &mut violations);
    constraints(effect, &mut violations);
    existing_table_rules::violations(effect, &mut violations);
    violations
}

fn objects(effect: &Effect<'_>, violations: &mut Vec<Violation>) {
    let Effect { before, after, .. } = effect;
    let mut fire = |rule, message: String| violations.push(Violation { rule, message });
    for relation in &after.relations {
        let old = before.relation(relation.oid);
        if relation.kind == Kind::Sequence && old.is_none() {
            fire(Rule::Identity, format!("creates the sequence {}", relation.name));
        }
        if relation.inherits && !old.is_some_and(|old| old.inherits) {
            fire(Rule::Inheritance, format!("table {} inherits from another", relation.name));
        }
    }
    for trigger in new(&before.triggers, &after.triggers) {
        fire(Rule::Trigger, format!("creates the trigger {trigger}"));
    }
    for name in new(&before.types, &after.types) {
        fire(Rule::CustomType, format!("creates the type {name}"));
    }
    for dependency in new(&before.external_dependencies, &after.external_dependencies) {
        fire(Rule::OutsideSchema, dependency.clone());
    }
    for SharedKey { name, table, to } in after.shared_keys.difference(&before.shared_keys) {
        fire(Rule::SharedForeignKey, format!("{name} of {table} refers to {to}"));
    }
    let shared = changed_shared_keys(before, after);
    for relation in new(&before.external_relations, &after.external_relations) {
        if !shared.contains(relation.as_str()) {
            fire(Rule::OutsideSchema, format!("uses {relation}"));
        }
    }
    if before.search_path != after.search_path {
        fire(Rule::SearchPath, format!("sets search_path to {}", after.search_path));
    }
}

/// The tables to which foreign keys were added or dropped: they were used for that.
pub(super) fn changed_shared_keys<'a>(
    before: &'a Snapshot,
    after: &'a Snapshot,
) -> BTreeSet<&'a str> {
    let changed = before.shared_keys.symmetric_difference(&after.shared_keys);
    changed.map(|key| key.to.as_str()).collect()
}

fn new<'a>(
    before: &'a BTreeSet<String>,
    after: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a String> {
    after.difference(before)
}

fn constraints(effect: &Effect<'_>, violations: &mut Vec<Violation>) {
    let Effect { before, after, .. } = effect;
    let text = effect.statement.sql.to_lowercase();
    let unnamed = |name: &str| !text.contains(&name.to_lowercase());
    let mut fire = |rule, message: String| violations.push(Violation { rule, message });
    // NOT NULL has a name from PostgreSQL 18 on, which no one gives.
    for constraint in after.constraints.iter().filter(|it| it.kind != 'n') {
        let (name, table) = (&constraint.name, after.table_name(constraint.table));
        match before.same_constraint(constraint) {
            Some(old) if old.name != *name => {
                let message = format!("constraint {} of {table} is renamed to {name}", old.name);
                fire(Rule::RenameConstraint, message);
            }
            Some(_) => {}
            None if unnamed(name) => {
                let message = format!("a constraint of {table} has no name, and gets {name}");
                fire(Rule::UnnamedConstraint, message);
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
            let message = format!("an index of {table} has no name, and gets {}", index.name);
            fire(Rule::UnnamedConstraint, message);
        }
    }
}

/// Tables that have no primary key, and had one or did not exist before.
pub(super) fn without_primary_key(before: &Snapshot, after: &Snapshot) -> Vec<i64> {
    let without = after.tables().filter(|table| !table.has_primary_key && !table.partition);
    without
        .filter(|table| before.relation(table.oid).is_none_or(|old| old.has_primary_key))
        .map(|table| table.oid)
        .collect()
}
