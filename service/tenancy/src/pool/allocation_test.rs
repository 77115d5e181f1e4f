//! What the handle does itself for a statement takes no memory but the statement's text. How long it
//! takes is told by the benchmark `micro`.

use std::{hint::black_box, sync::Arc};

use futures_util::FutureExt;
use sea_orm::sqlx::postgres::PgConnectOptions;
use tenantry_registry::TenantId;

use super::{
    Lanes,
    affinity::fold,
    request::{Ask, Hold, Owner},
    slot_guard::Held,
};
use crate::{
    Availability, Config, compatibility::KnownMigrations, freshness::now,
    registry_view::RegistryView, statement_epoch::Epochs, tenant_state::TenantState,
};

/// As SeaORM writes it.
const SQL: &str = r#"SELECT "guards"."id", "guards"."name", "guards"."position", "guards"."inserted_at", "guards"."updated_at" FROM "@tenant"."guards" WHERE "guards"."id" = $1"#;

#[tokio::test]
async fn a_statement_takes_no_memory_but_its_text() {
    let config = Config::new("postgres://localhost", crate::test_migrator::Migrator);
    let options: PgConnectOptions = config.url.parse().unwrap();
    let known = KnownMigrations::new(&config.migrator);
    let (view, _requests) = RegistryView::new(known, config.cache_ttl, config.acquire_timeout);
    view.freshness.received(now());
    let of = (TenantId::generate(), "tenant-1".parse().unwrap(), "tenant_1".parse().unwrap());
    let (epoch, stamp) = (Epochs::default().join(), view.freshness.stamp());
    let shared = TenantState::new(of, epoch, view, Availability::Active.into(), stamp);
    let lanes = Arc::new(Lanes::new(options, &config));
    let ask = Ask {
        owner: Owner::Tenant(fold(shared.id)),
        hold: Hold::Statement,
        slug: Some(&shared.slug),
        limits: shared.limits.get(),
    };
    let taken = allocation_counter::measure(|| {
        let held = Held::best(Arc::clone(&lanes), ask).now_or_never().unwrap();
        drop(black_box(held.unwrap()));
        black_box(shared.qualify_text(black_box(SQL)).now_or_never().unwrap().unwrap());
    });
    assert_eq!(taken.count_total, 1);
}
