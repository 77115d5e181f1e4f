use entity::registry::SchemaName;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    TransactionTrait,
};
use sea_orm_migration::MigratorTraitSelf;

use super::{
    Report, Rule,
    functions::unqualified,
    observer::{Fired, Observed, Observer, Sent},
    proxy::Watched,
    twin::Twin,
};
use crate::{
    AnyMigrator, Error, Target, confirm_extensions, drop_schema, enter,
    plan::{Step, every_step},
    provision::ddl,
    proxy::{Halt, act},
    scope::Watch,
    session::{FORGET, roll_back},
};

/// Runs every migration in two scratch schemas side by side, and says which of their statements
/// are unsafe, and which make something else in the second schema.
///
/// All of it happens in one transaction that is rolled back; tenants and the registry are not
/// changed. The migrations really run, twice: whatever they do outside the database – print a
/// line, call another service – happens as often. A migration that fails is a finding and ends the
/// check, for those after it build on it.
///
/// # Errors
/// [`Error::Database`] if the database fails.
pub async fn check(db: &DatabaseConnection, migrator: &AnyMigrator) -> Result<Report, Error> {
    confirm_extensions(db, migrator).await?;
    let txn = db.begin().await?;
    let schema = scratch_schema(&txn, "").await?;
    let twin = scratch_schema(&txn, "_twin").await?;
    // The one that is looked at comes last, so that search_path is left at it.
    for schema in [&twin, &schema] {
        ddl(&txn, &format!("CREATE SCHEMA {}", schema.quoted())).await?;
        enter(&txn, &Target::Schema(schema.clone()), migrator).await?;
        migrator.install(&txn).await?;
    }
    let observer = Observer::new(txn, schema.to_string(), twin.to_string());
    let report = check_all(&observer, migrator, &schema, &twin).await;
    roll_back(observer.txn).await?;
    if let Err(Error::TransactionEnded { .. }) = &report {
        for schema in [&schema, &twin] {
            drop_schema(db, schema).await?;
        }
    }
    report
}

/// The first migration whose outcome depends on the other schemas of the database, if there is
/// one. A check that fails finds none.
pub(crate) async fn schema_dependent(
    db: &DatabaseConnection,
    migrator: &AnyMigrator,
) -> Option<String> {
    let rules = [Rule::CatalogByName, Rule::DiffersBetweenSchemas];
    let report = check(db, migrator).await.ok()?;
    report.findings.into_iter().find(|it| rules.contains(&it.rule)).map(|it| it.migration)
}

/// No other transaction has the same server process.
async fn scratch_schema(txn: &DatabaseTransaction, suffix: &str) -> Result<SchemaName, Error> {
    let sql = "SELECT 'migration_check_' || pg_backend_pid() || $1";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [suffix.into()]);
    let row = txn.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))?;
    let name: String = row.try_get_by_index(0)?;
    name.parse().map_err(|error| Error::Database(DbErr::Type(format!("{error}"))))
}

async fn check_all(
    observer: &Observer,
    migrator: &AnyMigrator,
    schema: &SchemaName,
    twin: &SchemaName,
) -> Result<Report, Error> {
    let target = Target::Schema(schema.clone());
    let watch = Watch::begin(&observer.txn, &target, migrator).await?;
    let mut twin = Twin::new(observer, schema, twin);
    let mut report = Report::default();
    let mut reported = Vec::new();
    for step in every_step(migrator) {
        observer.begin(!step.alone()).await?;
        let mut observed = observer.end(run(observer, &step, schema).await)?;
        let failed = observed.failed.is_some();
        if let Err(ended @ Error::TransactionEnded { .. }) = watch.check(&observer.txn, &step).await
        {
            return Err(ended);
        }
        if !failed {
            functions(observer, schema, &mut observed, &mut reported).await?;
            step.note(&observer.txn, migrator).await?;
            ddl(&observer.txn, FORGET).await?;
            let unexplained = !observed.explains_difference();
            if let Some(what) = twin.follow(migrator, &step).await?
                && unexplained
            {
                observed.fire(Fired { rule: Rule::DiffersBetweenSchemas, what });
            }
        }
        report.add(step.migration.name(), observed);
        if failed {
            break;
        }
    }
    Ok(report)
}

/// Runs one migration in one of the two schemas. Returns why it failed, if it did.
pub(super) async fn run(observer: &Observer, step: &Step, schema: &SchemaName) -> Option<String> {
    let mut backend = Watched { observer, schema: schema.quoted() };
    act(step, &mut backend).await.err().map(|halt| match halt {
        Halt::Failed(error) => Error::Database(error).to_string(),
        Halt::TransactionControl(statement) => statement,
        Halt::Panicked(message) => format!("it panics: {message}"),
    })
}

/// Adds the functions of the migration that need the schema in `search_path`.
async fn functions(
    observer: &Observer,
    schema: &SchemaName,
    observed: &mut Observed,
    reported: &mut Vec<String>,
) -> Result<(), Error> {
    for found in unqualified(&observer.txn, schema).await? {
        let (function, names) = (&found.function, found.names.join(", "));
        let mut what = format!("the body of {function} names {names} without a schema");
        if !found.callers.is_empty() {
            what.push_str(&format!(", and {} calls it", found.callers.join(", ")));
        }
        if reported.contains(&what) {
            continue;
        }
        reported.push(what.clone());
        let name = function.split('(').next().unwrap_or(function).to_lowercase();
        let makes = |sent: &&mut Sent| sent.text.to_lowercase().contains(&name);
        let fired = Fired { rule: Rule::FunctionSearchPath, what };
        match observed.sent.iter_mut().rfind(makes) {
            Some(sent) => sent.fired.push(fired),
            None => observed.fire(fired),
        }
    }
    Ok(())
}
