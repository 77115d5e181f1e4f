//! Connections that are terminated by the server.

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tenantry::{Config, Error, Tenancy};

use super::{Fixture, pid};
use crate::support::{database::admin, http_server::eventually, slug, tcp_proxy::TcpProxy};

/// Terminates every session of the database except for the listener (`all`: that too).
async fn end_sessions(database: &str, all: bool) {
    let but = if all { "" } else { "AND query NOT ILIKE 'listen%'" };
    let end = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}' {but}"
    );
    admin(&end).await;
}

#[tokio::test]
async fn a_statement_succeeds_after_its_idle_connection_was_terminated() {
    let it = Fixture::new(3, |_| {}).await;
    for _ in 0..2 {
        for tenant in &it.tenants {
            pid(tenant).await;
        }
        end_sessions(it.db.name(), false).await;
        for tenant in &it.tenants {
            pid(tenant).await;
        }
        end_sessions(it.db.name(), false).await;
        for tenant in &it.tenants {
            tenant.begin().await.unwrap().commit().await.unwrap();
        }
        end_sessions(it.db.name(), false).await;
        it.tenancy.get(&slug("tenant-1")).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn over_tcp_all_connections_are_pinged_after_one_was_lost() {
    let it = Fixture::new(8, |_| {}).await;
    let wire = TcpProxy::new().await;
    let config = Config {
        connect_options: wire.url(it.db.name()).into(),
        max_connections: 4,
        ..it.db.config()
    };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut tenants = Vec::new();
    for n in 1..=8 {
        tenants.push(tenancy.tenant(&slug(&format!("tenant-{n}"))).await.unwrap());
    }
    for tenant in &tenants {
        pid(tenant).await;
    }
    end_sessions(it.db.name(), true).await;
    let ask = || Statement::from_string(DbBackend::Postgres, "SELECT 1");
    let mut failed = 0;
    for tenant in &tenants {
        failed += u32::from(tenant.execute_raw(ask()).await.is_err());
    }
    // None if the loss of the listener was detected before.
    assert!(failed <= 1, "{failed} failed");
    eventually("notifications are received again", async || tenancy.ping().await.is_ok()).await;
}

#[tokio::test]
async fn does_not_start_without_notifications() {
    let it = Fixture::new(1, |_| {}).await;
    let wire = TcpProxy::without_notifications().await;
    let config = Config { connect_options: wire.url(it.db.name()).into(), ..it.db.config() };
    let error = Tenancy::connect(&config).await.unwrap_err();
    assert!(matches!(error, Error::NoNotifications), "{error}");
}
