//! Tables and columns that a run would drop.

use sea_orm::DatabaseConnection;
use sea_orm_migration::MigratorTraitSelf;

use super::{dry_run::by_version, format::MAX_LISTED};
use crate::{
    Action, DynMigrator, Error, Target, TenantSelection, dry_run, fleet_tenants, sql::SqlStatement,
};

/// The statements by which `action` drops tables or columns of these tenants, without duplicates.
///
/// They come from a dry run for one tenant of each version. If a migration has no dry run, it may
/// drop anything, and is listed.
pub(super) async fn dropped(
    db: &DatabaseConnection,
    who: &TenantSelection,
    migrator: &DynMigrator,
    action: &Action,
) -> Result<Vec<String>, Error> {
    if matches!(action, Action::Up(_)) {
        return Ok(Vec::new());
    }
    let table = migrator.migration_table_name().to_string();
    let mut found = Vec::new();
    for tenants in by_version(fleet_tenants(db, who).await?).into_values() {
        for tenant in tenants.iter().take(MAX_LISTED) {
            let target = Target::Schema(tenant.schema.clone());
            match dry_run(db, &target, migrator, action).await {
                Ok(statements) => {
                    found.extend(statements.iter().flat_map(|sql| drops(sql, &table)));
                    break;
                }
                Err(Error::NotPrintable { migration, .. }) => {
                    found.push(format!("unknown statements of {migration}"));
                    break;
                }
                // Another tenant of the same version may work; the run reports this error.
                Err(_) => {}
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The statements in `sql` that delete data, except rows of the migrations table.
fn drops(sql: &str, migrations_table: &str) -> Vec<String> {
    let statements = SqlStatement::split(sql).into_iter().filter(SqlStatement::drops_data);
    let applied = |statement: &SqlStatement| statement.name(2) == Some(migrations_table);
    statements.filter(|statement| !applied(statement)).map(|statement| statement.sql).collect()
}

impl SqlStatement {
    fn drops_data(&self) -> bool {
        let drops = |at: usize, what: &[&str]| {
            self.word(at) == Some("drop") && self.word(at + 1).is_some_and(|it| what.contains(&it))
        };
        if drops(0, &["table", "schema", "materialized", "foreign", "owned"])
            || self.starts_with(&["truncate"])
            || self.starts_with(&["delete"])
            || self.starts_with(&["do"])
        {
            return true;
        }
        // The keyword COLUMN is optional after DROP.
        let parts = ["constraint", "default", "not", "expression", "identity"];
        self.starts_with(&["alter"])
            && self.word(1).is_some_and(|it| it == "table" || it == "foreign")
            && (2..self.words.len()).any(|at| {
                self.word(at) == Some("drop")
                    && self.words[at].depth == 0
                    && !self.word(at + 1).is_some_and(|it| parts.contains(&it))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::drops;

    #[test]
    fn finds_statements_that_delete_data() {
        for (sql, found) in [
            ("DROP TABLE IF EXISTS a", true),
            ("ALTER TABLE a DROP COLUMN b", true),
            ("ALTER TABLE a ADD c int, DROP b", true),
            ("ALTER TABLE a DROP CONSTRAINT b", false),
            ("ALTER TABLE a ALTER COLUMN b DROP NOT NULL", false),
            ("ALTER TABLE a ALTER b DROP DEFAULT", false),
            ("ALTER TABLE a RENAME TO drop_table", false),
            ("DROP INDEX a", false),
            ("DROP VIEW a", false),
            ("TRUNCATE a", true),
            ("DELETE FROM a", true),
            ("DELETE FROM \"seaql_migrations\" WHERE version = 'm1'", false),
            ("SELECT 'DROP TABLE a'", false),
            ("DO $$ BEGIN EXECUTE 'DROP TABLE a'; END $$", true),
        ] {
            assert_eq!(!drops(sql, "seaql_migrations").is_empty(), found, "{sql}");
        }
    }
}
