//! All active tenants, for work that visits each of them.

use std::{sync::Arc, time::Duration, vec};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use sea_orm::{ColumnTrait, QueryFilter};
use tenantry_registry::tenant;
use tokio::time::sleep;
use tracing::warn;
use uuid::Uuid;

use super::{
    Availability, Error, Tenancy, Tenant,
    page::{self, PageRequest},
    tenant_state::TenantState,
};

/// How often a page is requested before the stream ends with its error.
const ATTEMPTS: u32 = 3;

const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Tenancy {
    /// The handles of all active tenants, in the order of their creation, for work in the background.
    /// The registry is read page by page, so tenants that are created meanwhile are included.
    ///
    /// All of these handles together use no more connections than one tenant may, so that the work
    /// leaves the rest of the pool to requests.
    ///
    /// Tenants that are suspended, archived or dropped, also meanwhile, are left out. A tenant whose
    /// schema does not fit this build is an [`Error::Unavailable`] that names it, and the next
    /// tenants follow. Any other error is one of the registry, after which the stream ends.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use futures_util::TryStreamExt;
    ///
    /// let mut tenants = tenancy.tenants();
    /// while let Some(tenant) = tenants.try_next().await? {
    ///     println!("{}", tenant.slug());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn tenants(&self) -> BoxStream<'static, Result<Tenant, Error>> {
        let all = AllTenants {
            tenancy: self.clone(),
            after: None,
            page: Vec::new().into_iter(),
            is_last: false,
        };
        stream::unfold(all, |mut all| async { all.next().await.map(|next| (next, all)) }).boxed()
    }

    /// The concurrency of work in the background: each of its tenants needs a connection.
    pub(super) fn background_concurrency(&self, wanted: usize) -> usize {
        wanted.clamp(1, self.inner.pool.share())
    }
}

/// Whether a tenant is no longer among the active ones.
pub(super) fn is_inactive(error: &Error) -> bool {
    use Availability as A;
    matches!(error, Error::Unavailable(it)
        if matches!(it.availability, A::Suspended | A::Archived | A::Dropped))
}

struct AllTenants {
    tenancy: Tenancy,
    /// The last tenant of the page.
    after: Option<Uuid>,
    page: vec::IntoIter<Arc<TenantState>>,
    is_last: bool,
}

impl AllTenants {
    async fn next(&mut self) -> Option<Result<Tenant, Error>> {
        loop {
            let Some(state) = self.page.next() else {
                if self.is_last {
                    return None;
                }
                match self.fetch_with_retries().await {
                    Ok(()) => continue,
                    Err(error) => return self.end_with(error),
                }
            };
            // It may have changed since the page was read.
            match state.check().await.map_err(Error::from) {
                Ok(()) => {
                    let db = self.tenancy.inner.pool.in_background(Arc::clone(&state));
                    return Some(Ok(Tenant { db, state }));
                }
                Err(error) if is_inactive(&error) => {}
                Err(error @ Error::Unavailable(_)) => return Some(Err(error)),
                Err(error) => return self.end_with(error),
            }
        }
    }

    fn end_with(&mut self, error: Error) -> Option<Result<Tenant, Error>> {
        self.page = Vec::new().into_iter();
        self.is_last = true;
        Some(Err(error))
    }

    async fn fetch_with_retries(&mut self) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            match self.fetch().await {
                Err(error) if attempt < ATTEMPTS => {
                    warn!(%error, "the next tenants could not be read; retrying");
                    attempt += 1;
                    sleep(RETRY_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), Error> {
        let inner = &self.tenancy.inner;
        let select = tenant::Entity::find_living()
            .filter(tenant::Column::Status.eq(tenant::Status::Active))
            .filter(tenant::Column::Slug.is_not_null());
        let request = PageRequest { after: self.after, limit: PageRequest::MAX_LIMIT };
        // Before the query, so that a change after it makes the states be read again.
        let stamp = inner.view.freshness.stamp();
        let id = |row: &tenant::Model| row.id.as_uuid();
        let page = page::fetch(&inner.db, select, tenant::Column::Id, request, id).await?;
        let states = page.items.into_iter().filter_map(|row| inner.cache.intern(row, stamp));
        self.page = states.collect::<Vec<_>>().into_iter();
        (self.after, self.is_last) = (page.next, page.next.is_none());
        Ok(())
    }
}
