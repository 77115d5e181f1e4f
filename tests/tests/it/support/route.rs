//! How programs reach the database of a test: directly, or through a pooler in transaction mode that
//! carries prepared statements over.

use std::process::Command;

use tenantry::{ColdStatements, Config};
use tests::pgbouncer::{self, PgBouncer, PoolMode, Program, ROLE};
use tokio::sync::OnceCell;

use super::{
    TestDb,
    database::{admin, server},
    http_server::HttpServer,
    pooler::{Mode, Pooler},
};

/// Sessions of the server that all clients share.
const SESSIONS: usize = 5;

/// Fewer than the statements of most tests, so that statements are evicted and prepared again.
const STATEMENTS: usize = 12;

/// Variable that names the route of [`Route::of_process`].
pub const VARIABLE: &str = "TEST_ROUTE";
pub const PROXY: &str = "proxy";
pub const PGBOUNCER: &str = "pgbouncer";
pub const LITERALS: &str = "literals";

pub enum Route {
    Direct,
    /// No statement is kept prepared, and all that can be are sent with literals.
    Literals,
    /// The pooler of this crate, the worst case.
    Proxy(Pooler),
    PgBouncer(PgBouncer),
}

impl Route {
    /// The route of all tests of this process that ask for it, see `poolers::selection`.
    pub async fn of_process() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Err(_) => Self::Direct,
            Ok(LITERALS) => Self::Literals,
            Ok(PROXY) => Self::proxy().await,
            Ok(PGBOUNCER) => Self::pgbouncer("").await.unwrap(),
            Ok(other) => panic!("{VARIABLE} is {other}"),
        }
    }

    pub async fn proxy() -> Self {
        Self::proxy_with(SESSIONS).await
    }

    pub async fn proxy_with(sessions: usize) -> Self {
        Self::create_role().await;
        Self::Proxy(Pooler::with_room(Mode::Prepared { limit: STATEMENTS }, sessions).await)
    }

    /// Through real PgBouncer, or `None` after a line that says what is skipped.
    pub async fn pgbouncer(skipped: &str) -> Option<Self> {
        Self::pgbouncer_with(SESSIONS, skipped).await
    }

    pub async fn pgbouncer_with(sessions: usize, skipped: &str) -> Option<Self> {
        Self::create_role().await;
        let program = Program::that_prepares(skipped)?;
        let mode = PoolMode::Transaction { statements: STATEMENTS as u32 };
        Some(Self::PgBouncer(program.start(server(), mode, sessions, &[ROLE])))
    }

    /// Through each pooler there is.
    pub async fn poolers(skipped: &str) -> Vec<Self> {
        Self::poolers_with(SESSIONS, skipped).await
    }

    /// The same with this number of sessions.
    pub async fn poolers_with(sessions: usize, skipped: &str) -> Vec<Self> {
        let proxy = Self::proxy_with(sessions).await;
        [Some(proxy), Self::pgbouncer_with(sessions, skipped).await].into_iter().flatten().collect()
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "directly",
            Self::Literals => "with literals",
            Self::Proxy(_) => "through the proxy",
            Self::PgBouncer(_) => "through PgBouncer",
        }
    }

    /// The URL for tenants' statements.
    pub fn url(&self, db: &TestDb) -> String {
        match self {
            Self::Direct | Self::Literals => db.url(),
            Self::Proxy(pooler) => pooler.url_of(ROLE, db.name()),
            Self::PgBouncer(pooler) => pooler.url_of(ROLE, db.name()),
        }
    }

    /// A configuration for the database.
    pub fn config(&self, db: &TestDb) -> Config {
        let config = Config { connect_options: self.url(db).into(), ..db.config() };
        match self {
            Self::Direct => config,
            Self::Literals => with_literals(config),
            Self::Proxy(_) | Self::PgBouncer(_) => config.direct_url(db.url()),
        }
    }

    /// `tenantry serve` on the database, on any free port.
    pub fn serve(&self, db: &TestDb) -> Command {
        let mut command = HttpServer::command(&self.url(db));
        match self {
            Self::Direct => &mut command,
            Self::Literals => command
                .env("TENANTRY_STATEMENT_CACHE", "1")
                .env("TENANTRY_COLD_STATEMENTS", "literal"),
            Self::Proxy(_) | Self::PgBouncer(_) => command.env("TENANTRY_DIRECT_URL", db.url()),
        };
        command
    }

    /// Kills the pooler; new connections are refused.
    pub async fn kill(&mut self) {
        match self {
            Self::Direct | Self::Literals => {}
            Self::Proxy(pooler) => pooler.kill().await,
            Self::PgBouncer(pooler) => pooler.kill(),
        }
    }

    /// Starts the killed pooler again.
    pub async fn restart(&mut self) {
        match self {
            Self::Direct | Self::Literals => {}
            Self::Proxy(pooler) => pooler.restart().await,
            Self::PgBouncer(pooler) => pooler.restart(),
        }
    }

    /// Asserts that the proxy has changed sessions and prepared statements again.
    #[track_caller]
    pub fn assert_shared(&self) {
        if let Self::Proxy(pooler) = self {
            let (switches, again) = (pooler.switches(), pooler.prepared_again());
            assert!(switches > 10 && again > 10, "{switches} changes, {again} prepared again");
        }
    }

    /// Creates [`ROLE`].
    pub async fn create_role() {
        static CREATED: OnceCell<()> = OnceCell::const_new();
        CREATED.get_or_init(async || admin(&pgbouncer::create_role()).await).await;
    }
}

/// The same, where no statement is kept prepared, and all that can be are sent with literals.
fn with_literals(mut config: Config) -> Config {
    config.connect_options.sqlx_logging(false);
    Config { statement_cache: Some(0), cold_statements: ColdStatements::LiteralAtOnce, ..config }
}
