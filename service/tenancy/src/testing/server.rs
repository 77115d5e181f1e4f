//! The server of the tests.

use std::{
    env,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use local_postgres::Server;
use tenantry_migrate::connect::with_database;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Failure,
    admin::{self, Admin, Job},
    template::Template,
};

/// How long the end of a test waits until its database is dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(30);

/// The server, with a thread that creates and drops its databases: it does not end with the runtime
/// of a test, and a drop can wait for it.
#[derive(Debug)]
pub(super) struct TestServer {
    location: Location,
    jobs: mpsc::UnboundedSender<Job>,
    /// Distinguishes the databases of this process.
    process: u32,
    databases: AtomicU64,
}

#[derive(Debug)]
enum Location {
    /// Of another server, by `DATABASE_URL`.
    Url(String),
    /// Kept until the process ends.
    Local(Server),
}

impl TestServer {
    /// The server of this process, which the first call starts or joins.
    pub(super) fn get() -> Result<&'static Self, String> {
        static SERVER: OnceLock<Result<TestServer, String>> = OnceLock::new();
        let server = SERVER.get_or_init(|| Self::start().map_err(|error| error.to_string()));
        server.as_ref().map_err(Clone::clone)
    }

    fn start() -> Result<Self, Failure> {
        let (location, url, is_local) = match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => (Location::Url(url.clone()), url, false),
            _ => {
                let server = Server::shared("tenantry", &[]).map_err(|error| {
                    format!("{error}; or set DATABASE_URL to use another server")
                })?;
                let url = server.url("postgres");
                (Location::Local(server), url, true)
            }
        };
        // Positive, as it is a key of an advisory lock.
        let process = Uuid::new_v4().as_fields().0 >> 1;
        let (jobs, received) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("tenantry-testing".to_owned()).spawn(move || {
            runtime.block_on(Admin::new(url, is_local, process).run(received));
        })?;
        Ok(Self { location, jobs, process, databases: AtomicU64::new(0) })
    }

    pub(super) fn url(&self, database: &str) -> Result<String, Failure> {
        match &self.location {
            Location::Url(url) => Ok(with_database(url, database)?),
            Location::Local(server) => Ok(server.url(database)),
        }
    }

    /// The number of a new database.
    pub(super) fn next_number(&self) -> u64 {
        self.databases.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn database_name(&self, number: u64) -> String {
        admin::database_name(self.process, number)
    }

    /// Creates a database from a template. Returns whether it has schemas that are ready for
    /// tenants.
    pub(super) async fn create_database(
        &self,
        template: Template,
        number: u64,
    ) -> Result<bool, Failure> {
        let (reply, created) = oneshot::channel();
        let building = self.url(&admin::building_name(self.process, number))?;
        let job =
            Job::Create { template: Box::new(template), building_url: building, number, reply };
        self.jobs.send(job).map_err(|_| gone())?;
        created.await.map_err(|_| gone())?
    }

    /// Drops a database, and waits for that.
    pub(super) fn drop_database(&self, name: &str) {
        let (reply, dropped) = sync_channel(1);
        let _ = self.jobs.send(Job::Drop { name: name.to_owned(), reply });
        if let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(DROP_TIMEOUT) {
            tracing::warn!(database = name, "the database of a test was not dropped in time");
        }
    }
}

fn gone() -> Failure {
    "the thread that creates databases has ended".into()
}
