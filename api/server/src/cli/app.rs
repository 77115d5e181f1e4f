use std::{error::Error as StdError, future::Future, pin::Pin};

use axum::Router;
use clap::Subcommand;
use tenantry::{Config, SeedFn, Tenancy};
use tenantry_migrate::{TenantMigrator, cli::executable_name, connect::variables_help};

use super::{args::Command, error::Error, options::GlobalArgs, own_commands::OwnCommands};
use crate::{AppState, Authenticate};

const EXIT_STATUS: &str =
    "Exit status: 0 when all went well, 1 when something failed, 2 when the command line is wrong.";

/// An application's command: `serve`, `tenant …`, `migration …`, and commands of its own.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use tenantry::Tenancy;
/// use tenantry_axum::{HostTenant, cli::App};
/// # use tenantry_migrate::TenantMigrator;
///
/// /// Commands of the application.
/// #[derive(clap::Subcommand)]
/// enum Command {
///     /// Print the number of tenants.
///     Count,
/// }
///
/// async fn run(command: Command, tenancy: Tenancy) -> Result<(), tenantry::Error> {
///     match command {
///         Command::Count => println!("{}", tenancy.list(Default::default()).await?.items.len()),
///     }
///     Ok(())
/// }
///
/// async fn name(HostTenant(tenant): HostTenant) -> String {
///     tenant.slug().to_string()
/// }
///
/// # async fn command(migrator: impl TenantMigrator + 'static) -> std::process::ExitCode {
/// // In `#[tokio::main] async fn main() -> std::process::ExitCode`:
/// App::new(migrator)
///     .name("library")
///     .version(env!("CARGO_PKG_VERSION"))
///     .about("Lends books")
///     .routes(Router::new().route("/name", get(name)))
///     .example("/name", "")
///     .commands(run)
///     .main()
///     .await
/// # }
/// ```
///
/// An application with a clap parser of its own embeds the commands instead: see [`run`](Self::run).
pub struct App {
    pub(super) name: String,
    version: String,
    about: String,
    pub(super) config: Config,
    pub(super) configure: Vec<Configure>,
    pub(super) routes: Routes,
    pub(super) authenticate: Option<Check>,
    pub(super) examples: Vec<Example>,
    pub(super) own: Option<OwnCommands>,
    pub(super) embedded_in: Option<clap::Command>,
}

/// Changes the configuration before the connection.
pub(super) type Configure = Box<dyn FnOnce(Config) -> Config + Send>;

/// Sets the check of the application.
pub(super) type Check = Box<dyn FnOnce(AppState) -> AppState + Send>;

/// Makes the routes from the connected state.
pub(super) type Routes = Box<
    dyn FnOnce(AppState) -> Pin<Box<dyn Future<Output = Result<Router<AppState>, Error>> + Send>>
        + Send,
>;

/// An example request with curl.
#[derive(Debug, Clone)]
pub(super) struct Example {
    /// Path on a tenant's host.
    pub(super) path: String,
    /// Additional arguments of curl.
    pub(super) arguments: String,
}

impl Example {
    pub(super) fn new(path: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { path: path.into(), arguments: arguments.into() }
    }
}

impl App {
    /// An application with these migrations, named after its executable and without routes.
    pub fn new(migrator: impl TenantMigrator + 'static) -> Self {
        let name = executable_name();
        Self {
            about: format!("Serve {name}, and manage its tenants and their schemas"),
            name,
            version: concat!("(tenantry-axum ", env!("CARGO_PKG_VERSION"), ")").to_owned(),
            // The command line has the URL.
            config: Config::new("", migrator),
            configure: Vec::new(),
            routes: Box::new(|_| Box::pin(async { Ok(Router::new()) })),
            authenticate: None,
            examples: Vec::new(),
            own: None,
            embedded_in: None,
        }
    }

    /// Sets the name of the command, which help, errors and hints mention.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the version that `--version` prints. Without it, that of this crate is printed.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the line with which the help begins.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Sets the routes. `serve` adds the admin API, `/health`, limits and the request log
    /// ([`app`](crate::app)).
    #[must_use]
    pub fn routes(mut self, routes: Router<AppState>) -> Self {
        self.routes = Box::new(|_| Box::pin(async { Ok(routes) }));
        self
    }

