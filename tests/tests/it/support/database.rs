//! A database for each test, created from a migrated template.

use std::{
    env,
    ffi::OsString,
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use local_postgres::Server;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection};
use tenantry::{Config, NewTenant, Tenancy, Tenant};
use tenantry_migrate::{Action, DynMigrator, Target, Timeouts, registry, run};
use tenantry_registry::Slug;
use tests::say;
use tokio::sync::OnceCell;

use super::statement_log::{self, Mark};

const TEMPLATE: &str = "template_tenantry";

/// The server of this process. Its directory is removed when the process ends, even if it is killed.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let settings = [("log_statement", "all"), ("log_line_prefix", statement_log::PREFIX)];
        let server = Server::temporary(&settings).unwrap();
        let log = fs::read_to_string(server.log_file()).unwrap();
        let (_, version) = log.split_once("starting PostgreSQL ").unwrap();
        say(&format!("The tests run on PostgreSQL {}.", version.split(" on ").next().unwrap()));
        server
    })
}

/// Whether the server has a feature that came with this major version. Says so if not.
pub fn has_version(major: u32, feature: &str) -> bool {
    let has = server().version() >= major;
    if !has {
        say(&format!("Not tested: {feature}, from PostgreSQL {major} on."));
    }
    has
}

/// Database of one test, with a registry and without tenants. Its drop checks the statements that
/// were sent to it, and removes it.
pub struct TestDb {
    name: String,
    log: Mark,
}

impl TestDb {
    pub async fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        prepare_template().await;
        let log = Mark::now(server());
        // Since version 15, the default strategy writes the whole template to the WAL.
        let strategy = if server().version() >= 15 { "STRATEGY file_copy" } else { "" };
        admin(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} {strategy}")).await;
        Self { name, log }
    }

    pub fn url(&self) -> String {
        server().url(&self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn config(&self) -> Config {
        Config::new(self.url(), migration::Migrator)
    }

    pub async fn tenancy(&self) -> Tenancy {
        Tenancy::connect(&self.config()).await.unwrap()
    }

    /// A tenancy with these tenants.
    pub async fn with_tenants<const N: usize>(&self, slugs: [&str; N]) -> (Tenancy, [Tenant; N]) {
        let tenancy = self.tenancy().await;
        let mut tenants = Vec::new();
        for slug in slugs {
            let slug: Slug = slug.parse().unwrap();
            tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
            tenants.push(tenancy.tenant(&slug).await.unwrap());
        }
        (tenancy, tenants.try_into().unwrap())
    }

    /// The statements that were sent to it so far.
    pub fn statements(&self) -> Vec<String> {
        let all = self.log.statements(&self.name);
        all.into_iter().map(|(_session, sql)| sql).collect()
    }

    /// A plain connection.
    pub async fn plain(&self) -> DatabaseConnection {
        connect(&self.url()).await
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        admin_in_thread(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        if !std::thread::panicking() {
            self.log.check(&self.name);
        }
    }
}

/// A `PATH` whose `pg_dump` can dump this server. Says so if there is none: it is no part of npm's
/// packages of servers, and refuses servers that are newer than itself.
pub fn path_with_pg_dump() -> Option<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::var_os("PG_BIN").map(PathBuf::from).into_iter().chain(env::split_paths(&path));
    let path = env::join_paths(folders).unwrap();
    let ran = Command::new("pg_dump").arg("--version").env("PATH", &path).output();
    let version =
        ran.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
    let major = version.split_once("(PostgreSQL) ").and_then(|(_, it)| it.split('.').next());
    let major = major.and_then(|it| it.trim().parse::<u32>().ok());
    if major.is_some_and(|it| it >= server().version()) {
        return Some(path);
    }
    let found = if version.is_empty() { "none" } else { version.trim() };
    say(&format!(
        "pg_dump for PostgreSQL {} is not in PATH ({found}): not tested",
        server().version()
    ));
    None
}

pub async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(4).sqlx_logging(false);
    tenantry_migrate::connect::open(options).await.unwrap()
}

/// Runs one statement on the server itself.
pub async fn admin(sql: &str) {
    let db = connect(&server().url("postgres")).await;
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

/// The same from a `drop`, which cannot block on the test's runtime.
pub fn admin_in_thread(sql: &str) {
    let sql = sql.to_owned();
    let ran = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(admin(&sql));
    });
    ran.join().unwrap();
}

async fn prepare_template() {
    static READY: OnceCell<()> = OnceCell::const_new();
    READY
        .get_or_init(async || {
            tokio::task::spawn_blocking(server).await.unwrap();
            admin(&format!("CREATE DATABASE {TEMPLATE}")).await;
            migrate_registry(&server().url(TEMPLATE)).await;
        })
        .await;
}

/// A server for one test that stops or breaks it. The registry is in the database `postgres`.
pub async fn own_server() -> Server {
    // Commits survive a crash of a process.
    let durable = [("synchronous_commit", "on")];
    let server = tokio::task::spawn_blocking(move || Server::temporary(&durable).unwrap());
    let server = server.await.unwrap();
    migrate_registry(&server.url("postgres")).await;
    server
}

pub async fn migrate_registry(url: &str) {
    let db = connect(url).await;
    let migrator = DynMigrator::new(registry::Migrator);
    run(&db, &Target::Registry, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    db.close().await.unwrap();
}
