//! The view of the registry that a process shares.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnAcquireErr, DbErr};
use tenantry_registry::{Hostname, Slug, TenantId, tenant};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    api_keys::{Prefix, StoredKey},
    compatibility::KnownMigrations,
    freshness::Freshness,
    schemas::Schemas,
};

/// Shared by the cache, the states of tenants, and the tasks that keep it current.
pub(super) struct RegistryView {
    pub(super) freshness: Freshness,
    pub(super) known: KnownMigrations,
    /// The schemas of all tenants.
    pub(super) schemas: Schemas,
    /// Marked when there may be new entries in the audit log.
    pub(super) entries_changed: watch::Sender<()>,
    requests: mpsc::UnboundedSender<Request>,
    answer_timeout: Duration,
}

/// The key by which a tenant is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TenantKey {
    Id(TenantId),
    Slug(Slug),
    Host(Hostname),
}

impl TenantKey {
    /// Its change counter.
    pub(super) fn slot(&self) -> usize {
        match self {
            Self::Id(id) => Freshness::slot(id),
            Self::Slug(slug) => Freshness::slot(slug.as_str()),
            Self::Host(host) => Freshness::slot(host.as_str()),
        }
    }
}

/// A request to the [`registry_reader`](super::registry_reader), with the channel for its answer.
pub(super) enum Request {
    /// A tenant's row.
    Tenant(TenantKey, oneshot::Sender<Result<Option<tenant::Model>, DbErr>>),
    /// An API key.
    Key(Prefix, oneshot::Sender<Result<Option<StoredKey>, DbErr>>),
    /// A notification to this process; answered when it has been sent.
    Heartbeat(String, oneshot::Sender<()>),
    /// Replaces the connection.
    Reopen,
}

impl RegistryView {
    /// Returns the view and the receiver of its requests.
    pub(super) fn new(
        known: KnownMigrations,
        ttl: Duration,
        answer_timeout: Duration,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Request>) {
        let (requests, received) = mpsc::unbounded_channel();
        let view = Self {
            freshness: Freshness::new(ttl),
            known,
            schemas: Schemas::default(),
            entries_changed: watch::Sender::new(()),
            requests,
            answer_timeout,
        };
        (Arc::new(view), received)
    }

    /// Fetches the row of a tenant. Concurrent requests share one query, on a connection that is not
    /// part of the pool.
    pub(super) async fn fetch(&self, key: TenantKey) -> Result<Option<tenant::Model>, DbErr> {
        self.ask(|answer| Request::Tenant(key, answer)).await
    }

    /// Fetches an API key, in the same way.
    pub(super) async fn fetch_key(&self, prefix: Prefix) -> Result<Option<StoredKey>, DbErr> {
        self.ask(|answer| Request::Key(prefix, answer)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<Option<T>, DbErr>>) -> Request,
    ) -> Result<Option<T>, DbErr> {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(request(answer)).is_err() {
            return Err(closed());
        }
        match timeout(self.answer_timeout, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        }
    }

    /// Requests that a heartbeat is sent.
    pub(super) fn send_heartbeat(&self, payload: String) -> oneshot::Receiver<()> {
        let (sent, is_sent) = oneshot::channel();
        // If the tasks have ended, the receiver fails with the sender.
        let _ = self.requests.send(Request::Heartbeat(payload, sent));
        is_sent
    }

    /// Requests that the connection to the registry is replaced.
    pub(super) fn reopen(&self) {
        // Fails if the tasks have ended.
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
