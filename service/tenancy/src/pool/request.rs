//! A request for a connection.

use tenantry_registry::Slug;

use crate::limits::Limits;

/// The account to which a connection is charged. Connections are shared fairly between owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A tenant, by its [`affinity_key`](super::affinity::affinity_key), or
    /// [shared tables](super::affinity::SHARED).
    Tenant(u64),
    /// Queries of the registry.
    Registry,
    /// Creations, drops and spares.
    Lifecycle,
    /// Work in all tenants, one after another.
    Background,
    /// The check of idle connections.
    IdleCheck,
}

/// The use that is made of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// One statement, which usually ends soon.
    Statement,
    /// A transaction or a stream, which lasts as long as the caller wants.
    OpenEnded,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) owner: Owner,
    pub(super) usage: Usage,
    /// The key of the tenant whose statements are sent, by its
    /// [`affinity_key`](super::affinity::affinity_key).
    pub(super) tenant: Option<u64>,
    /// The tenant that [`Busy`](crate::Busy) names. Without one, any number of requests may wait.
    pub(super) slug: Option<&'a Slug>,
    /// The tenant's own limits.
    pub(super) limits: Limits,
}

impl Request<'_> {
    pub(super) const IDLE_CHECK: Self = Self {
        owner: Owner::IdleCheck,
        usage: Usage::Statement,
        tenant: None,
        slug: None,
        limits: Limits { max_connections: None, max_waiting: None },
    };
}

impl Owner {
    /// The key of the tenant, which prefers connections that have served it.
    pub(super) fn tenant(self) -> Option<u64> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Registry | Self::Lifecycle | Self::Background | Self::IdleCheck => None,
        }
    }
}
