use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use tenantry_registry::{Origin, tenant};

/// Settings of one tenant for requests over HTTP. Stored in the registry, and cached with the tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Origins whose pages may call the tenant from a browser (CORS), sorted.
    pub cors_origins: Vec<Origin>,
    /// Maximum length of a request body in bytes, in place of the server's default.
    pub max_body_bytes: Option<NonZeroU32>,
}

impl HttpSettings {
    /// Maximum number of origins of one tenant.
    pub const MAX_ORIGINS: usize = 50;

    /// The settings in a row. Origins that are not valid are ignored, since another program may have
    /// stored them.
    pub(super) fn stored(row: &tenant::Model) -> Self {
        let origins = row.cors_origins.iter().filter_map(|origin| origin.parse().ok());
        // A larger one is not stored by this crate.
        let longest = row.max_body_bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
        Self { cors_origins: origins.collect(), max_body_bytes: longest.and_then(NonZeroU32::new) }
    }
}

/// The settings that all handles of a tenant share.
#[derive(Debug, Default)]
pub(super) struct CurrentHttpSettings(Mutex<Arc<HttpSettings>>);

impl CurrentHttpSettings {
    pub(super) fn set(&self, settings: HttpSettings) {
        let settings = Arc::new(settings);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    pub(super) fn get(&self) -> Arc<HttpSettings> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
