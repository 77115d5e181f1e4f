use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc};

use super::TenantTransaction;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The function that inserts the first rows of every new tenant, see
/// [`Config::seed`](super::Config::seed).
#[derive(Clone)]
pub struct Seed(Arc<dyn for<'a> SeedFn<'a>>);

/// Implemented by every `async fn`, and every async closure without captures, that takes a
/// `&TenantTransaction` and returns a `Result<(), E>` with any error. A seed with state is a type
/// that implements this.
pub trait SeedFn<'a>: Send + Sync {
    /// Inserts the rows.
    fn call(
        &self,
        tenant: &'a TenantTransaction,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

impl<'a, F, R, E> SeedFn<'a> for F
where
    F: Fn(&'a TenantTransaction) -> R + Send + Sync,
    R: Future<Output = Result<(), E>> + Send + 'a,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn call(
        &self,
        tenant: &'a TenantTransaction,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        let seeded = self(tenant);
        Box::pin(async move { seeded.await.map_err(Into::into) })
    }
}

impl Seed {
    /// Wraps a function.
    pub fn new(seed: impl for<'a> SeedFn<'a> + 'static) -> Self {
        Self(Arc::new(seed))
    }

    pub(super) async fn run(&self, tenant: &TenantTransaction) -> Outcome {
        self.0.call(tenant).await
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}
