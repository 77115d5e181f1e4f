//! Helpers of the benchmarks: a server, a load generator, and the page with the results.

pub mod page;

use std::{future::Future, time::Instant};

use futures_util::future::join_all;
use local_postgres::Server;
use sea_orm::{ConnectOptions, DatabaseConnection};
use tenantry_migrate::{Action, DynMigrator, Target, Timeouts, registry, run};

/// A new server with a migrated registry. Autovacuum would come at different moments of each run:
/// every table that it analyses makes the processes that have plans of it plan again.
pub async fn server() -> Server {
    let start = || Server::temporary(&[("autovacuum", "off")]).unwrap();
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let db = pool(&server, 1).await;
    let migrator = DynMigrator::new(registry::Migrator);
    run(&db, &Target::Registry, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    db.close().await.unwrap();
    server
}

/// A pool whose connections are all open.
pub async fn pool(server: &Server, connections: u32) -> DatabaseConnection {
    let mut options = ConnectOptions::new(server.url("postgres"));
    options.min_connections(connections).max_connections(connections).sqlx_logging(false);
    tenantry_migrate::connect::open(options).await.unwrap()
}

/// Stops the server, on a thread, since that waits for a process.
pub async fn stop(server: Server) {
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

/// Operations per second when `tasks` perform `each` of them in sequence; `work` gets the number of
/// the operation.
pub async fn rate<F>(tasks: usize, each: usize, work: impl Fn(usize) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let all = (0..tasks).map(|task| {
        let pieces: Vec<F> = (0..each).map(|piece| work(task * each + piece)).collect();
        tokio::spawn(async move {
            for piece in pieces {
                piece.await;
            }
        })
    });
    for ended in join_all(all).await {
        ended.unwrap();
    }
    (tasks * each) as f64 / started.elapsed().as_secs_f64()
}

/// The value below which `share` of the values are (0.5: the median).
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
