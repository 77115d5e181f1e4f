//! Creates and drops the databases of tests.
//!
//! A process holds an advisory lock on its number, which is part of the names of its databases. The
//! kernel closes the connection of a process that is killed, so a database whose number no process has
//! locked is a leftover.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc::SyncSender,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tenantry_migrate::connect::{Opening, SessionOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{Failure, template::Template};

/// First key of the advisory locks of processes; the second is the number of the process.
const PROCESS: i32 = 0x7465_6e74;

/// First key of the advisory locks of templates that are being built.
const BUILD: i32 = 0x7465_6e75;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// For a template, which another process may be building.
const TEMPLATE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a database may be in use by a connection that is being closed.
const IN_USE: Duration = Duration::from_secs(10);

/// Templates that were not used for as long are dropped.
const TEMPLATE_LIFETIME: Duration = Duration::from_secs(3600);

pub(super) enum Job {
    /// Creates database number `number`. Answers whether it has schemas that are ready for tenants.
    Create {
        template: Box<Template>,
        /// The URL of the template while it is built.
        building_url: String,
        number: u64,
        reply: oneshot::Sender<Result<bool, Failure>>,
    },
    Drop {
        name: String,
        reply: SyncSender<()>,
    },
}

/// The name of a database of a process.
pub(super) fn database_name(process: u32, number: u64) -> String {
    format!("tenantry_test_{process:08x}_{number}")
}

/// The name of a template while the process builds it.
pub(super) fn building_name(process: u32, number: u64) -> String {
    format!("{}_building", database_name(process, number))
}

/// The process in the name of one of its databases.
fn process_of(database: &str) -> Option<u32> {
    let number = database.strip_prefix("tenantry_test_")?.get(..8)?;
    u32::from_str_radix(number, 16).ok()
}

#[derive(Clone)]
struct Built {
    name: String,
    has_spares: bool,
}

pub(super) struct Admin {
    url: String,
    is_local: bool,
    process: u32,
    connection: Option<PgConnection>,
    templates: HashMap<u64, Built>,
}

impl Admin {
    pub(super) fn new(url: String, is_local: bool, process: u32) -> Self {
        Self { url, is_local, process, connection: None, templates: HashMap::new() }
    }

