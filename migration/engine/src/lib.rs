//! Migrations of the registry and of tenants' schemas, and what runs them.
//!
//! There are two migrators: [`registry::Migrator`] for the tables that exist once and
//! [`tenant::Migrator`] for the tables of every tenant. [`provision`](fn@provision) makes one
//! schema with all its tables inside the caller's transaction; [`run`](fn@run) moves one existing
//! schema up or down. Both take any migrator, so an application brings its own.
//!
//! The one invariant: a migration runs with `search_path` set to exactly the schema it is meant
//! for, in a transaction, after PostgreSQL has confirmed that this schema exists. A missing schema
//! is an error, never a migration of `public`.
//!
//! ```no_run
//! # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
//! use tenantry_migrate::{Action, AnyMigrator, Target, Timeouts, run, tenant};
//!
//! let migrator = AnyMigrator::tenant(tenant::Migrator);
//! let target = Target::Schema("tenant_1".parse()?);
//! let done = run(&db, &target, &migrator, &Action::Up(None), Timeouts::default()).await?;
//! println!("applied: {:?}", done.applied);
//! # Ok(()) }
//! ```

pub mod check;
pub mod cli;
pub mod connect;
pub mod generate;
pub mod registry;
pub mod sql;
pub mod verify;

mod ahead;
mod alone;
mod any_migrator;
mod application;
mod bare_names;
mod batch;
mod claim;
mod commits;
mod dependents;
mod drop;
mod dry_run;
mod error;
mod extension;
mod fault;
mod fleet;
mod holders;
mod indexes;
mod outside;
mod plan;
mod privilege;
mod provision;
mod proxy;
mod record;
mod rename;
mod rounds;
mod run;
mod scope;
mod scratch;
mod session;
mod statement;
mod status;
mod step;

pub use ahead::confirm_registry;
pub use any_migrator::{AnyMigrator, TenantMigrator};
pub use application::{claim_application, confirm_application};
pub use commits::{build_schema_with_commits, remove_unfinished};
pub use dependents::{dependents, lock_tables, name_dependents};
pub use drop::{drop_relations, drop_schema, relations};
pub use dry_run::dry_run;
pub use error::{Error, describe};
pub use extension::{
    Extension, ExtensionError, confirm_extensions, extension_sql, make_extensions,
};
pub use fault::Fault;
pub use fleet::{Canary, Event, Fleet, Limit, Member, Stopped, Summary, Who, members, run_fleet};
pub use holders::{LockHolder, lock_holders};
pub use plan::Action;
pub use provision::{build_at_once, build_schema, provision, register, unregister};
pub use record::{Rehearsal, rehearse, rehearse_in};
pub use rename::rename_schema;
pub use rounds::pause_after_race;
pub use run::{Outcome, State, Timeouts, run, state};
pub use scope::{Target, enter, leave};
pub use session::notice_lost_client;
pub use status::{
    DroppingMember, FailedMember, FailureNote, FleetStatus, Standing, VersionCount, fleet_status,
};
