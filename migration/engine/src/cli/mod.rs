//! The `migration` command for an application's migrators:
//!
//! ```no_run
//! # use tenantry_migrate::TenantMigrator;
//! # async fn command(migrator: impl TenantMigrator + 'static) -> std::process::ExitCode {
//! // In `#[tokio::main] async fn main() -> std::process::ExitCode`:
//! tenantry_migrate::cli::main(migrator).await
//! # }
//! ```

mod args;
mod check;
mod data_loss;
mod dry_run;
mod failure_groups;
pub mod format;
mod generate;
mod hint;
mod progress;
mod run;
mod run_options;
mod schema_status;
mod status;
mod summary;
mod table;
mod targets;
pub mod terminal;
mod verify;

use std::{error::Error, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

pub use args::Cli;
use args::{Command, RunArgs, StatusArgs};
pub use run_options::seconds;
pub use table::table;

use run::Job;
use schema_status::SchemaStatuses;
use targets::ResolvedTarget;

use crate::{
    Action, DynMigrator, Target, TenantMigrator, TenantSelection, claim_application,
    confirm_application,
    connect::{DatabaseArgs, without_empty_variables},
    extension_sql, fleet_tenants, make_extensions, registry,
};

/// Runs the command line and returns the exit status: 0 on success, 1 if something failed (each
/// failure is printed), 2 for an invalid command line, 130 after Ctrl-C.
pub async fn main<M: TenantMigrator + 'static>(tenant_migrator: M) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(|| terminal::Log)
        .init();
    let matches = without_empty_variables(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let runner =
        Runner { tenant: DynMigrator::tenant(tenant_migrator), registry: registry::migrator() };
    match runner.execute(cli).await {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(hint::with_hint(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The migrators of an application.
struct Runner {
    tenant: DynMigrator,
    registry: DynMigrator,
}

impl Runner {
    async fn execute(&self, cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
        if let Command::Generate(args) = &cli.command {
            return generate::run(args);
        }
        self.tenant.validate_breaking()?;
        match &cli.command {
            Command::Verify(args) => verify::run(args, &cli.database, &self.tenant).await,
            Command::Check(args) => check::run(args, &cli.database, &self.tenant).await,
            Command::Status(args) => self.status(args, &cli.database).await,
            Command::List(args) => self.list(args, &cli.database).await,
            command => match command.run() {
                Some((action, args)) => {
                    self.run(&action, args, command.confirmed(), &cli.database).await
                }
                None => Ok(ExitCode::SUCCESS),
            },
        }
    }

    async fn run(
        &self,
        action: &Action,
        args: &RunArgs,
        confirmed: bool,
        database: &DatabaseArgs,
    ) -> Result<ExitCode, Box<dyn Error>> {
        let fleet = args.options.fleet();
        let connections = if args.options.dry_run { 1 } else { fleet.jobs + 1 };
        let database = database.connect(connections as u32).await?;
        let db = &database.connection;
        if args.options.dry_run {
            confirm_application(db, &self.tenant).await?;
        } else {
            claim_application(db, &self.tenant).await?;
        }
        let chosen = targets::resolve(db, &args.targets, args.only_failed).await?;
        let makes_registry =
            matches!(chosen, ResolvedTarget::One(Target::Registry)) && !args.options.dry_run;
        let installs =
            matches!((&chosen, action), (ResolvedTarget::One(Target::Registry), Action::Up(_)));
        if installs && args.options.dry_run {
            dry_run::print("extensions", &extension_sql(db, &self.tenant).await?)?;
        } else if installs {
            make_extensions(db, &self.tenant).await?;
        }
        let job = Job { db, action, args, confirmed };
        let code = match chosen {
            ResolvedTarget::One(target) if args.options.dry_run => {
                dry_run::print_schema(db, &target, self.migrator(&target), action).await
            }
            ResolvedTarget::Tenants(who) if args.options.dry_run => {
                dry_run::print_tenants(db, fleet_tenants(db, &who).await?, &self.tenant, action)
                    .await
            }
            ResolvedTarget::One(target) => {
                job.on_schema(&target, self.migrator(&target), &fleet).await
            }
            ResolvedTarget::Tenants(who) => job.on_tenants(who, &self.tenant, &fleet).await,
        };
        if makes_registry {
            claim_application(db, &self.tenant).await?;
        }
        database.connection.close_by_ref().await?;
        code
    }

    async fn status(
        &self,
        args: &StatusArgs,
        database: &DatabaseArgs,
    ) -> Result<ExitCode, Box<dyn Error>> {
        let database = database.connect(1).await?;
        let db = &database.connection;
        confirm_application(db, &self.tenant).await?;
        match targets::resolve(db, &args.targets, false).await? {
            ResolvedTarget::Tenants(TenantSelection::All) => {
                status::run(db, &self.tenant, args.json).await
            }
            chosen => Ok(self.schema_statuses(db, chosen).await?.status(args.json)?),
        }
    }

    async fn list(
        &self,
        args: &StatusArgs,
        database: &DatabaseArgs,
    ) -> Result<ExitCode, Box<dyn Error>> {
        if args.targets.is_empty() {
            return Ok(schema_status::migrations(&self.tenant, args.json)?);
        }
        let database = database.connect(1).await?;
        let db = &database.connection;
        confirm_application(db, &self.tenant).await?;
        let chosen = targets::resolve(db, &args.targets, false).await?;
        Ok(self.schema_statuses(db, chosen).await?.list(args.json)?)
    }

    async fn schema_statuses(
        &self,
        db: &sea_orm::DatabaseConnection,
        chosen: ResolvedTarget,
    ) -> Result<SchemaStatuses, crate::Error> {
        match chosen {
            ResolvedTarget::One(target) => {
                let migrator = self.migrator(&target);
                Ok(SchemaStatuses::fetch(db, vec![(target.to_string(), target.clone())], migrator)
                    .await)
            }
            ResolvedTarget::Tenants(who) => {
                let named = fleet_tenants(db, &who).await?.into_iter();
                let named = named.map(|it| (it.to_string(), Target::Schema(it.schema)));
                Ok(SchemaStatuses::fetch(db, named.collect(), &self.tenant).await)
            }
        }
    }

    fn migrator(&self, target: &Target) -> &DynMigrator {
        match target {
            Target::Registry => &self.registry,
            Target::Schema(_) => &self.tenant,
        }
    }
}
