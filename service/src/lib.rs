//! What an application does for its tenants.
//!
//! [`tenantry`] resolves a tenant to its schema on each call, hands out the tenant handle and
//! carries out the tenant's lifecycle. It knows nothing of the application's tables. Beside it
//! stands one module per noun of the application: [`guard`], [`shift`].
//!
//! The one invariant: a statement about a tenant's rows can only be sent through a
//! [`TenantScope`](tenantry::TenantScope), so it names that tenant's schema, or it does not compile.
//!
//! A noun's function comes in two forms. `create` resolves the tenant first; `create_in` works in
//! the caller's handle or transaction.
//!
//! ```no_run
//! # async fn example(tenancy: tenantry::Tenancy) -> Result<(), Box<dyn std::error::Error>> {
//! use service::guard::{self, NewGuard};
//!
//! let abu = NewGuard { name: Some("Abu".into()), position: Some("Guard".into()) };
//! let abu = guard::create(&tenancy, &"tenant-1".parse()?, abu).await?;
//! # Ok(()) }
//! ```

pub mod guard;
pub mod shift;

mod error;
mod input;

pub use error::{Error, explain};
