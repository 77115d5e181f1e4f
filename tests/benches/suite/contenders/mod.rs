//! The contenders: the handle and other ways to work in one of many schemas.
//!
//! All of them perform the same operations on the same rows, each over its own connections, which
//! are as many as those of the others. `test_before_acquire` is off for the rivals, since it takes
//! SeaORM one more round trip. The handle has its default configuration.

pub mod bare;
pub mod handle;
pub mod job;
pub mod raw;
pub mod setup;
pub mod shop;
pub mod sql;

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, TransactionTrait};
use tenantry::Tenancy;
use tokio::sync::Mutex;

use crate::interleaved::Work;
use job::{Job, Named};
use raw::{Raw, Statements};

/// Number of statements that a connection keeps prepared, that of a handle by default.
const STATEMENTS: usize = 1024;

pub struct Contender {
    run: Arc<dyn Fn(Job) -> BoxFuture<'static, ()> + Send + Sync>,
    pools: Vec<DatabaseConnection>,
}

impl Contender {
    fn new<F>(
        pools: Vec<DatabaseConnection>,
        run: impl Fn(Job) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { run: Arc::new(move |job| Box::pin(run(job))), pools }
    }

    /// The operation that a client repeats: the job that it is given.
    pub fn work(&self, job: impl Fn(usize) -> Job + Send + Sync + 'static) -> Work {
        let run = Arc::clone(&self.run);
        Arc::new(move |client| run(job(client)))
    }

    /// The sqlx pool of a contender with a single one.
    pub fn sqlx(&self) -> sea_orm::sqlx::PgPool {
        self.pools[0].get_postgres_connection_pool().clone()
    }

    pub async fn close(self) {
        for pool in self.pools {
            pool.close_by_ref().await.unwrap();
        }
    }
}

/// The handle, which is resolved for each operation, as in an application.
pub fn handle(tenancy: &Tenancy) -> Contender {
    let tenancy = tenancy.clone();
    Contender::new(Vec::new(), move |job| {
        let tenancy = tenancy.clone();
        async move {
            let tenant = tenancy.tenant(&job.tenant.slug).await.unwrap();
            handle::work::alone(&tenant, &job).await;
        }
    })
}

/// SeaORM with a pool for each tenant, whose `search_path` is set when it connects. With a single
/// tenant: SeaORM without tenancy.
pub async fn pools(url: &str, tenants: &[Arc<Named>], each: u32) -> Contender {
    let open = tenants.iter().map(|tenant| {
        let options = ConnectOptions::new(named(url, "pools"));
        pool(options, each, Some(tenant.schema.clone()))
    });
    let pools: Vec<DatabaseConnection> = join_all(open).await;
    Contender::new(pools.clone(), move |job| {
        let db = pools[job.tenant.number].clone();
        async move { bare::work::alone(&db, &job).await }
    })
}

/// `BEGIN; SET LOCAL search_path; …; COMMIT` on one pool.
pub async fn set_local(url: &str, connections: u32) -> Contender {
    let db = pool(ConnectOptions::new(named(url, "set_local")), connections, None).await;
    Contender::new(vec![db.clone()], move |job| {
        let db = db.clone();
        async move {
            let txn = db.begin().await.unwrap();
            let sql = format!("SET LOCAL search_path = \"{}\"", job.tenant.schema);
            txn.execute_unprepared(&sql).await.unwrap();
            bare::work::run(&txn, &job).await;
            txn.commit().await.unwrap();
        }
    })
}

/// `SET search_path` for the session before each job, on a connection that only the job uses.
pub async fn session(url: &str, connections: u32) -> Contender {
    let open = (0..connections).map(|_| pool(ConnectOptions::new(named(url, "session")), 1, None));
    let pinned = join_all(open).await;
    let locked: Vec<_> = pinned.iter().map(|db| Arc::new(Mutex::new(db.clone()))).collect();
    Contender::new(pinned, move |job| {
        let connection = Arc::clone(&locked[job.client % locked.len()]);
        async move {
            let db = connection.lock().await;
            let sql = format!("SET search_path = \"{}\"", job.tenant.schema);
            db.execute_unprepared(&sql).await.unwrap();
            bare::work::alone(&*db, &job).await;
        }
    })
}

/// sqlx without SeaORM, on one pool: SQL written by hand that names the schema.
pub async fn by_hand(url: &str, connections: u32) -> Contender {
    let db = pool(ConnectOptions::new(named(url, "by_hand")), connections, None).await;
    let sqlx = db.get_postgres_connection_pool().clone();
    Contender::new(vec![db], move |job| {
        let sqlx = sqlx.clone();
        async move { sql::alone(&sqlx, &job).await }
    })
}

/// The limit: connections of tokio-postgres that prepare every statement of every tenant once.
pub async fn raw_prepared(url: &str, connections: u32) -> Contender {
    raw(named(url, "raw_prepared"), connections, Statements::Prepared).await
}

/// The limit without a prepared statement: connections of tokio-postgres that send every statement
/// with its text.
pub async fn raw_unprepared(url: &str, connections: u32) -> Contender {
    raw(named(url, "raw_unprepared"), connections, Statements::Unnamed).await
}

async fn raw(url: String, connections: u32, statements: Statements) -> Contender {
    let raw = Arc::new(Raw::connect(&url, connections, statements).await);
    Contender::new(Vec::new(), move |job| {
        let raw = Arc::clone(&raw);
        async move { raw::work::alone(&raw, &job).await }
    })
}

/// A pool whose connections are all open and keep as many statements as those of a handle.
async fn pool(
    mut options: ConnectOptions,
    connections: u32,
    schema: Option<String>,
) -> DatabaseConnection {
    options
        .min_connections(connections)
        .max_connections(connections)
        .sqlx_logging(false)
        .test_before_acquire(false);
    options.map_sqlx_postgres_opts(move |options| {
        let options = options.statement_cache_capacity(STATEMENTS);
        match &schema {
            Some(schema) => options.options([("search_path", schema)]),
            None => options,
        }
    });
    tenantry_migrate::connect::open(options).await.unwrap()
}

/// The URL with this `application_name`.
pub fn named(url: &str, name: &str) -> String {
    format!("{url}&application_name={name}")
}
