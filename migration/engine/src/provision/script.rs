//! The batch that creates a schema from recorded migrations.

use std::mem::take;

use sea_orm::{ConnectionTrait, DbBackend, Schema, sea_query::PostgresQueryBuilder};
use sea_orm_migration::{MigratorTraitSelf, seaql_migrations};
use tenantry_registry::SchemaName;

use super::{
    create_schema_sql,
    recorder::digest_sql,
    recording::{CapturedMigration, CapturedStatement, RecordedMigration, Recording},
};
use crate::{
    DynMigrator, Error, Target,
    plan::{Step, all_up, insert_applied},
    run::{
        commits::{CHECK_DEFERRED, mentions_deferrable},
        schema_guard::SchemaGuard,
    },
    sql::{
        SqlStatement, assert_query, assert_sql,
        effect::has_known_result,
        query::{execute_batch, statement},
        replace_placeholder,
    },
};

const SAVEPOINT: &str = "tenantry_provision";
const DIFFERS: &str = "its statements, or their results, differ between two runs";

impl Recording {
    /// What two runs of these steps agree in. Logs a warning for each migration that differs.
    ///
    /// `deferrable` is whether the schema may already have deferrable constraints.
    pub(crate) fn of(
        steps: &[Step],
        [first, second]: [&[CapturedMigration]; 2],
        mut deferrable: bool,
    ) -> Self {
        let runs = steps.iter().zip(first.iter().zip(second));
        let recorded = runs.map(|(step, (first, second))| {
            let mut recorded = RecordedMigration::of(step, first, second);
            deferrable |= second.sql().any(mentions_deferrable);
            if deferrable {
                let both = [&mut recorded.for_empty, &mut recorded.for_any].into_iter().flatten();
                both.for_each(|sql| sql.push_str(&join_statements([CHECK_DEFERRED.into()])));
            }
            recorded
        });
        Self(recorded.collect())
    }

    /// Creates `schema` in one round trip, plus two and those of the migration for each migration
    /// that has to run. If that fails, the transaction is rolled back to its state before. Leaves
    /// `search_path` unchanged.
    pub(crate) async fn execute(
        &self,
        txn: &impl ConnectionTrait,
        schema: &SchemaName,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let done = self.execute_all(txn, &Target::Schema(schema.clone()), schema, migrator).await;
        if done.is_err() {
            let undo = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}");
            // If this fails too, the connection is lost, and the next statement reports it.
            let _ = execute_batch(txn, &undo).await;
        }
        done
    }

    async fn execute_all(
        &self,
        txn: &impl ConnectionTrait,
        target: &Target,
        schema: &SchemaName,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let path = target.search_path(migrator);
        let with_path = |sql: &str| statement(sql, [path.clone().into()]).to_string();
        let unchanged = with_path("current_setting('search_path') = $1");
        let assert_path = assert_query(&unchanged, "a migration changed search_path");
        let quoted = target.quoted();
        let mut batch = format!(
            "SAVEPOINT {SAVEPOINT};
{};
SELECT set_config('tenantry.search_path', current_setting('search_path'), true),
    {};
{}",
            create_schema_sql(schema),
            with_path("set_config('search_path', $1, true)"),
            migrations_table_sql(migrator)
        );
        let mut not_inserted = Vec::new();
        let mut guard = None;
        for (step, recorded) in all_up(migrator).iter().zip(&self.0) {
            if let Some(sql) = &recorded.for_empty {
                batch.push_str(&replace_placeholder(sql, &quoted));
                batch.push_str(&assert_path);
                not_inserted.push(step.migration.name().to_owned());
                continue;
            }
            batch.push_str(&insert_applied_sql(migrator, &take(&mut not_inserted)));
            execute_batch(txn, &take(&mut batch)).await?;
            if guard.is_none() {
                guard = Some(SchemaGuard::begin(txn, target, migrator).await?);
            }
            if let Some(guard) = &guard {
                step.run_in(txn, guard, migrator).await?;
            }
        }
        batch.push_str(&insert_applied_sql(migrator, &not_inserted));
        batch.push_str(&format!(
            "SELECT set_config('search_path', current_setting('tenantry.search_path'), true);
RELEASE SAVEPOINT {SAVEPOINT}"
        ));
        Ok(execute_batch(txn, &batch).await?)
    }
}

impl RecordedMigration {
    fn of(step: &Step, first: &CapturedMigration, second: &CapturedMigration) -> Self {
        let differs = || (first != second).then(|| DIFFERS.to_owned());
        let Some(reason) = second.refused.clone().or_else(differs) else {
            return Self { for_empty: Some(for_empty(second)), for_any: for_any(second) };
        };
        let migration = step.migration.name();
        tracing::warn!(
            migration,
            reason,
            "a migration cannot be recorded; it runs for each schema"
        );
        Self { for_empty: None, for_any: None }
    }
}

/// Without reads of the schema itself: they have no side effects, and always the same result. Reads
/// of other schemas, or of the schema's name, must have the recorded result.
fn for_empty(captured: &CapturedMigration) -> String {
    let sql = captured.statements.iter().map(|statement| match &statement.digest {
        Some(digest) if statement.reads_elsewhere => {
            assert_query(&has_same_rows(statement, digest), DIFFERENT_ROWS)
        }
        Some(_) => String::new(),
        None => join_statements(statement.sql.iter().cloned()),
    });
    sql.collect()
}

fn for_any(captured: &CapturedMigration) -> Option<String> {
    let sql = captured.statements.iter().map(|statement| match &statement.digest {
        Some(digest) => {
            // Not in the DO statement: the placeholder is not replaced in a string.
            let same = has_same_rows(statement, digest);
            let set = format!("SELECT set_config('tenantry.same_rows', ({same})::text, true);\n");
            let assert = assert_sql("current_setting('tenantry.same_rows')::bool", DIFFERENT_ROWS);
            Some(set + &assert)
        }
        None => {
            let known = |sql: &String| has_known_result(&SqlStatement::one(sql));
            statement.sql.iter().all(known).then(|| join_statements(statement.sql.iter().cloned()))
        }
    });
    sql.collect()
}

const DIFFERENT_ROWS: &str = "a migration would read other rows than when it was recorded";

/// Whether a read returns the same rows as when it was recorded.
fn has_same_rows(statement: &CapturedStatement, digest: &str) -> String {
    let found: String = statement.sql.iter().map(|read| digest_sql(read)).collect();
    format!("({found}) = '{digest}'")
}

/// The statement that creates the migrations table.
pub(crate) fn migrations_table_sql(migrator: &DynMigrator) -> String {
    let mut table =
        Schema::new(DbBackend::Postgres).create_table_from_entity(seaql_migrations::Entity);
    table.table(migrator.migration_table_name()).if_not_exists();
    join_statements([table.to_string(PostgresQueryBuilder)])
}

/// Joins statements to a batch. Each ends on a new line, because it may end with a comment.
pub(crate) fn join_statements(sql: impl IntoIterator<Item = String>) -> String {
    sql.into_iter().map(|sql| sql + "\n;\n").collect()
}

fn insert_applied_sql(migrator: &DynMigrator, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    join_statements([insert_applied(migrator, names).to_string(PostgresQueryBuilder)])
}
