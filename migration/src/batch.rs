//! Everything that makes a schema, in one message.

use entity::registry::SchemaName;
use sea_orm::{ConnectionTrait, DbErr, sea_query::PostgresQueryBuilder};

use crate::{
    AnyMigrator, Target,
    plan::every_step,
    provision::{create_schema_sql, ddl},
    record::{Unrecordable, joined, record, record_install},
    scope::stay_in,
    sql::replace_placeholder,
    statement::Ground,
    step::notes,
};

/// What all migrations of a migrator send to an empty schema.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Makes the migrations table.
    install: String,
    /// One text for each migration.
    migrations: Vec<String>,
    /// Notes all of them in the migrations table.
    notes: String,
}

impl Recording {
    /// None when it cannot be told without running the migrations, which is logged.
    pub(crate) async fn make(migrator: &AnyMigrator) -> Option<Self> {
        match record(&every_step(migrator), migrator, Ground::Empty).await {
            Ok(migrations) => {
                let install = record_install(migrator);
                let names = migrator.names();
                let insert = (!names.is_empty()).then(|| notes(migrator, &names));
                let notes = insert.map(|insert| insert.to_string(PostgresQueryBuilder));
                Some(Self { install, migrations, notes: joined(notes.into_iter().collect()) })
            }
            Err(Unrecordable { migration, reason }) => {
                tracing::warn!(
                    migration,
                    reason,
                    "a migration cannot be recorded; new tenants' migrations are run one by one"
                );
                None
            }
        }
    }

    /// The statements that make `schema`. Nothing is left of them when one fails, and
    /// `search_path` is afterwards what it was.
    fn batch(&self, schema: &SchemaName, migrator: &AnyMigrator) -> String {
        let target = Target::Schema(schema.clone());
        let path = migrator.search_path(&target);
        let stay = stay_in(&path);
        let mut sql = format!(
            "SAVEPOINT {SAVEPOINT};
{};
SELECT set_config('tenantry.search_path', current_setting('search_path'), true),
    set_config('search_path', '{path}', true);
",
            create_schema_sql(schema)
        );
        sql.push_str(&self.install);
        for migration in &self.migrations {
            sql.push_str(&replace_placeholder(migration, &target.quoted()));
            sql.push_str(&stay);
        }
        sql.push_str(&self.notes);
        sql.push_str(&format!(
            "SELECT set_config('search_path', current_setting('tenantry.search_path'), true);
RELEASE SAVEPOINT {SAVEPOINT}"
        ));
        sql
    }

    /// Makes `schema` in one round trip. When that fails the transaction is as it was before.
    pub(crate) async fn send(
        &self,
        txn: &impl ConnectionTrait,
        schema: &SchemaName,
        migrator: &AnyMigrator,
    ) -> Result<(), DbErr> {
        let sent = ddl(txn, &self.batch(schema, migrator)).await;
        if sent.is_err() {
            let undo = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}");
            // Where even that fails the connection is gone, and every next statement says so.
            let _ = ddl(txn, &undo).await;
        }
        sent
    }
}

const SAVEPOINT: &str = "tenantry_provision";
