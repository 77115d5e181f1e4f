use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, StreamExt};
use tenantry_registry::Slug;
use thiserror::Error;

use super::{Error, Tenancy, Tenant};

/// Outcome of [`Tenancy::for_each`].
#[derive(Debug)]
#[must_use = "tenants may have failed"]
pub struct ForEachSummary<E> {
    /// Number of tenants for which the work succeeded.
    pub succeeded: usize,
    /// The tenants for which it failed, in the order of failing.
    pub failures: Vec<TenantFailure<E>>,
}

/// A tenant for which some work failed.
#[derive(Debug)]
pub struct TenantFailure<E> {
    /// The tenant.
    pub slug: Slug,
    /// The reason.
    pub error: WorkError<E>,
}

/// Why work in a tenant failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkError<E> {
    /// The work returned this error.
    #[error("{0}")]
    Failed(E),
    /// The work was not started, because the tenant's schema does not fit this build.
    #[error(transparent)]
    Unavailable(Error),
    /// The work panicked with this message.
    #[error("panicked: {0}")]
    Panicked(String),
}

enum Outcome<E> {
    Succeeded,
    Failed(TenantFailure<E>),
    /// The tenants that follow could not be read.
    Unlisted(Error),
}

impl Tenancy {
    /// Runs `work` once in every [active tenant](Self::tenants), in at most `concurrency` of them at
    /// the same time, and in no more than one tenant may have connections. An error or a panic in
    /// one tenant does not affect the others.
    ///
    /// `work` is `async |tenant| …`, or `|tenant| { …; async move { … } }` if each call needs a value of
    /// its own. All of it runs in the caller's task. If the future is dropped, no more work is started, and
    /// that in progress is dropped, so that its transactions are rolled back.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use sea_orm::ConnectionTrait;
    ///
    /// let summary = tenancy
    ///     .for_each(4, async |tenant| {
    ///         let old = r#"DELETE FROM "@tenant"."sessions" WHERE expires_at < now()"#;
    ///         tenant.execute_unprepared(old).await.map(drop)
    ///     })
    ///     .await?;
    /// for failure in &summary.failures {
    ///     eprintln!("{}: {}", failure.slug, failure.error);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the registry, after which no further tenant is visited. Errors of tenants are in the
    /// summary.
    // Not `AsyncFn`: the compiler cannot show that a future with its futures is `Send`.
    pub async fn for_each<F, E>(
        &self,
        concurrency: usize,
        work: impl Fn(Tenant) -> F,
    ) -> Result<ForEachSummary<E>, Error>
    where
        F: Future<Output = Result<(), E>>,
    {
        let visit = |tenant| visit(tenant, &work);
        let mut outcomes =
            self.tenants().map(visit).buffer_unordered(self.background_concurrency(concurrency));
        let mut summary = ForEachSummary { succeeded: 0, failures: Vec::new() };
        let mut unlisted = None;
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Outcome::Succeeded => summary.succeeded += 1,
                Outcome::Failed(failure) => summary.failures.push(failure),
                // Work that is in progress is awaited.
                Outcome::Unlisted(error) => unlisted = Some(error),
            }
        }
        unlisted.map_or(Ok(summary), Err)
    }
}

async fn visit<F, E>(tenant: Result<Tenant, Error>, work: &impl Fn(Tenant) -> F) -> Outcome<E>
where
    F: Future<Output = Result<(), E>>,
{
    let tenant = match tenant {
        Ok(tenant) => tenant,
        Err(Error::Unavailable(it)) => {
            let slug = it.slug.clone();
            let error = WorkError::Unavailable(it.into());
            return Outcome::Failed(TenantFailure { slug, error });
        }
        Err(error) => return Outcome::Unlisted(error),
    };
    let slug = tenant.slug().clone();
    // The function is called in here, since it may panic too.
    let ran = AssertUnwindSafe(async { work(tenant).await }).catch_unwind().await;
    let error = match ran {
        Ok(Ok(())) => return Outcome::Succeeded,
        Ok(Err(error)) => WorkError::Failed(error),
        Err(panic) => WorkError::Panicked(message(panic.as_ref())),
    };
    Outcome::Failed(TenantFailure { slug, error })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
