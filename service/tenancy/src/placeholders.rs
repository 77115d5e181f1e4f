//! Checks for the tests of an application that its entities use the placeholder.

use sea_orm::sea_query::TableRef;
use tenantry_registry::PLACEHOLDER;

/// The tables whose schema is not the placeholder, as `schema.table`.
///
/// ```
/// use sea_orm::{EntityName, sea_query::IntoTableRef};
/// use tenantry::without_placeholder;
/// use tenantry_registry::tenant;
///
/// let tables = [("@tenant", "guards").into_table_ref(), tenant::Entity.table_ref()];
/// assert_eq!(without_placeholder(tables), ["registry.tenants"]);
/// ```
pub fn without_placeholder(tables: impl IntoIterator<Item = TableRef>) -> Vec<String> {
    tables
        .into_iter()
        .filter_map(|table| {
            let TableRef::Table(name, _) = &table else { return Some(format!("{table:?}")) };
            let schema = name.0.as_ref().map(|schema| schema.1.to_string());
            match schema {
                Some(schema) if schema == PLACEHOLDER => None,
                Some(schema) => Some(format!("{schema}.{}", name.1)),
                None => Some(name.1.to_string()),
            }
        })
        .collect()
}

/// Asserts in a test of an application that the schema of each tenant entity is the placeholder, so
/// that none of them reads the tables of `public` or of a certain tenant. Entities of shared tables
/// are not for this list.
///
/// ```
/// use sea_orm::EntityName;
///
/// fn check<Guard: EntityName, Shift: EntityName>(guard: Guard, shift: Shift) {
///     tenantry::assert_placeholder([guard.table_ref(), shift.table_ref()]);
/// }
/// ```
///
/// # Panics
/// If one is not; the message names all of them.
#[track_caller]
pub fn assert_placeholder(tables: impl IntoIterator<Item = TableRef>) {
    let without = without_placeholder(tables);
    assert!(
        without.is_empty(),
        "these entities do not name the placeholder: {}; declare them with schema_name = {PLACEHOLDER:?}",
        without.join(", ")
    );
}
