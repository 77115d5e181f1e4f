//! Carrying out one step in a transaction, and the row that records it.

use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{DeleteStatement, Expr, ExprTrait, InsertStatement, PostgresQueryBuilder, Query},
};
use sea_orm_migration::{MigratorTraitSelf, seaql_migrations};

use crate::{
    DynMigrator, Error, Target,
    plan::Step,
    provision::execute_batch,
    proxy::{Backend, Halt, InTransaction, act, is_aborted},
    run::commits::SETTLE,
    search_path::SchemaGuard,
};

impl Step {
    /// Runs the migration in the transaction that is watched, and records it. One that is to run
    /// outside a transaction runs without what a transaction refuses: that is for a new schema, on
    /// whose tables nobody waits.
    pub(crate) async fn run_in<C: ConnectionTrait>(
        &self,
        txn: &C,
        watch: &SchemaGuard<'_>,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let mut backend = InTransaction::new(txn, watch.target, self.alone());
        self.run_on(&mut backend, txn, watch, migrator).await
    }

    /// [`run_in`](Self::run_in) by way of a backend that sends to the same transaction.
    pub(crate) async fn run_on(
        &self,
        backend: &mut impl Backend,
        txn: &impl ConnectionTrait,
        watch: &SchemaGuard<'_>,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let ignored = match act(self, backend).await {
            Ok(ignored) => ignored,
            Err(halt) => {
                // Whether it is undone depends on that.
                if let Err(ended @ Error::TransactionEnded { .. }) = watch.check(txn, self).await {
                    return Err(ended);
                }
                return Err(self.halted(watch.target, halt));
            }
        };
        match (watch.check(txn, self).await, ignored) {
            (Err(Error::Database(aborted)), ignored) if is_aborted(&aborted) => {
                return Err(self.failed(watch.target, ignored.unwrap_or(aborted)));
            }
            (checked, _) => checked?,
        }
        self.conclude(txn, migrator).await.map_err(|source| self.failed(watch.target, source))
    }

    /// The error of this step, all of which is undone.
    pub(crate) fn failed(&self, target: &Target, source: DbErr) -> Error {
        self.halted(target, Halt::Failed(source))
    }

    /// The error of this step, which runs in a transaction that is rolled back now.
    pub(crate) fn halted(&self, target: &Target, halt: Halt) -> Error {
        let (schema, migration) = (target.name().to_owned(), self.migration.name().to_owned());
        match halt {
            Halt::Failed(source) => {
                Error::Migration { schema, migration, source, rolled_back: true }
            }
            Halt::TransactionControl(statement) => {
                Error::TransactionControl { schema, migration, statement }
            }
            Halt::Panicked(message) => Error::Panicked { schema, migration, message },
        }
    }

    /// Checks the constraints that the migration has deferred, and records it, in one round trip.
    pub(crate) async fn conclude(
        &self,
        txn: &impl ConnectionTrait,
        migrator: &DynMigrator,
    ) -> Result<(), DbErr> {
        execute_batch(txn, &format!("{SETTLE};\n{}", self.note_sql(migrator))).await
    }

    /// Records in the schema's migrations table that the migration was run.
    pub(crate) async fn note(
        &self,
        db: &impl ConnectionTrait,
        migrator: &DynMigrator,
    ) -> Result<(), DbErr> {
        if self.up {
            db.execute(&notes(migrator, &[self.migration.name()])).await?;
        } else {
            db.execute(&self.unnote(migrator)).await?;
        }
        Ok(())
    }

    /// [`note`](Self::note) as text.
    pub(crate) fn note_sql(&self, migrator: &DynMigrator) -> String {
        if self.up {
            notes(migrator, &[self.migration.name()]).to_string(PostgresQueryBuilder)
        } else {
            self.unnote(migrator).to_string(PostgresQueryBuilder)
        }
    }

    fn unnote(&self, migrator: &DynMigrator) -> DeleteStatement {
        Query::delete()
            .from_table(migrator.migration_table_name())
            .and_where(Expr::col(seaql_migrations::Column::Version).eq(self.migration.name()))
            .to_owned()
    }
}

/// The statement that records these migrations, of which there is at least one, as run.
pub(crate) fn notes(migrator: &DynMigrator, names: &[impl AsRef<str>]) -> InsertStatement {
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
