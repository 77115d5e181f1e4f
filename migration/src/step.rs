//! Carrying out one step, on whatever connection: a transaction, a connection of its own, or the
//! recorder of a dry run.

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr,
    sea_query::{DeleteStatement, Expr, ExprTrait, InsertStatement, PostgresQueryBuilder, Query},
};
use sea_orm_migration::{
    IntoSchemaManagerConnection, MigratorTraitSelf, SchemaManager, seaql_migrations,
};

use crate::{AnyMigrator, Error, Target, plan::Step, scope::check};

impl Step {
    /// Runs the migration and notes it.
    pub(crate) async fn run<'c, C>(&self, db: &'c C, migrator: &AnyMigrator) -> Result<(), DbErr>
    where
        C: ConnectionTrait,
        &'c C: IntoSchemaManagerConnection<'c>,
    {
        self.act(db).await?;
        self.note(db, migrator).await
    }

    /// Runs the migration.
    pub(crate) async fn act<'c>(
        &self,
        db: impl IntoSchemaManagerConnection<'c>,
    ) -> Result<(), DbErr> {
        let manager = SchemaManager::new(db);
        if self.up {
            self.migration.up(&manager).await
        } else {
            self.migration.down(&manager).await
        }
    }

    /// [`run`](Self::run) in the scope of `target`, from which the migration must not lead away.
    pub(crate) async fn run_in(
        &self,
        txn: &DatabaseTransaction,
        target: &Target,
        migrator: &AnyMigrator,
    ) -> Result<(), Error> {
        self.act(txn).await.map_err(|source| self.failed(target, source))?;
        check(txn, target, self.migration.name()).await?;
        self.note(txn, migrator).await.map_err(|source| self.failed(target, source))
    }

    /// The error of this step.
    pub(crate) fn failed(&self, target: &Target, source: DbErr) -> Error {
        let migration = self.migration.name().to_owned();
        Error::Migration { schema: target.name().to_owned(), migration, source }
    }

    /// Notes in the schema's migrations table that the migration was run.
    pub(crate) async fn note(
        &self,
        db: &impl ConnectionTrait,
        migrator: &AnyMigrator,
    ) -> Result<(), DbErr> {
        if self.up {
            db.execute(&notes(migrator, &[self.migration.name()])).await?;
        } else {
            db.execute(&self.unnote(migrator)).await?;
        }
        Ok(())
    }

    /// [`note`](Self::note) as text.
    pub(crate) fn note_sql(&self, migrator: &AnyMigrator) -> String {
        if self.up {
            notes(migrator, &[self.migration.name()]).to_string(PostgresQueryBuilder)
        } else {
            self.unnote(migrator).to_string(PostgresQueryBuilder)
        }
    }

    fn unnote(&self, migrator: &AnyMigrator) -> DeleteStatement {
        Query::delete()
            .from_table(migrator.migration_table_name())
            .and_where(Expr::col(seaql_migrations::Column::Version).eq(self.migration.name()))
            .to_owned()
    }
}

/// The statement that notes these migrations, of which there is at least one, as run.
pub(crate) fn notes(migrator: &AnyMigrator, names: &[impl AsRef<str>]) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(migrator.migration_table_name())
        .columns([seaql_migrations::Column::Version, seaql_migrations::Column::AppliedAt]);
    for name in names {
        let now = Expr::cust("extract(epoch FROM now())::bigint");
        insert.values_panic([name.as_ref().into(), now]);
    }
    insert
}
