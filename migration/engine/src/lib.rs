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
//! use tenantry_migrate::{Action, AnyMigrator, Error, Target, TenantMigrator, Timeouts, run};
//!
//! async fn migrate(db: sea_orm::DatabaseConnection, migrator: impl TenantMigrator + 'static) -> Result<(), Error> {
//!     let target = Target::Schema("tenant_1".parse().expect("a schema name"));
//!     let migrator = AnyMigrator::tenant(migrator);
//!     let done = run(&db, &target, &migrator, &Action::Up(None), Timeouts::default()).await?;
//!     println!("applied: {:?}", done.applied);
//!     Ok(())
//! }
//! ```
//!
//! | module | contents |
//! |---|---|
//! | root | [`run`](fn@run) migrates one schema, [`run_fleet`] many; [`provision`](fn@provision) makes one |
//! | [`verify`] | comparison of schemas with what the migrations make |
//! | [`check`] | lint of migrations |
//! | `cli` | the `migration` command (feature `cli`) |
//! | `generate` | new migrations (feature `cli`) |
//! | [`connect`] | options and errors of connections |
//! | [`registry`] | migrations of the registry |
//! | [`sql`] | lexer of SQL |

pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod connect;
#[cfg(feature = "cli")]
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
pub use fleet::{
    Canary, Event, Fleet, Limit, Member, Stopped, Summary, Who, members, members_named, run_fleet,
};
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
