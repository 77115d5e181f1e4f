use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ProxyDatabaseTrait, ProxyExecResult, ProxyRow, Statement, TransactionTrait,
    from_query_result_to_proxy_row, sea_query::Expr,
};
use sea_orm_migration::{MigratorTraitSelf, SchemaManager, seaql_migrations};

use crate::{
    Action, AnyMigrator, Error, State, Target, enter,
    run::{create_registry_sql, fresh_sql, state_in},
};

/// The statements that [`run`](fn@crate::run) would send for `action`, without sending them.
///
/// Questions that a migration asks (does this column exist?) are answered by the database in a
/// read-only transaction; everything else is only written down.
///
/// # Errors
/// [`Error::MissingSchema`] when the schema does not exist; [`Error::NotPrintable`] when a
/// migration reads what an earlier one has yet to make.
pub async fn dry_run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    action: Action,
) -> Result<Vec<String>, Error> {
    let txn = db.begin_with_config(None, Some(sea_orm::AccessMode::ReadOnly)).await?;
    let (state, mut sql) = match enter(&txn, target).await {
        Ok(_) => {
            let state = state_in(&txn, migrator)
                .await
                .map_err(|source| Error::Migration { schema: target.name().to_owned(), source })?;
            (state, Vec::new())
        }
        // The registry's schema is made by the run itself.
        Err(Error::MissingSchema { .. }) if *target == Target::Registry => {
            (State { applied: Vec::new(), pending: migrator.names() }, vec![create_registry_sql()])
        }
        Err(error) => return Err(error),
    };
    let (names, up): (Vec<String>, bool) = match action {
        Action::Up(None) => (state.pending, true),
        Action::Up(Some(n)) => (state.pending.into_iter().take(n as usize).collect(), true),
        Action::Down(n) => (state.applied.into_iter().rev().take(n as usize).collect(), false),
        Action::Fresh => {
            sql.extend(fresh_sql(target));
            (migrator.names(), true)
        }
    };
    let recorder = Recorder { sql: Arc::default(), reader: txn };
    let written = Arc::clone(&recorder.sql);
    let recorder =
        Database::connect_proxy(DbBackend::Postgres, Arc::new(Box::new(recorder))).await?;
    if !names.is_empty() {
        migrator.install(&recorder).await?;
    }
    for name in names {
        record(&recorder, migrator, &name, up).await.map_err(|source| Error::NotPrintable {
            schema: target.name().to_owned(),
            migration: name,
            source,
        })?;
    }
    sql.append(&mut written.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(sql)
}

/// Sends the statements of one migration, and of the note that it was run, to the recorder.
async fn record(
    recorder: &DatabaseConnection,
    migrator: &AnyMigrator,
    name: &str,
    up: bool,
) -> Result<(), DbErr> {
    let manager = SchemaManager::new(recorder);
    for migration in migrator.migrations().iter().filter(|migration| migration.name() == name) {
        if up {
            migration.up(&manager).await?;
        } else {
            migration.down(&manager).await?;
        }
    }
    note(recorder, migrator, name, up).await
}

async fn note(
    db: &DatabaseConnection,
    migrator: &AnyMigrator,
    name: &str,
    up: bool,
) -> Result<(), DbErr> {
    use sea_orm::sea_query::{ExprTrait, Query};
    let table = migrator.migration_table_name();
    if up {
        let insert = Query::insert()
            .into_table(table)
            .columns([seaql_migrations::Column::Version, seaql_migrations::Column::AppliedAt])
            .values_panic([name.into(), Expr::cust("extract(epoch FROM now())::bigint")])
            .to_owned();
        db.execute(&insert).await?;
    } else {
        let delete = Query::delete()
            .from_table(table)
            .and_where(Expr::col(seaql_migrations::Column::Version).eq(name))
            .to_owned();
        db.execute(&delete).await?;
    }
    Ok(())
}

/// A connection that writes statements down, and passes on questions.
#[derive(Debug)]
struct Recorder {
    sql: Arc<Mutex<Vec<String>>>,
    reader: DatabaseTransaction,
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Recorder {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let rows = self.reader.query_all_raw(statement).await?;
        Ok(rows.iter().map(from_query_result_to_proxy_row).collect())
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        let sql = statement.to_string();
        self.sql.lock().unwrap_or_else(PoisonError::into_inner).push(sql);
        Ok(ProxyExecResult::default())
    }
}
