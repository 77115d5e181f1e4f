//! Executing a statement allocates nothing but its SQL. The benchmark `micro` measures its time.

use std::{hint::black_box, sync::Arc};

use futures_util::FutureExt;
use tenantry_registry::TenantId;

use tenantry_migrate::connect::SessionOptions;

use super::{
    TenantPool,
    affinity::affinity_key,
    request::{Owner, Request, Usage},
    slot_guard::SlotGuard,
};
use crate::connection::Binding;
use crate::{
    Availability, Config, compatibility::KnownMigrations, freshness::now,
    registry_view::RegistryView, statement_epoch::Epochs, tenant_state::TenantState,
};

/// A statement of SeaORM.
const SQL: &str = r#"SELECT "guards"."id", "guards"."name", "guards"."position", "guards"."inserted_at", "guards"."updated_at" FROM "@tenant"."guards" WHERE "guards"."id" = $1"#;

#[tokio::test]
async fn a_statement_allocates_nothing_but_its_sql() {
    let config = Config::new("postgres://localhost", crate::test_migrator::Migrator);
    let options = SessionOptions::new(&config.connect_options, |driver| driver).await.unwrap();
    let known = KnownMigrations::new(&config.migrator);
    let (view, _requests) = RegistryView::new(known, config.cache_ttl, config.acquire_timeout);
    view.freshness.received(now());
    let of = (TenantId::generate(), "tenant-1".parse().unwrap(), "tenant_1".parse().unwrap());
    let (epoch, stamp) = (Epochs::default().join(), view.freshness.stamp());
    let state = TenantState::new(of, epoch, view, Availability::Active.into(), stamp);
    let pool = Arc::new(TenantPool::new(options, &(&config).into()));
    let key = affinity_key(state.id);
    let request = Request {
        owner: Owner::Tenant(key),
        usage: Usage::Statement,
        tenant: Some(key),
        slug: Some(&state.slug),
        limits: state.limits.get(),
    };
    let allocated = allocation_counter::measure(|| {
        let guard = SlotGuard::acquire(Arc::clone(&pool), request).now_or_never().unwrap();
        drop(black_box(guard.unwrap()));
        black_box(state.qualify_sql(black_box(SQL)).now_or_never().unwrap().unwrap());
    });
    assert_eq!(allocated.count_total, 1);
}
