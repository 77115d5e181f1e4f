//! Migration engine for schema-per-tenant applications on SeaORM and PostgreSQL: creation of tenants'
//! schemas, migration of one schema or of all tenants, detection of drift, a lint of migrations, and
//! the `migration` command.
//!
//! An application brings a [`TenantMigrator`]. Its migrations run with `search_path` set to exactly
//! the target schema, after PostgreSQL has confirmed that the schema exists: a missing schema is an
//! error, never a migration of `public`.
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
//! | root | [`run`](fn@run) migrates one schema, [`run_fleet`] many; [`create_schema`] creates one |
//! | [`adopt`] | adoption of schemas that exist already |
//! | [`drift`] | comparison of schemas with the migrations |
//! | [`lint`] | lint of migrations |
//! | `cli` | the `migration` command (feature `cli`) |
//! | [`connect`] | options and errors of connections |
//! | [`registry`] | migrations of the registry |
//! | [`setup`] | roles with the least privileges |
//! | [`sql`] | SQL lexer |

pub mod adopt;
#[cfg(feature = "cli")]
pub mod cli;
pub mod connect;
pub mod drift;
pub mod lint;
pub mod registry;
pub mod setup;
pub mod sql;

mod citus;
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
mod shared;
mod state;

pub use citus::{NodeAddress, confirm_local, is_citus, nodes_of};
pub use db_error::{DbErrorKind, driver_error};
pub use error::{
    Error, describe,
    lock_holders::{LockHolder, lock_holders},
    name_dependents,
};
pub use extension::{
    Extension, ExtensionError, confirm_extensions, extension_sql, make_extensions,
};
pub use fleet::{
    Canary, DroppingTenant, Event, FailedTenant, FailureLimit, FleetOptions, FleetStatus,
    FleetTenant, MigrationFailure, SharedStatus, StopReason, Summary, TenantSelection,
    VersionCount, VersionStatus, fleet_status, fleet_tenants, run_fleet, tenants_by_slug,
    tenants_status,
};
pub use migrator::{DynMigrator, TenantMigrator};
pub use plan::Action;
pub use provision::{
    Rehearsal, SLUG_LOCK_TIMEOUT, announce_provisioning, apply_remaining,
    apply_remaining_with_commits, check_deferred, count_relations, create_schema,
    create_schema_with_commits, delete_tenant, dependents, drop_relations_batch, drop_schema,
    insert_tenant, lock_tables, rehearse, rehearse_in, remove_unfinished, rename_schema,
};
pub use registry::{
    application::{claim_application, confirm_application},
    compatibility::confirm_registry,
};
pub use run::{InvalidIndex, dry_run, invalid_indexes, pause_after_race, run, state};
pub use search_path::Target;
pub use session::notice_lost_client;
pub use shared::{SharedMigrator, shared_state};
pub use state::{MigrationOutcome, MigrationState, Timeouts};
