//! Execution of one step in a transaction.

use sea_orm::{ConnectionTrait, DbErr};

use super::{commits::CHECK_DEFERRED, schema_guard::SchemaGuard};
use crate::{
    DynMigrator, Error, Target,
    plan::Step,
    proxy::{Backend, Halt, InTransaction, is_aborted, run_migration},
    sql::query::execute_batch,
};

impl Step {
    /// Runs the migration in the guarded transaction and records it. A non-transactional migration
    /// runs without `CONCURRENTLY` and the like, which is correct for a new schema, whose tables
    /// have no readers.
    pub(crate) async fn run_in<C: ConnectionTrait>(
        &self,
        txn: &C,
        guard: &SchemaGuard<'_>,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let mut backend =
            InTransaction::new(txn, guard.target, self.is_transactional()).one_by_one(guard.citus);
        self.run_on(&mut backend, txn, guard, migrator).await
    }

    /// [`run_in`](Self::run_in) through a backend that sends to the same transaction.
    pub(crate) async fn run_on(
        &self,
        backend: &mut impl Backend,
        txn: &impl ConnectionTrait,
        guard: &SchemaGuard<'_>,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let ignored = match run_migration(self, backend).await {
            Ok(ignored) => ignored,
            Err(halt) => {
                // If the transaction has ended, the migration is not rolled back.
                if let Err(ended @ Error::TransactionEnded { .. }) = guard.check(txn, self).await {
                    return Err(ended);
                }
                return Err(self.halted(guard.target, halt));
            }
        };
        match (guard.check(txn, self).await, ignored) {
            (Err(Error::Database(aborted)), ignored) if is_aborted(&aborted) => {
                return Err(self.failed(guard.target, ignored.unwrap_or(aborted)));
            }
            (checked, _) => checked?,
        }
        let recorded = self.check_and_record(txn, migrator).await;
        recorded.map_err(|source| self.failed(guard.target, source))
    }

    /// The error of this step, which is rolled back.
    pub(crate) fn failed(&self, target: &Target, source: DbErr) -> Error {
        self.halted(target, Halt::Failed(source))
    }

    /// The error of this step, whose transaction is about to be rolled back.
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

    /// Checks deferred constraints and updates the migrations table, in one round trip.
    pub(crate) async fn check_and_record(
        &self,
        txn: &impl ConnectionTrait,
        migrator: &DynMigrator,
    ) -> Result<(), DbErr> {
        execute_batch(txn, &format!("{CHECK_DEFERRED};\n{}", self.row_sql(migrator))).await
    }
}
