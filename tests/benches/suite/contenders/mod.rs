//! The ways to work in one of many schemas: through the handle, and those that it has to beat.
//!
//! All of them do the same jobs on the same rows, each over connections of its own, as many as the
//! others have. None of the rivals asks a connection for a sign of life before using it, which
//! SeaORM does unless told not to: that is a round trip more. The handle is as its configuration
//! makes it.

pub mod bare;
pub mod handle;
pub mod job;
pub mod setup;
pub mod sql;

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, TransactionTrait};
use tenantry::{Config, Tenancy};
use tokio::sync::Mutex;

use crate::interleaved::Work;
use job::{Job, Named};

/// One of the ways.
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

    /// What a client does again and again: the job that it is given.
    pub fn work(&self, job: impl Fn(usize) -> Job + Send + Sync + 'static) -> Work {
        let run = Arc::clone(&self.run);
        Arc::new(move |client| run(job(client)))
    }

    /// The pool of sqlx, of a contender that has a single one.
    pub fn sqlx(&self) -> sea_orm::sqlx::PgPool {
        self.pools[0].get_postgres_connection_pool().clone()
    }

    pub async fn close(self) {
        for pool in self.pools {
            pool.close_by_ref().await.unwrap();
        }
    }
}

/// The handle, which is asked for on each call as an application asks for it.
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

/// SeaORM with a pool for each tenant, of so many connections, whose `search_path` is the
/// tenant's from the start. With a single tenant: SeaORM without tenancy.
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

/// `SET search_path` for the session before each job, on a connection that the job has to itself.
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

/// So many connections, all of them open, that keep as many statements as those of a handle.
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
    let statements = Config::new("", migration::Migrator).statement_cache;
    options.map_sqlx_postgres_opts(move |options| {
        let options = options.statement_cache_capacity(statements);
        match &schema {
            Some(schema) => options.options([("search_path", schema)]),
            None => options,
        }
    });
    tenantry_migrate::connect::open(options).await.unwrap()
}

/// The URL for connections that the server knows by this name.
pub fn named(url: &str, name: &str) -> String {
    format!("{url}&application_name={name}")
}
