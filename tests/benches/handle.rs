//! What the tenant handle costs: the same work through SeaORM without tenancy, through the handle,
//! and through `SET LOCAL search_path`, in one run.
//!
//! The contenders take turns in short rounds, so that a noisy machine disturbs all alike; shown is
//! the median of the rounds' ratios to SeaORM without tenancy.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::{
    future::Future,
    io::Write,
    time::{Duration, Instant},
};

use entity::tenant::guard;
use migration::{Action, AnyMigrator, Target, Timeouts, postgres::Server, registry, run, tenant};
use sea_orm::{
    ActiveModelTrait, ConnectOptions, ConnectionTrait, DatabaseConnection, EntityTrait, Set,
    TransactionTrait,
};
use service::tenancy::{Config, NewTenant, Tenancy, Tenant};
use uuid::Uuid;

const ROUND: Duration = Duration::from_millis(250);
const ROUNDS: usize = 21;
const CONNECTIONS: u32 = 8;

/// The tenant's table as an ordinary entity, its schema fixed at compile time.
mod plain {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "tenant_1", table_name = "guards")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub position: String,
        pub inserted_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The same without a schema, found by `search_path`.
mod bare {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "guards")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub position: String,
        pub inserted_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Operations a second that 8 tasks reach in one round.
async fn rate<F>(work: impl Fn() -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut count = 0_u32;
                while start.elapsed() < ROUND {
                    work().await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0.0;
    for task in tasks {
        count += f64::from(task.await.unwrap());
    }
    count / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn read_plain(db: &DatabaseConnection, id: Uuid) {
    plain::Entity::find_by_id(id).one(db).await.unwrap().unwrap();
}

async fn read_handle(tenant: &Tenant, id: Uuid) {
    guard::Entity::find_by_id(id).one(tenant).await.unwrap().unwrap();
}

async fn read_set_local(db: &DatabaseConnection, id: Uuid) {
    let txn = db.begin().await.unwrap();
    txn.execute_unprepared("SET LOCAL search_path = tenant_1").await.unwrap();
    bare::Entity::find_by_id(id).one(&txn).await.unwrap().unwrap();
    txn.commit().await.unwrap();
}

async fn insert_plain(db: &DatabaseConnection) {
    let guard = plain::ActiveModel {
        id: Set(Uuid::now_v7()),
        name: Set("Abu".to_owned()),
        position: Set("Guard".to_owned()),
        inserted_at: Set(entity::now()),
        updated_at: Set(entity::now()),
    };
    guard.insert(db).await.unwrap();
}

async fn insert_handle(tenant: &Tenant) {
    let guard = guard::ActiveModel {
        name: Set("Abu".to_owned()),
        position: Set("Guard".to_owned()),
        ..Default::default()
    };
    guard.insert(tenant).await.unwrap();
}

async fn prepare(server: &Server) -> (Tenant, DatabaseConnection, Uuid) {
    let url = server.url("postgres");
    let mut options = ConnectOptions::new(&url);
    options.min_connections(CONNECTIONS).max_connections(CONNECTIONS).sqlx_logging(false);
    let db = migration::connect::open(options).await.unwrap();
    let migrator = AnyMigrator::new(registry::Migrator);
    run(&db, &Target::Registry, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    let config = Config { max_connections: CONNECTIONS, ..Config::new(url, tenant::Migrator) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let slug = "tenant-1".parse().unwrap();
    tenancy.create(NewTenant::new(slug)).await.unwrap();
    let tenant = tenancy.tenant(&"tenant-1".parse().unwrap()).await.unwrap();
    let guard = guard::ActiveModel {
        name: Set("Abu".to_owned()),
        position: Set("Guard".to_owned()),
        ..Default::default()
    };
    let id = guard.insert(&tenant).await.unwrap().id;
    (tenant, db, id)
}

#[tokio::main]
async fn main() {
    // `cargo bench` hands on arguments for a harness that this benchmark does not have.
    let server = tokio::task::spawn_blocking(|| Server::temporary(&[]).unwrap()).await.unwrap();
    let (tenant, db, id) = prepare(&server).await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{CONNECTIONS} tasks on {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?}; PostgreSQL {}", server.version()).unwrap();
    writeln!(
        out,
        "| operation | SeaORM alone | through the handle | with SET LOCAL |\n|---|---|---|---|"
    )
    .unwrap();

    let (mut alone, mut handle, mut set_local) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = db.clone();
        let base = rate(move || {
            let db = plain.clone();
            async move { read_plain(&db, id).await }
        })
        .await;
        let one = tenant.clone();
        let ours = rate(move || {
            let tenant = one.clone();
            async move { read_handle(&tenant, id).await }
        })
        .await;
        let plain = db.clone();
        let set = rate(move || {
            let db = plain.clone();
            async move { read_set_local(&db, id).await }
        })
        .await;
        alone.push(base);
        handle.push(ours / base);
        set_local.push(set / base);
    }
    writeln!(
        out,
        "| read by key | {:.0}/s | × {:.2} | × {:.2} |",
        median(alone),
        median(handle),
        median(set_local)
    )
    .unwrap();

    let (mut alone, mut handle) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = db.clone();
        let base = rate(move || {
            let db = plain.clone();
            async move { insert_plain(&db).await }
        })
        .await;
        let one = tenant.clone();
        let ours = rate(move || {
            let tenant = one.clone();
            async move { insert_handle(&tenant).await }
        })
        .await;
        alone.push(base);
        handle.push(ours / base);
    }
    writeln!(out, "| insert | {:.0}/s | × {:.2} | |", median(alone), median(handle)).unwrap();
    db.close().await.unwrap();
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}
