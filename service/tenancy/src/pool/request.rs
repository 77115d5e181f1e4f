//! A request for a connection.

use tenantry_registry::Slug;

use crate::Limits;

/// On whose behalf a connection is held. Connections are shared fairly between owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A tenant, by the part of its id in which tenants differ.
    Tenant(u64),
    /// Look-ups in the registry.
    Registry,
    /// Creations, drops and spares, together.
    Lifecycle,
    /// The check of idle connections.
    Upkeep,
}

/// What a connection is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// One statement, which is usually over soon.
    Statement,
    /// As long as the caller wants: a transaction, or rows that are read one by one.
    Long,
}

/// A request for a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) owner: Owner,
    pub(super) hold: Hold,
    /// The tenant that the error names when too many requests of it wait. The requests of other
    /// owners may be any number.
    pub(super) slug: Option<&'a Slug>,
    /// Those of this tenant alone.
    pub(super) limits: Limits,
}

impl Ask<'_> {
    /// For the check of idle connections.
    pub(super) const UPKEEP: Self = Self {
        owner: Owner::Upkeep,
        hold: Hold::Statement,
        slug: None,
        limits: Limits { max_connections: None, max_waiting: None },
    };
}

impl Owner {
    /// The tenant, which prefers connections that have served it.
    pub(super) fn tenant(self) -> Option<u64> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Registry | Self::Lifecycle | Self::Upkeep => None,
        }
    }
}
