//! The HTTP API of the service, and the `tenantry` command.
//!
//! A request's tenant comes from its `Host` and nothing else: the handlers are given a
//! [`Tenant`](tenantry::Tenant) by the [`host`] extractor, and without one they are not
//! called. Every answer that is not a success is a problem document of RFC 9457, made in
//! [`problem`].
//!
//! The one invariant: a host that is no tenant's is answered 404; it never falls through to
//! another tenant.
//!
//! ```no_run
//! # async fn example(tenancy: tenantry::Tenancy) -> std::io::Result<()> {
//! let app = api::router(api::State::new(tenancy, None));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```

pub mod cli;
pub mod host;
pub mod operator;
pub mod problem;

mod body;
mod extract;
mod gate;
mod routes;
mod target;
mod trace;

use std::{sync::Arc, time::Duration};

use tenantry::Tenancy;

pub use operator::AdminToken;
pub use routes::router;

/// Largest body of a request, in bytes. A longer one is answered 413.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a request may take. A longer one is answered 503.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take to send the body of a request. A slower one is answered 408.
pub const BODY_DEADLINE: Duration = Duration::from_secs(15);

/// Most requests under way at a time, unless [`State::max_requests`] says otherwise.
pub const MAX_REQUESTS: usize = 2000;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct State {
    tenancy: Tenancy,
    admin_token: Option<Arc<AdminToken>>,
    max_requests: usize,
}

impl State {
    /// Serves the tenants of `tenancy`. Without a token the operator's routes refuse.
    #[must_use]
    pub fn new(tenancy: Tenancy, admin_token: Option<AdminToken>) -> Self {
        Self { tenancy, admin_token: admin_token.map(Arc::new), max_requests: MAX_REQUESTS }
    }

    /// Bounds the requests that are under way at a time, from the end of a request's head to the
    /// end of its answer. Any further one is answered 503 at once. `/health` has places of its own.
    #[must_use]
    pub fn max_requests(self, max_requests: usize) -> Self {
        Self { max_requests, ..self }
    }
}
