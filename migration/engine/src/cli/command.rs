use std::{error::Error, process::ExitCode};

use clap::{Args, FromArgMatches};

use super::{
    args::{Command, MigrationArgs},
    check, generate,
    hint::with_hint,
    names::{CommandNames, executable_name},
    runner::Runner,
    setup::{self, SetupArgs},
    targets::Migrators,
    terminal, verify,
};
use crate::{
    DynMigrator, TenantMigrator,
    connect::{DatabaseArgs, variables_help, without_empty_variables},
    registry,
};

const ABOUT: &str =
    "Run and check migrations of the registry, of shared tables and of tenants' schemas";

const EXIT_STATUS: &str = "Exit status: 0 on success (`status`: all tenants up to date; `verify` \
     and `check`: no findings), 1 if a tenant failed or was not started, 2 for an invalid command \
     line, 130 after Ctrl-C.";

/// The `migration` command of an application.
///
/// As a program of its own:
///
/// ```no_run
/// # use tenantry_migrate::{TenantMigrator, cli::MigrationCommand};
/// # async fn command(migrator: impl TenantMigrator + 'static) -> std::process::ExitCode {
/// // In `#[tokio::main] async fn main() -> std::process::ExitCode`:
/// MigrationCommand::new(migrator).application("library").main().await
/// # }
/// ```
///
/// As a part of another command, whose clap types contain a [`MigrationArgs`] and a
/// [`DatabaseArgs`]:
///
/// ```no_run
/// # use std::process::ExitCode;
/// # use tenantry_migrate::{TenantMigrator, cli::{MigrationArgs, MigrationCommand}, connect::DatabaseArgs};
/// #[derive(clap::Parser)]
/// struct Cli {
///     #[command(flatten)]
///     database: DatabaseArgs,
///     #[command(subcommand)]
///     command: Mine,
/// }
///
/// #[derive(clap::Subcommand)]
/// enum Mine {
///     /// Migrate the tenants.
///     Migration(MigrationArgs),
/// }
///
/// # async fn command(cli: Cli, migrator: impl TenantMigrator + 'static) -> ExitCode {
/// match cli.command {
///     Mine::Migration(args) => {
///         let migration = MigrationCommand::new(migrator).name("library migration");
///         migration.application("library").run(args, &cli.database).await
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct MigrationCommand {
    migrator: DynMigrator,
    names: CommandNames,
    version: String,
}

impl MigrationCommand {
    /// A command for these migrations, named after its executable.
    pub fn new(migrator: impl TenantMigrator + 'static) -> Self {
        Self::of(DynMigrator::tenant(migrator))
    }

    /// A command for the migrations of a type-erased migrator.
    #[must_use]
    pub fn of(migrator: DynMigrator) -> Self {
        let names = CommandNames { migration: executable_name(), application: None };
        Self { migrator, names, version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Sets how help and messages name this command, such as `library migration`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.migration = name.into();
        self
    }

    /// Sets how messages name the application's command, the one that has `tenant`.
    #[must_use]
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.names.application = Some(name.into());
        self
    }

    /// Sets the version that `--version` prints. The default is that of this crate.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The command line, for its help, completions or documentation.
    #[must_use]
    pub fn command(&self) -> clap::Command {
        let command = clap::Command::new(self.names.migration.clone())
            .bin_name(self.names.migration.clone())
            .version(self.version.clone())
            .after_help(variables_help());
        let command = DatabaseArgs::augment_args(command.next_help_heading("Global options"));
        MigrationArgs::augment_args(command.next_help_heading(None::<&str>))
            .about(ABOUT)
            .long_about(format!("{ABOUT}.\n\n{EXIT_STATUS}"))
    }

    /// Runs the command line of this process and returns the exit status: 0 on success, 1 if
    /// something failed (each failure is printed), 2 for an invalid command line, 130 after Ctrl-C.
    pub async fn main(self) -> ExitCode {
        tracing_subscriber::fmt()
            .with_env_filter(
                tracing_subscriber::EnvFilter::try_from_default_env()
                    .unwrap_or_else(|_| "warn".into()),
            )
            .with_writer(|| terminal::Log)
            .init();
        let matches = without_empty_variables(self.command()).get_matches();
        let parsed = DatabaseArgs::from_arg_matches(&matches)
            .and_then(|database| Ok((MigrationArgs::from_arg_matches(&matches)?, database)));
        let (args, database) = parsed.unwrap_or_else(|error| error.exit());
        self.run(args, &database).await
    }

    /// Runs one of the subcommands and returns the exit status, as [`main`](Self::main) does.
    pub async fn run(self, args: MigrationArgs, database: &DatabaseArgs) -> ExitCode {
        let Self { migrator, names, .. } = self;
        // Boxed: in a release build, the type would be nested more deeply than the compiler permits.
        let result = Box::pin(execute(&args.command, database, migrator, &names)).await;
        result.unwrap_or_else(|error| terminal::failure(&*error, with_hint(&*error, &names)))
    }

    /// Sets up the roles of the database and returns the exit status: for another command that
    /// contains a [`SetupArgs`].
    pub async fn setup(self, args: &SetupArgs, database: &DatabaseArgs) -> ExitCode {
        let result = setup::run(args, database, &self.migrator).await;
        result.unwrap_or_else(|error| terminal::failure(&*error, with_hint(&*error, &self.names)))
    }
}

async fn execute(
    command: &Command,
    database: &DatabaseArgs,
    tenant: DynMigrator,
    names: &CommandNames,
) -> Result<ExitCode, Box<dyn Error>> {
    if let Command::Generate(args) = command {
        return generate::run(args);
    }
    tenant.validate_breaking()?;
    let migrators = Migrators { tenant, registry: registry::migrator() };
    let runner = Runner { migrators, database, names };
    match command {
        Command::Verify(args) => verify::run(args, database, &runner.migrators.tenant, names).await,
        Command::Check(args) => check::run(args, database, &runner.migrators.tenant).await,
        Command::Setup(args) => setup::run(args, database, &runner.migrators.tenant).await,
        Command::Status(args) => runner.status(args).await,
        Command::List(args) => runner.list(args).await,
        command => match command.run() {
            Some((action, args)) => runner.run(&action, args, command.confirmed()).await,
            None => Ok(ExitCode::SUCCESS),
        },
    }
}
