//! Runs the commands of an application.

use std::process::ExitCode;

use clap::ArgMatches;
use local_postgres::Access;
use tenantry_migrate::cli::{MigrationCommand, terminal::failure};

use super::{
    adopt,
    app::{App, Routes},
    args::{Command, TenantCommand},
    audit,
    connect::{Connector, user},
    doctor,
    error::Error,
    import, key,
    log::log_to_stderr,
    manual, nodes,
    options::GlobalArgs,
    own_commands::OwnCommands,
    parse::{self, Parsed},
    serve, tenant, transfer,
};

impl App {
    /// Runs the command line of this process. The exit status is 0 on success, 1 on failure, 2 if
    /// the command line is invalid, 130 if an import or a migration run was interrupted by Ctrl-C.
    pub async fn main(self) -> ExitCode {
        let words: Vec<_> = std::env::args_os().collect();
        let parsed = parse::parse(&self.command(), self.own.as_ref(), &words);
        match parsed.unwrap_or_else(|error| error.exit()) {
            Parsed::Command(command, global) => self.run(command, &global).await,
            Parsed::Own(matches, global) => {
                log_to_stderr(global.log_format, false);
                let name = self.name.clone();
                exit_code(&name, self.run_own(matches, &global).await)
            }
        }
    }

    /// Runs one of the commands, for an application with a clap parser of its own.
    ///
    /// The log goes to standard error, unless the application has installed a tracing subscriber.
    ///
    /// ```no_run
    /// use clap::{CommandFactory, Parser};
    /// use tenantry_axum::cli::{App, Command, GlobalArgs};
    /// # use tenantry_migrate::TenantMigrator;
    ///
    /// #[derive(Parser)]
    /// struct Cli {
    ///     #[command(flatten)]
    ///     global: GlobalArgs,
    ///     #[command(subcommand)]
    ///     command: Mine,
    /// }
    ///
    /// #[derive(clap::Subcommand)]
    /// enum Mine {
    ///     /// Say hello.
    ///     Hello,
    ///     #[command(flatten)]
    ///     Tenancy(Command),
    /// }
    ///
    /// # async fn command(migrator: impl TenantMigrator + 'static) -> std::process::ExitCode {
    /// let cli = Cli::parse();
    /// match cli.command {
    ///     Mine::Hello => std::process::ExitCode::SUCCESS,
    ///     Mine::Tenancy(command) => {
    ///         let app = App::new(migrator).name("library").embedded_in(Cli::command());
    ///         app.run(command, &cli.global).await
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn run(self, command: Command, global: &GlobalArgs) -> ExitCode {
        log_to_stderr(global.log_format, matches!(command, Command::Serve(_)));
        let name = self.name.clone();
        let result = match command {
            Command::Serve(args) => {
                serve::serve(*args, global, self).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Tenant(args) => {
                let connector = self.connector(global);
                match args.command {
                    TenantCommand::Import(import) => {
                        import::run(&args.tenancy, &import, connector).await
                    }
                    TenantCommand::Export(export) => {
                        transfer::export(&args.tenancy, export, connector).await
                    }
                    TenantCommand::Clone(clone) => {
                        transfer::clone(&args.tenancy, clone, connector).await
                    }
                    TenantCommand::Adopt(adopt) => {
                        adopt::run(&args.tenancy, adopt, connector, &name).await
                    }
                    TenantCommand::Single(command) => {
                        tenant::run(&args.tenancy, command, connector)
                            .await
                            .map(|()| ExitCode::SUCCESS)
                    }
                }
            }
            Command::Key(args) => {
                key::run(*args, self.connector(global)).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Audit(args) => audit::run(*args, self.connector(global)).await,
            Command::Nodes(args) => nodes::run(*args, self.connector(global)).await,
            Command::Doctor(args) => {
                match doctor::run(*args, self.connector(global), &name).await {
                    Ok(code) => Ok(code),
                    Err(error) => {
                        exit_code(&name, Err(error));
                        // Not the status for findings.
                        Ok(ExitCode::from(2))
                    }
                }
            }
            Command::Migration(args) => {
                let migration = MigrationCommand::of(self.config.migrator);
                let migration = migration.name(format!("{name} migration")).application(name);
                return migration.run(*args, &global.database).await;
            }
            Command::Setup(args) => {
                let migration = MigrationCommand::of(self.config.migrator).application(name);
                return migration.setup(&args, &global.database).await;
            }
            Command::Completions { shell } => {
                manual::print_completions(self.whole_command(), shell).map(|()| ExitCode::SUCCESS)
            }
            Command::Man { folder } => {
                manual::write_pages(self.whole_command(), &folder).map(|()| ExitCode::SUCCESS)
            }
        };
        exit_code(&name, result)
    }

    fn whole_command(self) -> clap::Command {
        match self.embedded_in {
            Some(command) => command,
            None => self.command(),
        }
    }

    async fn run_own(
        mut self,
        matches: ArgMatches,
        global: &GlobalArgs,
    ) -> Result<ExitCode, Error> {
        let Some(own) = self.own.take() else { return Ok(ExitCode::SUCCESS) };
        let args = OwnCommands::tenancy_args(&matches)?;
        let connected = self.connector(global).connect(&args, Access::Shared, user()).await?;
        let result = own.run(matches, connected.tenancy.clone()).await;
        connected.tenancy.close().await;
        result?;
        Ok(ExitCode::SUCCESS)
    }

    fn connector(self, global: &GlobalArgs) -> Connector {
        self.into_parts(global).1
    }

    pub(super) fn into_parts(self, global: &GlobalArgs) -> (Routes, Connector) {
        let Self { routes, config, configure, .. } = self;
        (routes, Connector { config, configure, database: global.database.clone(), serves: false })
    }
}

/// Prints the error of a command.
fn exit_code(name: &str, result: Result<ExitCode, Error>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(Error::CommandLine(error)) => error.exit(),
        Err(error) => failure(error.cause(), error.with_hint(name)),
    }
}
