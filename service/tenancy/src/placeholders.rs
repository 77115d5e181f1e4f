//! Whether entities name the placeholder, for the tests of an application.

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

/// For a test of an application: asserts that each of its tenant entities has the placeholder for
/// a schema, so that none of them reads the tables of one tenant, or of `public`, for all.
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
/// When one has not. The message names all of them, and the remedy.
#[track_caller]
pub fn assert_placeholder(tables: impl IntoIterator<Item = TableRef>) {
    let without = without_placeholder(tables);
    assert!(
        without.is_empty(),
        "these entities do not name the placeholder: {}; declare them with schema_name = {PLACEHOLDER:?}",
        without.join(", ")
    );
}
