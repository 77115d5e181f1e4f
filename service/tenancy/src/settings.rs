//! The columns of a tenant's row that a copy of the tenant takes over.

use tenantry_registry::tenant;

use super::{HttpSettings, Limits};

/// Limits, and settings for requests over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) http: HttpSettings,
}

impl Settings {
    /// The settings in a row.
    pub(super) fn stored(row: &tenant::Model) -> Self {
        let limits = Limits::stored(row.max_connections, row.max_waiting);
        Self { limits, http: HttpSettings::stored(row) }
    }

    /// Puts them into a row.
    pub(super) fn store(&self, row: &mut tenant::Model) {
        [row.max_connections, row.max_waiting] = self.limits.columns();
        let HttpSettings { cors_origins, max_body_bytes } = &self.http;
        row.cors_origins = cors_origins.iter().map(ToString::to_string).collect();
        row.max_body_bytes = max_body_bytes.map(|bytes| i64::from(bytes.get()));
    }
}