    /// Sets the routes as [`routes`](Self::routes) does, made when `serve` has connected: for an
    /// application with a state of its own.
    ///
    /// ```no_run
    /// use axum::{Router, extract::FromRef, routing::get};
    /// use tenantry::Tenancy;
    /// use tenantry_axum::{AppState, HostTenant, cli::App};
    ///
    /// #[derive(Clone)]
    /// struct State {
    ///     tenancy: Tenancy,
    ///     greeting: String,
    /// }
    ///
    /// impl FromRef<State> for Tenancy {
    ///     fn from_ref(state: &State) -> Self {
    ///         state.tenancy.clone()
    ///     }
    /// }
    ///
    /// async fn greet(state: axum::extract::State<State>, HostTenant(tenant): HostTenant) -> String {
    ///     format!("{} {}", state.greeting, tenant.slug())
    /// }
    ///
    /// async fn routes(state: AppState) -> Result<Router, std::io::Error> {
    ///     let greeting = std::fs::read_to_string("greeting.txt")?;
    ///     let state = State { tenancy: state.tenancy().clone(), greeting };
    ///     Ok(Router::new().route("/greeting", get(greet)).with_state(state))
    /// }
    ///
    /// # fn app(migrator: impl tenantry_migrate::TenantMigrator + 'static) -> App {
    /// App::new(migrator).routes_with(routes)
    /// # }
    /// ```
    #[must_use]
    pub fn routes_with<F, R, E>(mut self, routes: F) -> Self
    where
        F: FnOnce(AppState) -> R + Send + 'static,
        R: Future<Output = Result<Router, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.routes = Box::new(|state| {
            Box::pin(async move {
                let router =
                    routes(state).await.map_err(|error| Error::Application(error.into()))?;
                Ok(router.with_state(()))
            })
        });
        self
    }

    /// Finds the callers of requests by a check of the application in place of API keys, for an
    /// application with users of its own. `make` gets the connected tenancy.
    ///
    /// ```no_run
    /// # use axum::http::request::Parts;
    /// # use tenantry::Tenancy;
    /// # use tenantry_axum::{ApiError, Authenticate, Principal, cli::App};
    /// struct Sessions(Tenancy);
    ///
    /// impl Authenticate for Sessions {
    ///     async fn authenticate(&self, _: &mut Parts) -> Result<Option<Principal>, ApiError> {
    ///         Ok(None) // the user of the session in a cookie
    ///     }
    /// }
    ///
    /// # fn app(app: App) -> App {
    /// app.authenticate(|tenancy| Sessions(tenancy.clone()))
    /// # }
    /// ```
    #[must_use]
    pub fn authenticate<A: Authenticate>(
        mut self,
        make: impl FnOnce(&Tenancy) -> A + Send + 'static,
    ) -> Self {
        self.authenticate = Some(Box::new(|state| {
            let check = make(state.tenancy());
            state.authenticate(check)
        }));
        self
    }

    /// Sets a function that inserts the first rows of every new tenant, see
    /// [`Config::seed`](tenantry::Config::seed).
    #[must_use]
    pub fn seed(mut self, seed: impl for<'a> SeedFn<'a> + 'static) -> Self {
        self.config = self.config.seed(seed);
        self
    }

    /// Changes the configuration of all commands that use tenants. The function receives it with
    /// the values of the options, and its result is used.
    ///
    /// ```no_run
    /// # use tenantry_axum::cli::App;
    /// # fn app(app: App) -> App {
    /// app.configure(|mut config| {
    ///     config.audit_retention = None;
    ///     config
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(Config) -> Config + Send + 'static) -> Self {
        self.configure.push(Box::new(change));
        self
    }

    /// Adds an example request, which `serve` prints if it has started a local PostgreSQL server:
    /// a path on a tenant's host, and further arguments of curl.
    #[must_use]
    pub fn example(mut self, path: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.examples.push(Example::new(path, arguments));
        self
    }

    /// Adds commands of the application: the variants of a clap `Subcommand`, run by an async
    /// function that gets a connected [`Tenancy`]. Each also has the options of tenants, such as
    /// `--base-domain`. The names of the commands that every application has are taken:
    /// [`Command`](enum@Command).
    #[must_use]
    pub fn commands<C, F, R, E>(mut self, run: F) -> Self
    where
        C: Subcommand + Send + 'static,
        F: FnOnce(C, Tenancy) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.own = Some(OwnCommands::new(run));
        self
    }

    /// Sets the whole command line of an application that embeds the commands, for `completions` and
    /// `man`: `Cli::command()` of clap's `CommandFactory`.
    #[must_use]
    pub fn embedded_in(mut self, command: clap::Command) -> Self {
        self.embedded_in = Some(command);
        self
    }

    /// The command line, for its help, completions or documentation.
    #[must_use]
    pub fn command(&self) -> clap::Command {
        let (name, about) = (&self.name, &self.about);
        let command = clap::Command::new(name.clone()).bin_name(name.clone());
        let command = <GlobalArgs as clap::Args>::augment_args(command);
        let command = Command::augment_subcommands(command);
        let command = match &self.own {
            Some(own) => own.augment(command),
            None => command,
        };
        command
            .version(self.version.clone())
            .about(about.clone())
            .long_about(format!("{about}.\n\n{EXIT_STATUS}"))
            .after_help(format!(
                "Without a command, `serve` is assumed: `{name} serve --help` lists its \
                 options.\n\n{}",
                variables_help()
            ))
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("name", &self.name).finish_non_exhaustive()
    }
}
