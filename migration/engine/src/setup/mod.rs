//! Least privilege in the database: a role that owns schemas and tables, and a role that the
//! application serves with, which reads and writes rows and can neither create nor drop.
//!
//! [`plan`] compares the database with that and returns the statements that are missing, so they may
//! be run repeatedly; [`apply`] runs them. Default privileges of the owner cover the schemas and
//! tables of tenants to come. Settings of the application's role are those of its sessions behind a
//! pooler in transaction mode.
//!
//! ```no_run
//! use tenantry_migrate::{DynMigrator, setup::{SetupOptions, apply}};
//!
//! # async fn example(db: sea_orm::DatabaseConnection, migrator: DynMigrator)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = SetupOptions::default();
//! options.owner_role = Some("shop_owner".parse()?);
//! options.app_role = Some("shop_app".parse()?);
//! apply(&db, &migrator, &options, |step| println!("{}", step.title)).await?;
//! # Ok(()) }
//! ```

mod database;
mod error;
mod grants;
mod owners;
mod role_name;
mod script;
mod sessions;

use std::{collections::HashSet, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};
use tokio::time::sleep;

pub use error::SetupError;
pub(crate) use grants::grant_defaults;
pub use grants::{MissingGrant, missing_grants};
pub use role_name::{RoleName, RoleNameError};
pub use script::{SetupPlan, SetupStep};

use crate::{
    DbErrorKind, DynMigrator,
    lock::registry_exists,
    sql::query::{column, execute_batch, rows},
};
use database::Roles;

/// Attempts if locks are not free, or if other programs change the same privileges.
const MAX_ATTEMPTS: u32 = 30;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// Number of statements in one transaction, since a change of an owner locks the object.
const STATEMENTS_PER_STEP: usize = 50;

/// Number of schemas that one query reads. Each query reads the catalog of all schemas.
const SCHEMAS_PER_QUERY: usize = 2000;

/// Roles of an application, and how far their setup may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupOptions {
    /// Role that owns schemas and tables; by default, `DATABASE_owner`.
    pub owner_role: Option<RoleName>,
    /// Role that the application serves with; by default, `DATABASE_app`.
    pub app_role: Option<RoleName>,
    /// Whether objects of other roles in the registry, the shared tables and the schemas of tenants
    /// become the owner's. That locks each of them for a moment.
    pub take_ownership: bool,
    /// Whether the right to connect to every other database of the server is taken from `PUBLIC`.
    pub other_databases: bool,
    /// Longest `statement_timeout` of the application's role, for sessions behind a pooler; by
    /// default, 25 seconds, and 0 for none. As in the configuration of the application, or shorter.
    pub statement_timeout: Option<Duration>,
    /// Longest `idle_in_transaction_session_timeout` of that role; by default, 30 seconds, and 0 for
    /// none.
    pub idle_in_transaction_timeout: Option<Duration>,
}

/// Returns the statements that are missing. Changes nothing.
///
/// # Errors
/// [`SetupError`] if the roles cannot be used, or if objects belong to other roles and
/// [`take_ownership`](SetupOptions::take_ownership) is not set.
pub async fn plan(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
    options: &SetupOptions,
) -> Result<SetupPlan, SetupError> {
    let roles = Roles::read(db, options).await?;
    let mut steps = Vec::new();
    let mut add = |title: &str, statements: Vec<String>| {
        if !statements.is_empty() {
            steps.push(SetupStep::new(title, statements));
        }
    };
    add("roles", roles.create(db).await?);
    add("the database", roles.database(db).await?);
    add("settings of sessions", roles.settings(db, migrator, options).await?);
    let schemas = schemas(db, migrator).await?;
    let foreign = owners::others(db, &roles, &schemas).await?;
    if !foreign.is_empty() && !options.take_ownership {
        return Err(owners::refusal(&roles, &foreign));
    }
    for objects in foreign.chunks(STATEMENTS_PER_STEP) {
        let statements = objects.iter().map(|it| it.alter.clone()).collect();
        add("ownership of what exists", statements);
    }
    add("privileges on what will be created", roles.defaults(db).await?);
    add("schemas of extensions", roles.extensions(db, migrator).await?);
    let wanted = grants::wanted(roles.application().as_str());
    for schemas in schemas.chunks(SCHEMAS_PER_QUERY) {
        for (title, statements) in [
            ("privileges on what exists", grants::missing(db, schemas, &wanted).await?),
            ("further privileges", grants::excess(db, schemas, &wanted).await?),
        ] {
            for statements in statements.chunks(STATEMENTS_PER_STEP) {
                add(title, statements.to_vec());
            }
        }
    }
    let (mut others, mut revoke) = (Vec::new(), Vec::new());
    for (name, statement) in roles.other_databases(db).await? {
        match options.other_databases {
            true => revoke.push(statement),
            false => others.push(name),
        }
    }
    add("other databases", revoke);
    Ok(roles.plan(steps, others))
}

