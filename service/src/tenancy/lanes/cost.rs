//! What the handle does itself for a statement: no more than a microsecond.
//!
//! `cargo test --release -p service -- --ignored --nocapture what_a_statement_costs`

use std::{hint::black_box, sync::Arc, time::Instant};

use entity::registry::TenantId;
use sea_orm::{DatabaseConnection, sqlx::postgres::PgPoolOptions};

use super::{Lanes, choice::fold, lease::Held};
use crate::tenancy::{Config, cache::TenantCache, fitness::Build, shared::Shared};

const ROUNDS: usize = 2001;
const STATEMENTS: usize = 1000;

/// As SeaORM writes it.
const SQL: &str = r#"SELECT "guards"."id", "guards"."name", "guards"."position", "guards"."inserted_at", "guards"."updated_at" FROM "@tenant"."guards" WHERE "guards"."id" = $1"#;

#[tokio::test]
#[ignore = "a measurement"]
async fn what_a_statement_costs() {
    let config = Config::new("postgres://localhost", migration::tenant::Migrator);
    let pool = PgPoolOptions::new().connect_lazy(&config.url).unwrap();
    let (build, ttl) = (Build::new(&config.migrator), config.cache_ttl);
    let shared = TenantCache::new(ttl, build).unshared(
        TenantId::generate(),
        "tenant-1".parse().unwrap(),
        "tenant_1".parse().unwrap(),
    );
    for connections in [10, 100] {
        let config = Config { max_connections: connections, ..config.clone() };
        let lanes = Arc::new(Lanes::like(&DatabaseConnection::from(pool.clone()), &config));
        let choice = median(async || choose(&lanes, fold(shared.id)).await).await;
        let text = median(async || write(&shared)).await;
        println!(
            "state and placeholder {text:.0} ns, choice among {connections} connections {choice:.0} ns"
        );
    }
}

async fn choose(lanes: &Arc<Lanes>, tenant: u64) {
    lanes.permit().await.unwrap();
    drop(black_box(Held::best(Arc::clone(lanes), tenant)));
}

fn write(shared: &Shared) {
    black_box(shared.qualify_text(black_box(SQL)).unwrap());
}

/// Nanoseconds that `work` takes.
async fn median(work: impl AsyncFn()) -> f64 {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..STATEMENTS {
            work().await;
        }
        rounds.push(begun.elapsed().as_nanos() as f64 / STATEMENTS as f64);
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
