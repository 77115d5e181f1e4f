//! Services of the application, one module per noun: [`guard`] and [`shift`].
//!
//! A function comes in two forms. `create` resolves the tenant first; `create_in` works in the
//! caller's handle or transaction, a [`TenantScope`](tenantry::TenantScope).
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

pub use error::Error;