/// Runs the statements of [`plan`], each step in a transaction of its own. `report` is called after
/// each step. An interrupted run is resumed by the next one.
///
/// Needs a superuser, or a role that may create roles and owns the database and its objects.
/// Returns a plan without statements.
///
/// # Errors
/// As for [`plan`]; [`SetupError::NotApplied`] if statements had no effect,
/// [`SetupError::StillPrivileged`] if the application's role has rights through another role.
pub async fn apply(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    options: &SetupOptions,
    mut report: impl FnMut(&SetupStep),
) -> Result<SetupPlan, SetupError> {
    let mut roles_existed = true;
    let (mut ran, mut left): (HashSet<String>, Vec<String>) = Default::default();
    let mut last_error = None;
    'attempts: for _ in 0..MAX_ATTEMPTS {
        let plan = plan(db, migrator, options).await?;
        roles_existed &= plan.roles_exist;
        if plan.is_empty() {
            Roles::read(db, options).await?.confirm(db).await?;
            return Ok(SetupPlan { roles_exist: roles_existed, ..plan });
        }
        left = plan.steps.iter().flat_map(|step| &step.statements).cloned().collect();
        if left.iter().all(|statement| ran.contains(statement)) {
            break;
        }
        for step in &plan.steps {
            match run(db, step).await {
                Ok(()) => report(step),
                Err(error) if is_transient(&error) => {
                    last_error = Some(error);
                    sleep(PAUSE).await;
                    // Other programs may have changed something.
                    continue 'attempts;
                }
                Err(error) => return Err(error.into()),
            }
        }
        last_error = None;
        ran = left.iter().cloned().collect();
    }
    Err(last_error.map_or(SetupError::NotApplied { statements: left }, SetupError::Database))
}

async fn run(db: &DatabaseConnection, step: &SetupStep) -> Result<(), DbErr> {
    let txn = db.begin().await?;
    execute_batch(&txn, &step.sql()).await?;
    txn.commit().await
}

fn is_transient(error: &DbErr) -> bool {
    use DbErrorKind as Kind;
    match DbErrorKind::of(error) {
        Kind::LockTimeout
        | Kind::SerializationConflict
        | Kind::CatalogRace
        | Kind::DuplicateObject
        // Dropped meanwhile.
        | Kind::UndefinedTable => true,
        // A role that was created meanwhile.
        Kind::Unique(index) => index.starts_with("pg_"),
        _ => false,
    }
}

/// The schemas whose objects belong to the owner: of the registry, of shared tables and of tenants.
async fn schemas(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<String>, SetupError> {
    let mut once = vec![tenantry_registry::SCHEMA.to_owned()];
    once.extend(migrator.shared().map(|shared| shared.schema().as_str().to_owned()));
    let once = serde_json::Value::from(once).to_string();
    let tenants = match registry_exists(db).await? {
        true => "UNION SELECT schema FROM registry.tenants WHERE status <> 'dropped'",
        false => "",
    };
    let sql = format!(
        "SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname IN
             (SELECT json_array_elements_text($1::text::json) {tenants}) ORDER BY 1"
    );
    Ok(column(db, sql, [once.into()]).await?)
}

/// Two columns of text of every row.
async fn pairs(
    db: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = sea_orm::Value>,
) -> Result<Vec<(String, String)>, DbErr> {
    let rows = rows(db, sql, values).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}
