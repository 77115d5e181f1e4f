//! Changes of tenants, announced between processes with LISTEN and NOTIFY.

use std::{sync::Arc, time::Duration};

use entity::registry::{TenantId, tenant};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, Statement,
    sqlx::postgres::PgListener,
};
use tracing::warn;
use uuid::Uuid;

use super::{cache::TenantCache, shared::Access};

const CHANNEL: &str = "tenantry_tenants";

/// Longest payload, in bytes: PostgreSQL takes less than 8000 (manual, NOTIFY).
const MAX_PAYLOAD: usize = 7999;

/// Announces that `id` has changed, and that what is known under `keys` (slugs and host names) is
/// to be forgotten. Inside a transaction it is sent when that commits, and not at all otherwise.
pub(super) async fn announce(
    db: &impl ConnectionTrait,
    id: TenantId,
    keys: impl IntoIterator<Item = String>,
) -> Result<(), DbErr> {
    let mut payloads = vec![id.to_string()];
    for key in keys {
        if payloads.last().is_none_or(|last| last.len() + 1 + key.len() > MAX_PAYLOAD) {
            payloads.push(id.to_string());
        }
        if let Some(last) = payloads.last_mut() {
            last.push(' ');
            last.push_str(&key);
        }
    }
    for payload in payloads {
        let notify = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_notify($1, $2)",
            [CHANNEL.into(), payload.into()],
        );
        db.execute_raw(notify).await?;
    }
    Ok(())
}

/// Listens until it is aborted. While the connection is lost announcements are missed, so when it
/// is back everything known is forgotten and every open handle is checked.
pub(super) async fn listen(
    mut listener: PgListener,
    db: DatabaseConnection,
    cache: Arc<TenantCache>,
) {
    loop {
        if let Ok(Some(notification)) = listener.try_recv().await {
            heed(notification.payload(), &db, &cache).await;
            continue;
        }
        warn!("the connection for announcements is lost; connecting again");
        cache.forget_all();
        listener = loop {
            match subscribe(&db).await {
                Ok(listener) => break listener,
                Err(error) => warn!(%error, "no connection for announcements; trying again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        cache.forget_all();
        for id in cache.live() {
            check(&db, &cache, id).await;
        }
    }
}

async fn heed(payload: &str, db: &DatabaseConnection, cache: &TenantCache) {
    let mut words = payload.split(' ');
    let id = words.next().and_then(|id| id.parse::<Uuid>().ok());
    cache.forget(words).await;
    if let Some(id) = id {
        check(db, cache, id.into()).await;
    }
}

/// Starts to listen.
pub(super) async fn subscribe(db: &DatabaseConnection) -> Result<PgListener, sea_orm::sqlx::Error> {
    // A pool of its own with one connection, to the same server with the same options.
    let options = db.get_postgres_connection_pool().connect_options();
    let pool = sea_orm::sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with((*options).clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Tells the open handles of a tenant what the registry says of it now.
async fn check(db: &DatabaseConnection, cache: &TenantCache, id: TenantId) {
    match tenant::Entity::find_by_id(id).one(db).await {
        Ok(Some(row)) => cache.set(id, row.status.into()),
        Ok(None) => cache.set(id, Access::Dropped),
        Err(error) => warn!(%error, tenant = %id, "the state of a tenant could not be read"),
    }
}
