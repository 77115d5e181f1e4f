//! What a process knows of the registry, and how it asks for the rest.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnAcquireErr, DbErr};
use tenantry_registry::{Hostname, Slug, TenantId, tenant};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{compatibility::KnownMigrations, freshness::Freshness, schemas::Schemas};

/// Shared by the cache, the state of every tenant, and the tasks that keep it up to date.
pub(super) struct RegistryView {
    pub(super) freshness: Freshness,
    /// What a row is measured by.
    pub(super) known: KnownMigrations,
    /// The schemas of all tenants.
    pub(super) schemas: Schemas,
    requests: mpsc::UnboundedSender<Request>,
    /// How long an answer is waited for.
    patience: Duration,
}

/// By what a tenant is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TenantKey {
    Id(TenantId),
    Slug(Slug),
    Host(Hostname),
}

impl TenantKey {
    /// Its counter of changes.
    pub(super) fn slot(&self) -> usize {
        match self {
            Self::Id(id) => Freshness::slot(id),
            Self::Slug(slug) => Freshness::slot(slug.as_str()),
            Self::Host(host) => Freshness::slot(host.as_str()),
        }
    }
}

/// A request to the [`reader`](super::registry_reader), with the place for its answer.
pub(super) enum Request {
    /// A tenant's row.
    Tenant(TenantKey, oneshot::Sender<Result<Option<tenant::Model>, DbErr>>),
    /// An announcement to this process, which is sent when there is an answer.
    Heartbeat(String, oneshot::Sender<()>),
    /// Another connection.
    Reopen,
}

impl RegistryView {
    /// A view, and the other end of its requests.
    pub(super) fn new(
        known: KnownMigrations,
        ttl: Duration,
        patience: Duration,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Request>) {
        let (requests, received) = mpsc::unbounded_channel();
        let view = Self {
            freshness: Freshness::new(ttl),
            known,
            schemas: Schemas::default(),
            requests,
            patience,
        };
        (Arc::new(view), received)
    }

    /// The row of a tenant, as it is now. Many requests at once are one query, on a connection that
    /// statements of tenants cannot take.
    pub(super) async fn fetch(&self, key: TenantKey) -> Result<Option<tenant::Model>, DbErr> {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Tenant(key, answer)).is_err() {
            return Err(closed());
        }
        match timeout(self.patience, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        }
    }

    /// Has a heartbeat sent.
    pub(super) fn send_heartbeat(&self, payload: String) -> oneshot::Receiver<()> {
        let (sent, is_sent) = oneshot::channel();
        // If the tasks have ended, the receiver is told by the end of the sender.
        let _ = self.requests.send(Request::Heartbeat(payload, sent));
        is_sent
    }

    /// Has the registry asked on another connection from now on.
    pub(super) fn reopen(&self) {
        // If the tasks have ended, there is none.
        let _ = self.requests.send(Request::Reopen);
    }
}

fn closed() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
}

impl std::fmt::Debug for RegistryView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryView").finish_non_exhaustive()
    }
}
