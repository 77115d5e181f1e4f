use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::SchemaName;

use super::{
    Profile, Report, Rule,
    functions::unqualified,
    observer::{ExecutedStatement, Failure, MigrationTrace, Observer},
    proxy::run_migration,
    second_schema::SecondSchema,
};
use crate::{
    DynMigrator, Error, Target, confirm_extensions,
    plan::all_up,
    provision::scratch::ScratchSchema,
    run::{commits::begin_next_in, schema_guard::SchemaGuard},
    session::{DISCARD_SQL, roll_back},
    shared_state,
    sql::query::execute_batch,
};

/// Runs all migrations of tenants, and those of the tables that exist once, in two scratch schemas
/// each and reports which statements violate a rule of
/// `profile`, and which have another result in the second schema.
///
/// Everything happens in one transaction that is rolled back; tenants and the registry are not
/// changed. If PostgreSQL wants a commit between two migrations, the check is repeated with commits,
/// and the schemas are dropped at the end. A migration's effects outside the database – it prints a
/// line, calls a service – happen as often as it runs. A migration that fails is a finding and ends
/// the check, since later ones depend on it.
///
/// # Errors
/// [`Error::Database`] if the database fails.
pub async fn check(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    profile: Profile,
) -> Result<Report, Error> {
    confirm_extensions(db, migrator).await?;
    let report = check_one(db, migrator, profile).await?;
    let Some(shared) = migrator.shared() else { return Ok(report) };
    let pending = shared_state(db, migrator).await?.pending;
    Ok(check_one(db, shared.migrator(), profile).await?.and(report.explained_by(&pending)))
}

async fn check_one(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    profile: Profile,
) -> Result<Report, Error> {
    match attempt(db, migrator, profile, false).await? {
        (_, true) => Ok(attempt(db, migrator, profile, true).await?.0),
        (report, false) => Ok(report),
    }
}

/// The report, and whether PostgreSQL wants a commit between migrations.
async fn attempt(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    profile: Profile,
    commits: bool,
) -> Result<(Report, bool), Error> {
    let txn = db.begin().await?;
    let result = check_in(&txn, migrator, profile, commits).await;
    let rolled_back = roll_back(txn).await;
    let result = result?;
    rolled_back?;
    Ok(result)
}

async fn check_in(
    txn: &DatabaseTransaction,
    migrator: &DynMigrator,
    profile: Profile,
    commits: bool,
) -> Result<(Report, bool), Error> {
    // The schema that is examined is entered last.
    let mut second = ScratchSchema::create(txn, "check_second", migrator).await?;
    migrator.install(txn).await?;
    let mut first = ScratchSchema::create(txn, "check", migrator).await?;
    migrator.install(txn).await?;
    (first.committed, second.committed) = (commits, commits);
    let observer = Observer::new(txn, first.schema(), second.schema(), migrator);
    let report = check_all(&observer, migrator, profile, commits).await;
    let wants_commit = observer.wants_commit.into_inner();
    let report = first.end(report).await;
    Ok((second.end(report).await?, wants_commit))
}

/// The first migration whose result depends on other schemas of the database. `None` if the check
/// fails.
pub(crate) async fn schema_dependent(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Option<String> {
    let rules = [Rule::CatalogByName, Rule::DiffersBetweenSchemas];
    let report = check_one(db, migrator, Profile::Postgres).await.ok()?;
    report.findings.into_iter().find(|it| rules.contains(&it.rule)).map(|it| it.migration)
}

async fn check_all(
    observer: &Observer<'_>,
    migrator: &DynMigrator,
    profile: Profile,
    commits: bool,
) -> Result<Report, Error> {
    let (schema, second) = (observer.schema, observer.second);
    let target = Target::Schema(schema.clone());
    let beside = [second.as_str()];
    let mut watch = SchemaGuard::begin_with(observer.txn, &target, migrator, &beside).await?;
    let mut second = SecondSchema::new(observer);
    let mut report = Report::new(profile);
    let (mut reported, mut left) = (Vec::new(), false);
    for step in all_up(migrator) {
        observer.begin(step.is_transactional()).await?;
        let mut observed = observer.end(run_migration(observer, &step, schema).await)?;
        match watch.outside(observer.txn, &step).await {
            Err(ended @ Error::TransactionEnded { .. }) => return Err(ended),
            Ok(objects) => {
                left |= !objects.is_empty();
                outside(&mut observed, objects);
            }
            Err(_) => {}
        }
        // Deferred constraints are checked, and the migration is recorded.
        if observed.failed.is_none()
            && let Err(error) = step.check_and_record(observer.txn, migrator).await
        {
            let message = Error::Database(error).to_string();
            observed.failed = Some(Failure { statement: None, message });
        }
        let failed = observed.failed.is_some();
        if !failed {
            functions(observer, schema, &mut observed, &mut reported).await?;
            execute_batch(observer.txn, DISCARD_SQL).await?;
            let unexplained = !observed.explains_difference();
            if let Some(message) = second.follow(migrator, &step).await?
                && unexplained
            {
                observed.fire(Rule::DiffersBetweenSchemas, message);
            }
        }
        report.add(step.migration.name(), observed);
        // Objects outside the schemas would remain after a commit.
        if failed || commits && left {
            break;
        }
        if commits {
            begin_next_in(observer.txn, &target, migrator).await?;
            watch = SchemaGuard::begin_with(observer.txn, &target, migrator, &beside).await?;
        }
    }
    Ok(report)
}

/// Adds objects that the migration created outside the schema, unless a statement reports them.
fn outside(observed: &mut MigrationTrace, objects: Vec<String>) {
    for object in objects {
        let name = object.split(' ').next_back().unwrap_or(&object);
        let mut violations = observed.statements.iter().flat_map(|sent| &sent.violations);
        if !violations.any(|it| it.rule == Rule::OutsideSchema && it.message.contains(name)) {
            observed.fire(Rule::OutsideSchema, format!("creates {object}"));
        }
    }
}

/// Adds functions of the migration that need the schema in `search_path`.
async fn functions(
    observer: &Observer<'_>,
    schema: &SchemaName,
    observed: &mut MigrationTrace,
    reported: &mut Vec<String>,
) -> Result<(), Error> {
    for found in unqualified(observer.txn, schema).await? {
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
        let makes = |sent: &&mut ExecutedStatement| sent.sql.to_lowercase().contains(&name);
        match observed.statements.iter_mut().rfind(makes) {
            Some(sent) => sent.fire(Rule::FunctionSearchPath, message),
            None => observed.fire(Rule::FunctionSearchPath, message),
        }
    }
    Ok(())
}
