//! Tenants whose data may be read and not changed.

use sea_orm::{DbErr, sea_query::Expr};
use tenantry_registry::{Slug, audit::Action, tenant};
use thiserror::Error;
use tracing::info;

use super::{Error, Tenancy, TenantInfo, locked_row::Changed, marker};

/// A statement, or the commit of a transaction that has written, was refused because its tenant is
/// [read-only](Tenancy::set_read_only). Found inside the [`DbErr`] that a tenant handle returns, see
/// [`ReadOnlyTenant::find`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("tenant {slug} is read-only: its data can be read and not changed; try again later")]
#[non_exhaustive]
pub struct ReadOnlyTenant {
    /// The tenant.
    pub slug: Slug,
}

impl ReadOnlyTenant {
    /// The error for a tenant.
    #[must_use]
    pub fn new(slug: Slug) -> Self {
        Self { slug }
    }

    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<ReadOnlyTenant> for DbErr {
    fn from(read_only: ReadOnlyTenant) -> Self {
        marker::wrap(read_only)
    }
}

impl Tenancy {
    /// Makes a tenant read-only, or writable again, as for a move to another server or after an
    /// incident. Returns its new entry.
    ///
    /// In every process, from the next statement of each handle on, statements that write are refused
    /// ([`ReadOnlyTenant`]): `INSERT` and the like before they are sent, all others by PostgreSQL, as
    /// they run in a read-only transaction, which takes two more round trips. A transaction that has
    /// written before cannot commit. Reads, also with functions, go on. A statement that is running
    /// when the tenant becomes read-only still ends, and so does a commit. Migrations, drops and changes
    /// of the tenant's entry are not statements of a handle and stay possible.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// let slug = "acme".parse()?;
    /// assert!(tenancy.set_read_only(&slug, true).await?.read_only);
    /// tenancy.set_read_only(&slug, false).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`]; [`Error::Unavailable`] if the tenant is being dropped;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    pub async fn set_read_only(&self, slug: &Slug, read_only: bool) -> Result<TenantInfo, Error> {
        let Changed { row, is_changed } = self
            .change_row(slug, &Action::ReadOnly, |row| {
                let column = (tenant::Column::ReadOnly, Expr::value(read_only));
                Ok(if row.read_only == read_only { Vec::new() } else { vec![column] })
            })
            .await?;
        // Not only when the notification arrives.
        self.inner.cache.invalidate_tenant(row.id);
        if is_changed {
            info!(tenant = %slug, read_only, "tenant changed");
        }
        self.info(row).await
    }
}
