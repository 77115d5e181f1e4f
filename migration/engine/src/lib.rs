//! Migration engine for schema-per-tenant applications on SeaORM and PostgreSQL: provisioning of
//! tenants' schemas, migrations of whole fleets, detection of drift, a lint of migrations, and the
//! `migration` command.
//!
//! An application brings a [`TenantMigrator`]; [`registry`] has the migrations of the tables that
//! exist once. A migration runs with `search_path` set to exactly the schema it is meant for, after
//! PostgreSQL has confirmed that the schema exists: a missing schema is an error, never a migration
//! of `public`.
//!
//! ```no_run
//! use tenantry_migrate::{Action, DynMigrator, Error, Target, TenantMigrator, Timeouts, run};
//!
//! async fn migrate(db: sea_orm::DatabaseConnection, migrator: impl TenantMigrator + 'static) -> Result<(), Error> {
//!     let target = Target::Schema("tenant_1".parse().expect("a schema name"));
//!     let migrator = DynMigrator::tenant(migrator);
//!     let done = run(&db, &target, &migrator, &Action::Up(None), Timeouts::default()).await?;
//!     println!("applied: {:?}", done.applied);
//!     Ok(())
//! }
//! ```
//!
//! | module | contents |
//! |---|---|
//! | root | [`run`](fn@run) migrates one schema, [`run_fleet`] many; [`provision`](fn@provision) makes one |
//! | [`drift`] | comparison of schemas with what the migrations make |
//! | [`lint`] | lint of migrations |
//! | `cli` | the `migration` command (feature `cli`) |
//! | `generate` | new migrations (feature `cli`) |
//! | [`connect`] | options and errors of connections |
//! | [`registry`] | migrations of the registry |
//! | [`sql`] | lexer of SQL |

#[cfg(feature = "cli")]
pub mod cli;
pub mod connect;
pub mod drift;
#[cfg(feature = "cli")]
pub mod generate;
pub mod lint;
pub mod registry;
pub mod sql;

mod db_error;
mod error;
mod extension;
mod fleet;
mod lock;
mod migrator;
mod plan;
mod provision;
mod proxy;
mod run;
mod search_path;
mod session;

pub use db_error::DbErrorKind;
pub use error::{
    Error, describe,
    lock_holders::{LockHolder, lock_holders},
};
pub use extension::{
    Extension, ExtensionError, confirm_extensions, extension_sql, make_extensions,
};
pub use fleet::{
    Canary, Event, FailureLimit, FleetOptions, FleetTenant, StopReason, Summary, TenantSelection,
    fleet_tenants, run_fleet,
    status::{
        DroppingTenant, FailedTenant, FleetStatus, MigrationFailure, VersionCount, VersionStatus,
        fleet_status,
    },
    tenants_by_slug,
};
pub use migrator::{DynMigrator, TenantMigrator};
pub use plan::Action;
pub use provision::{
    create_schema, create_schema_batched,
    dependents::{dependents, lock_tables, name_dependents},
    drop::{drop_relations, drop_schema, relations},
    provision,
    recorder::{Rehearsal, rehearse, rehearse_in},
    register,
    rename::rename_schema,
    unregister,
};
pub use registry::{
    application::{claim_application, confirm_application},
    compatibility::confirm_registry,
};
pub use run::{
    MigrationOutcome, MigrationState, Timeouts,
    commits::{create_schema_with_commits, remove_unfinished},
    dry_run::dry_run,
    run, state,
    transactions::pause_after_race,
};
pub use search_path::{Target, enter, leave};
pub use session::notice_lost_client;
