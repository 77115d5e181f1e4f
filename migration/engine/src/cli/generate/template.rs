// The templates are modules of the tests, so they compile.
#[cfg(test)]
mod add_column;
#[cfg(test)]
mod create_table;
#[cfg(test)]
mod shared;

const CREATE_TABLE: &str = include_str!("template/create_table.rs");
const ADD_COLUMN: &str = include_str!("template/add_column.rs");

/// A migrator of shared tables without migrations.
pub(super) const SHARED_MIGRATOR: &str = include_str!("template/shared.rs");

/// What makes it part of the application's migrator.
pub(super) const SHARED_USE: &str = "\
mod shared;

impl TenantMigrator for Migrator {
    fn shared(&self) -> Option<SharedMigrator> {
        Some(SharedMigrator::new(shared::Migrator))
    }
}
";

/// Names in the templates.
const TABLE: &str = "table_name";
const COLUMN: &str = "column_name";

/// The source of a new migration, from the template that its name selects.
pub(super) fn fill(name: &str) -> String {
    if let Some(table) = name.strip_prefix("create_").filter(|table| !table.is_empty()) {
        return CREATE_TABLE.replace(TABLE, table);
    }
    let added = name.strip_prefix("add_").and_then(|rest| rest.split_once("_to_"));
    match added.filter(|(column, table)| !column.is_empty() && !table.is_empty()) {
        Some((column, table)) => ADD_COLUMN.replace(TABLE, table).replace(COLUMN, column),
        None => ADD_COLUMN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::{MigrationName, MigratorTraitSelf};

    use super::{ADD_COLUMN, add_column, create_table, fill, shared};

    #[test]
    fn templates_compile() {
        assert_eq!(create_table::Migration.name(), "create_table");
        assert_eq!(add_column::Migration.name(), "add_column");
        assert!(shared::Migrator.migrations().is_empty());
    }

    #[test]
    fn the_name_selects_the_template() {
        let text = fill;
        assert!(text("create_books").contains(r#".table("books")"#));
        assert!(text("create_books").contains(r#".name("books_pkey")"#));
        let add = text("add_title_to_books");
        assert!(add.contains(r#"new("title")"#) && add.contains(r#".table("books")"#));
        for other in ["create_", "add_title", "add__to_", "fill_books"] {
            assert_eq!(text(other), ADD_COLUMN);
        }
    }
}
