//! What the handle does itself for a statement takes no memory but the statement's text. How long it
//! takes is told by the benchmark `micro`.

use std::{hint::black_box, sync::Arc};

use entity::registry::TenantId;
use futures_util::FutureExt;
use sea_orm::sqlx::postgres::PgConnectOptions;

use super::{
    Lanes,
    choice::fold,
    held::Held,
    queue::{Ask, Hold},
};
use crate::tenancy::{Config, cache::TenantCache, fitness::Build, second_look::Looker};

/// As SeaORM writes it.
const SQL: &str = r#"SELECT "guards"."id", "guards"."name", "guards"."position", "guards"."inserted_at", "guards"."updated_at" FROM "@tenant"."guards" WHERE "guards"."id" = $1"#;

#[tokio::test]
async fn a_statement_takes_no_memory_but_its_text() {
    let config = Config::new("postgres://localhost", migration::tenant::Migrator);
    let options: PgConnectOptions = config.url.parse().unwrap();
    let lanes = Arc::new(Lanes::new(options, &config));
    let looker = Looker::new(&lanes, Build::new(&config.migrator));
    let shared = TenantCache::new(config.cache_ttl, looker.into()).unshared(
        TenantId::generate(),
        "tenant-1".parse().unwrap(),
        "tenant_1".parse().unwrap(),
    );
    let ask = Ask { tenant: Some(fold(shared.id)), hold: Hold::Statement };
    let taken = allocation_counter::measure(|| {
        let held = Held::best(Arc::clone(&lanes), ask).now_or_never().unwrap();
        drop(black_box(held.unwrap()));
        black_box(shared.qualify_text(black_box(SQL)).unwrap());
    });
    assert_eq!(taken.count_total, 1);
}
