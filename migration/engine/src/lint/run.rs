use sea_orm::{DatabaseConnection, DbErr, TransactionTrait};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{SchemaName, TenantId};

use super::{
    Report, Rule,
    functions::unqualified,
    observer::{ExecutedStatement, Failure, MigrationTrace, Observer},
    proxy::LintBackend,
    second_schema::SecondSchema,
    violation::Violation,
};
use crate::{
    DynMigrator, Error, Target, confirm_extensions, drop_schema, enter,
    plan::{Step, all_up},
    provision::execute_batch,
    proxy::{Halt, act},
    run::commits::commit_and_enter,
    search_path::SchemaGuard,
    session::{FORGET, roll_back},
};

/// Runs every migration in two scratch schemas side by side, and says which of their statements
/// are unsafe, and which make something else in the second schema.
///
/// All of it happens in one transaction that is rolled back; tenants and the registry are not
/// changed. If PostgreSQL wants commits between the migrations, all of it is done again with
/// commits, and the two schemas are dropped at the end. The migrations really run, twice: whatever
/// they do outside the database – print a line, call another service – happens as often. A migration that fails is a finding and ends the
/// check, for those after it build on it.
///
/// # Errors
/// [`Error::Database`] if the database fails.
pub async fn check(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<Report, Error> {
    confirm_extensions(db, migrator).await?;
    match attempt(db, migrator, false).await? {
        (_, true) => Ok(attempt(db, migrator, true).await?.0),
        (report, false) => Ok(report),
    }
}

/// The report, and whether a statement was refused that may work after a commit.
async fn attempt(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    commits: bool,
) -> Result<(Report, bool), Error> {
    let txn = db.begin().await?;
    let random = TenantId::generate().as_uuid().simple().to_string();
    let (schema, twin) = (scratch_schema(&random, "")?, scratch_schema(&random, "_twin")?);
    // The one that is looked at comes last, so that search_path is left at it.
    for schema in [&twin, &schema] {
        execute_batch(&txn, &format!("CREATE SCHEMA {}", schema.quoted())).await?;
        enter(&txn, &Target::Schema(schema.clone()), migrator).await?;
        migrator.install(&txn).await?;
    }
    let observer =
        Observer::new(txn, schema.to_string(), twin.to_string(), migrator.declared().clone());
    let report = check_all(&observer, migrator, &schema, &twin, commits).await;
    let wants_commit = observer.wants_commit.into_inner();
    let rolled_back = roll_back(observer.txn).await;
    if commits || matches!(&report, Err(Error::TransactionEnded { .. })) {
        for schema in [&schema, &twin] {
            drop_schema(db, schema).await?;
        }
    }
    let report = report?;
    rolled_back?;
    Ok((report, wants_commit))
}

/// The first migration whose outcome depends on the other schemas of the database, if there is
/// one. A check that fails finds none.
pub(crate) async fn schema_dependent(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Option<String> {
    let rules = [Rule::CatalogByName, Rule::DiffersBetweenSchemas];
    let report = check(db, migrator).await.ok()?;
    report.findings.into_iter().find(|it| rules.contains(&it.rule)).map(|it| it.migration)
}

fn scratch_schema(random: &str, suffix: &str) -> Result<SchemaName, Error> {
    let name = format!("migration_check_{random}{suffix}");
    name.parse().map_err(|error| Error::Database(DbErr::Type(format!("{error}"))))
}

async fn check_all(
    observer: &Observer,
    migrator: &DynMigrator,
    schema: &SchemaName,
    twin: &SchemaName,
    commits: bool,
) -> Result<Report, Error> {
    let target = Target::Schema(schema.clone());
    let beside = [twin.as_str()];
    let mut watch = SchemaGuard::beside(&observer.txn, &target, migrator, &beside).await?;
    let mut twin = SecondSchema::new(observer, schema, twin);
    let mut report = Report::default();
    let (mut reported, mut left) = (Vec::new(), false);
    for step in all_up(migrator) {
        observer.begin(!step.alone()).await?;
        let mut observed = observer.end(run(observer, &step, schema).await)?;
        match watch.outside(&observer.txn, &step).await {
            Err(ended @ Error::TransactionEnded { .. }) => return Err(ended),
            Ok(objects) => {
                left |= !objects.is_empty();
                outside(&mut observed, objects);
            }
            Err(_) => {}
        }
        // What is deferred is checked after each migration, and recorded with it.
        if observed.failed.is_none()
            && let Err(error) = step.conclude(&observer.txn, migrator).await
        {
            let message = Error::Database(error).to_string();
            observed.failed = Some(Failure { statement: None, message });
        }
        let failed = observed.failed.is_some();
        if !failed {
            functions(observer, schema, &mut observed, &mut reported).await?;
            execute_batch(&observer.txn, FORGET).await?;
            let unexplained = !observed.explains_difference();
            if let Some(message) = twin.follow(migrator, &step).await?
                && unexplained
            {
                observed.fire(Violation { rule: Rule::DiffersBetweenSchemas, message });
            }
        }
        report.add(step.migration.name(), observed);
        // What is outside would stay after a commit.
        if failed || commits && left {
            break;
        }
        if commits {
            commit_and_enter(&observer.txn, &target, migrator).await?;
            watch = SchemaGuard::beside(&observer.txn, &target, migrator, &beside).await?;
        }
    }
    Ok(report)
}

/// Runs one migration in one of the two schemas. Returns why it failed, if it did.
pub(super) async fn run(observer: &Observer, step: &Step, schema: &SchemaName) -> Option<String> {
    let mut backend = LintBackend { observer, schema: schema.quoted() };
    act(step, &mut backend).await.err().map(|halt| match halt {
        Halt::Failed(error) => Error::Database(error).to_string(),
        Halt::TransactionControl(statement) => statement,
        Halt::Panicked(message) => format!("it panics: {message}"),
    })
}

/// Adds what the migration has made outside the schema, unless a statement's effects say so.
fn outside(observed: &mut MigrationTrace, objects: Vec<String>) {
    for object in objects {
        let name = object.split(' ').next_back().unwrap_or(&object);
        let mut violations = observed.sent.iter().flat_map(|sent| &sent.violations);
        if !violations.any(|it| it.rule == Rule::OutsideSchema && it.message.contains(name)) {
            observed.fire(Violation {
                rule: Rule::OutsideSchema,
                message: format!("it makes {object}"),
            });
        }
    }
}

/// Adds the functions of the migration that need the schema in `search_path`.
async fn functions(
    observer: &Observer,
    schema: &SchemaName,
    observed: &mut MigrationTrace,
    reported: &mut Vec<String>,
) -> Result<(), Error> {
    for found in unqualified(&observer.txn, schema).await? {
        let (function, names) = (&found.function, found.names.join(", "));
        let mut message = format!("the body of {function} names {names} without a schema");
        if !found.callers.is_empty() {
            message.push_str(&format!(", and {} calls it", found.callers.join(", ")));
        }
        if reported.contains(&message) {
            continue;
        }
        reported.push(message.clone());
        let name = function.split('(').next().unwrap_or(function).to_lowercase();
        let makes = |sent: &&mut ExecutedStatement| sent.text.to_lowercase().contains(&name);
        let violations = Violation { rule: Rule::FunctionSearchPath, message };
        match observed.sent.iter_mut().rfind(makes) {
            Some(sent) => sent.violations.push(violations),
            None => observed.fire(violations),
        }
    }
    Ok(())
}