    /// Works until the process ends.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Create { template, building_url, number, reply } => {
                    let creating = self.create(&template, &building_url, number);
                    let created = timeout(TEMPLATE_TIMEOUT, creating).await;
                    let created = created.unwrap_or_else(|_| Err("no template in time".into()));
                    // The test may have been cancelled.
                    if reply.send(created).is_err() {
                        self.drop_database(&database_name(self.process, number)).await;
                    }
                }
                Job::Drop { name, reply } => {
                    self.drop_database(&name).await;
                    let _ = reply.send(());
                }
            }
        }
    }

    async fn create(
        &mut self,
        template: &Template,
        building_url: &str,
        number: u64,
    ) -> Result<bool, Failure> {
        let name = database_name(self.process, number);
        // From version 15 on, the default strategy writes the whole template to the WAL, which is
        // slower where nothing is synchronised with the disk.
        let is_new = self.is_local && self.version().await? >= 15;
        let strategy = if is_new { " STRATEGY file_copy" } else { "" };
        let started = Instant::now();
        loop {
            let Built { name: from, has_spares } =
                self.template(template, building_url, number).await?;
            let create = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{from}\"{strategy}");
            let Err(error) = self.query(&create).await else { return Ok(has_spares) };
            match sqlstate(&error).as_deref() {
                _ if started.elapsed() > IN_USE => return Err(error.into()),
                // A connection to the template is being closed.
                Some("55006") => sleep(Duration::from_millis(20)).await,
                // Another process has dropped a template that was not used for long.
                Some("3D000") => drop(self.templates.remove(&template.key)),
                _ => return Err(error.into()),
            }
        }
    }

    /// The template, which this or another process builds first.
    async fn template(
        &mut self,
        template: &Template,
        building_url: &str,
        number: u64,
    ) -> Result<Built, Failure> {
        if let Some(built) = self.templates.get(&template.key) {
            return Ok(built.clone());
        }
        // A hash of the key, whose upper half is as good.
        let lock = format!("({BUILD}, {})", (template.key >> 33) as i32);
        let built = loop {
            if let Some(built) = self.find(template).await? {
                break built;
            }
            let locked = self.query(&format!("SELECT pg_try_advisory_lock{lock}")).await?;
            if locked.first().map(|row| row.try_get(0)).transpose()? == Some(true) {
                let built = self.build(template, building_url, number).await;
                self.query(&format!("SELECT pg_advisory_unlock{lock}")).await?;
                break built?;
            }
            sleep(Duration::from_millis(50)).await;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        self.query(&format!("COMMENT ON DATABASE \"{}\" IS '{now}'", built.name)).await?;
        self.templates.insert(template.key, built.clone());
        Ok(built)
    }

    async fn find(&mut self, template: &Template) -> Result<Option<Built>, Failure> {
        for has_spares in [true, false] {
            let name = template_name(template, has_spares);
            let find = format!("SELECT FROM pg_database WHERE datname = '{name}'");
            if !self.query(&find).await?.is_empty() {
                return Ok(Some(Built { name, has_spares }));
            }
        }
        Ok(None)
    }

    async fn build(
        &mut self,
        template: &Template,
        building_url: &str,
        number: u64,
    ) -> Result<Built, Failure> {
        // Another process may have built it before this one got the lock.
        if let Some(built) = self.find(template).await? {
            return Ok(built);
        }
        let building = building_name(self.process, number);
        self.query(&format!("CREATE DATABASE \"{building}\"")).await?;
        let filled = template.fill(building_url).await;
        let has_spares = match filled {
            Ok(has_spares) => has_spares,
            Err(error) => {
                self.drop_database(&building).await;
                return Err(error);
            }
        };
        let name = template_name(template, has_spares);
        let rename = format!("ALTER DATABASE \"{building}\" RENAME TO \"{name}\"");
        let started = Instant::now();
        loop {
            match self.query(&rename).await {
                Ok(_) => return Ok(Built { name, has_spares }),
                // A connection to it is being closed.
                Err(error)
                    if sqlstate(&error).as_deref() == Some("55006")
                        && started.elapsed() < IN_USE =>
                {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    self.drop_database(&building).await;
                    return Err(error.into());
                }
            }
        }
    }

    async fn drop_database(&mut self, name: &str) {
        let drop = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
        if let Err(error) = self.query(&drop).await {
            tracing::warn!(database = name, %error, "the database of a test was not dropped");
        }
    }

    async fn version(&mut self) -> Result<u32, Failure> {
        let rows = self.query("SELECT current_setting('server_version_num')::integer").await?;
        let number: i32 = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
        Ok(number.unsigned_abs() / 10_000)
    }

    /// Sends SQL. A connection that is lost is replaced by the next call.
    async fn query(&mut self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let rows = rows(&mut connection, sql).await;
        if matches!(rows, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.connection = Some(connection);
        }
        rows
    }

    /// Connects, locks the number of the process, and drops what killed processes have left.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let configuration = |error: Failure| sqlx::Error::Configuration(error);
        let options = tenantry_migrate::connect::options(&self.url)
            .map_err(|error| configuration(error.into()))?;
        let session = SessionOptions::new(&options, PgConnectOptions::disable_statement_logging);
        let session = session.await.map_err(|error| configuration(error.into()))?;
        let opening = Opening::within(CONNECT_TIMEOUT);
        let opened = session.open(&opening).await;
        let (mut connection, _) = opened.map_err(|error| configuration(error.into()))?;
        let lock = format!(
            "SET statement_timeout = 0; SET idle_session_timeout = 0; \
             SELECT pg_advisory_lock({PROCESS}, {})",
            self.process
        );
        rows(&mut connection, &lock).await?;
        if let Err(error) = sweep(&mut connection).await {
            tracing::debug!(%error, "databases of earlier tests were not dropped");
        }
        Ok(connection)
    }
}

fn template_name(template: &Template, has_spares: bool) -> String {
    format!("tenantry_template_{:016x}{}", template.key, if has_spares { "_spares" } else { "" })
}

/// Drops the databases of processes that have ended, and templates that are no longer used.
async fn sweep(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Before the locks, which are older than the databases.
    let databases = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database
         WHERE datname ~ '^tenantry_(test|template)_[0-9a-f]{8}'
         AND pg_has_role(datdba, 'USAGE')";
    let databases = rows(connection, databases).await?;
    let locks = format!(
        "SELECT objid::bigint FROM pg_locks
         WHERE locktype = 'advisory' AND classid = {PROCESS} AND objsubid = 2 AND granted"
    );
    let mut living = HashSet::new();
    for row in rows(connection, &locks).await? {
        living.insert(row.try_get::<i64, _>(0)?);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for row in databases {
        let (name, used): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let is_leftover = match process_of(&name) {
            Some(process) => !living.contains(&i64::from(process)),
            None => used.and_then(|used| used.parse().ok()).is_some_and(|used| {
                now.saturating_sub(Duration::from_secs(used)) > TEMPLATE_LIFETIME
            }),
        };
        if is_leftover {
            // Another process may do the same.
            let drop = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
            if let Err(error) = rows(connection, &drop).await {
                tracing::debug!(database = name, %error, "a leftover was not dropped");
            }
        }
    }
    Ok(())
}

async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection);
    timeout(STATEMENT_TIMEOUT, rows).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
