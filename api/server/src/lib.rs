//! Tenants of Tenantry in axum, and the command of any application.
//!
//! A request's tenant is determined by its `Host`: [`HostTenant`] gives a handler the
//! [`Tenant`](tenantry::Tenant), and without one the handler is not called. A [`TenantLayer`] can
//! find it elsewhere, such as in the path. A host that belongs to
//! no tenant is answered 404. Every error is answered with a problem document (RFC 9457).
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tenantry_axum::{AppState, HostTenant, app};
//!
//! async fn name(HostTenant(tenant): HostTenant) -> String {
//!     tenant.slug().to_string()
//! }
//!
//! # async fn example(tenancy: tenantry::Tenancy) -> std::io::Result<()> {
//! let state = AppState::new(tenancy, None).anonymous(); // every caller is admitted
//! let app = app(state, Router::new().route("/name", get(name)));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! | item | purpose |
//! |---|---|
//! | [`app`], [`AppState`] | an application's routes with the admin API, `/health`, limits and the request log |
//! | [`HostTenant`], [`Admin`] | the tenant of a request, and proof of an operator |
//! | [`Principal`], [`require`], [`Authenticate`], [`ApiKeys`], [`AuthLayer`], [`Access`] | the caller of a request, and who may do what |
//! | `Jwt`, `JwtConfig`, `JwksSource` | JSON Web Tokens as credentials (feature `jwt`) |
//! | [`TenantLayer`], [`TenantSource`], [`CurrentTenant`] | the tenant by host, path, header or a function, for any router or tower service |
//! | [`Json`], [`Query`], [`Path`] | extractors whose rejections are problem documents |
//! | [`ListResponse`], [`ListFormat`], [`ndjson`] | lists: a page, or all rows as NDJSON |
//! | [`Problem`], [`ApiError`], [`error_cause`] | errors |
//! | [`serve`], [`ServerLimits`] | HTTP server with bounded idle connections |
//! | `cli` | the command of an application, with `serve`, `tenant` and `migration` (feature `cli`) |

#[cfg(feature = "cli")]
pub mod cli;

mod allowed_host;
mod api_error;
mod app;
mod audit;
mod auth;
mod body;
mod checked;
mod cors;
mod cross_origin;
mod doctor;
mod extract;
mod gate;
mod health;
mod host;
mod host_guard;
mod idle;
mod keys;
mod linger;
mod list;
mod nodes;
mod problem;
mod security_headers;
mod server;
mod target;
mod tenant_input;
mod tenant_layer;
mod tenant_lifecycle;
mod tenant_source;
mod tenants;
mod trace;
mod transfer;
mod unavailable;

use std::{sync::Arc, time::Duration};

use axum::{extract::FromRef, http::HeaderName};
use tenantry::Tenancy;

pub use allowed_host::{AllowedHost, AllowedHostError};
pub use api_error::{ApiError, error_cause};
pub use app::{app, compressed};
pub use auth::{
    Access, Admin, AdminToken, ApiKeys, AuthLayer, Authenticate, Principal, RequireLayer,
    TokenError, require,
};
#[cfg(feature = "jwt")]
pub use auth::{JwksSource, JwksSourceError, Jwt, JwtConfig, JwtError};
pub use body::Json;
pub use checked::Checked;
pub use extract::{Path, Query};
pub use host::HostTenant;
pub use list::{CountQuery, ListFormat, ListResponse, ndjson};
pub use problem::{FieldError, Problem, field_errors};
pub use server::{ServerLimits, serve};
pub use tenant_layer::{CurrentTenant, TenantLayer};
pub use tenant_source::{TenantKey, TenantSource};

/// Maximum length of a request body, in bytes, unless the tenant has a
/// [limit of its own](tenantry::HttpSettings::max_body_bytes). A longer one is answered 413.
pub const MAX_BODY: usize = 64 * 1024;

/// Default of [`AppState::max_body`].
pub const MAX_TENANT_BODY: usize = 1024 * 1024;

/// Deadline of a request, after which it is answered 503.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take to send a request body, after which it is answered 408.
pub const BODY_DEADLINE: Duration = Duration::from_secs(15);

/// Default of [`AppState::max_requests`].
pub const MAX_REQUESTS: usize = 2000;

/// State of the handlers.
#[derive(Clone, Debug)]
pub struct AppState {
    tenancy: Tenancy,
    access: Access,
    max_requests: usize,
    max_body: usize,
    allowed_hosts: Arc<[AllowedHost]>,
    hsts: Option<Duration>,
}

impl AppState {
    /// State for the tenants of `tenancy`, whose callers have [API keys](ApiKeys). With a token, its
    /// owner is an operator, too.
    #[must_use]
    pub fn new(tenancy: Tenancy, admin_token: Option<AdminToken>) -> Self {
        let access =
            Access::new(tenancy.clone(), ApiKeys::new(tenancy.clone())).admin_token(admin_token);
        Self {
            tenancy,
            access,
            max_requests: MAX_REQUESTS,
            max_body: MAX_TENANT_BODY,
            allowed_hosts: Arc::default(),
            hsts: None,
        }
    }

    /// Finds the callers of requests by another check than [`ApiKeys`], see [`Authenticate`].
    #[must_use]
    pub fn authenticate(self, check: impl Authenticate) -> Self {
        Self { access: self.access.authenticate(check), ..self }
    }

    /// Takes the addresses of clients from a header, see [`Access::client_address_header`].
    #[must_use]
    pub fn client_address_header(self, name: HeaderName) -> Self {
        Self { access: self.access.client_address_header(name), ..self }
    }

    /// Finds the callers of requests by another check, too, see [`Access::also_authenticate`].
    #[must_use]
    pub fn also_authenticate(self, check: impl Authenticate) -> Self {
        Self { access: self.access.also_authenticate(check), ..self }
    }

    /// Opens the tenants' routes to every caller, see [`Access::anonymous`].
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { access: self.access.anonymous(), ..self }
    }

    /// The tenants.
    #[must_use]
    pub fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    /// Limits the requests in progress, from the end of a request's head to the end of its answer.
    /// Further ones are answered 503 at once. `/health` is not counted.
    #[must_use]
    pub fn max_requests(self, max_requests: usize) -> Self {
        Self { max_requests, ..self }
    }

    /// Limits the bodies of all requests, in bytes: a tenant's own limit counts up to this one.
    #[must_use]
    pub fn max_body(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    /// Serves requests to these hosts, too, though they belong to no tenant. Needed for routes that
    /// find the tenant elsewhere, such as in the path.
    #[must_use]
    pub fn allow_hosts(self, hosts: impl IntoIterator<Item = AllowedHost>) -> Self {
        Self { allowed_hosts: hosts.into_iter().collect(), ..self }
    }

    /// Adds `Strict-Transport-Security` to every answer: browsers then use HTTPS only, for so long.
    /// For a service that is reached by HTTPS under all its hosts, such as behind a proxy.
    #[must_use]
    pub fn hsts(self, max_age: Duration) -> Self {
        Self { hsts: Some(max_age), ..self }
    }
}

impl FromRef<AppState> for Tenancy {
    fn from_ref(state: &AppState) -> Self {
        state.tenancy.clone()
    }
}

impl FromRef<AppState> for Access {
    fn from_ref(state: &AppState) -> Self {
        state.access.clone()
    }
}
