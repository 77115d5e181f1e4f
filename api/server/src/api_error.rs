//! The error type of handlers: every error of the engine as a problem document.

use std::{error::Error, sync::Arc};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use sea_orm::{DbErr, TransactionError};
use tenantry::{
    Busy, MetadataError, Misuse, NameError, OtherSchema, ReadOnlyTenant, TenantUnavailable,
    WorkError, WrongTenant,
};
use tenantry_migrate::connect::ConnectError;
use validator::ValidationErrors;

use crate::problem::{Problem, field_errors};

/// The error type of handlers: a problem, and its cause for the log.
///
/// `?` converts every error of the engine and of SeaORM:
///
/// ```no_run
/// use sea_orm::{ConnectionTrait, TransactionTrait};
/// use tenantry_axum::{ApiError, HostTenant};
///
/// async fn reset(HostTenant(tenant): HostTenant) -> Result<(), ApiError> {
///     let txn = tenant.begin().await?; // DbErr
///     txn.execute_unprepared(r#"UPDATE "@tenant"."counters" SET value = 0"#).await?;
///     Ok(txn.commit().await?)
/// }
/// ```
///
/// A 5xx does not contain its cause. [`app`](crate::app) logs it; an application without `app` logs
/// what [`error_cause`] returns.
#[derive(Debug)]
pub struct ApiError(Box<Response>);

/// Cause of a 5xx, a response extension that is logged once.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) Arc<dyn Error + Send + Sync>);

/// The unavailable tenant that a response is about, a response extension.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) tenant: TenantUnavailable,
    /// Whether the response says that the tenant exists.
    pub(crate) is_shown: bool,
}

/// The credentials are real but have expired, a response extension.
#[derive(Debug, Clone)]
struct Expired;

/// The cause of a response that was made from an [`ApiError`], if it is a server error.
///
/// ```
/// use axum::{Router, middleware::map_response, response::Response};
///
/// async fn log(response: Response) -> Response {
///     if let Some(cause) = tenantry_axum::error_cause(&response) {
///         tracing::error!(status = %response.status(), "{}", tenantry::explain(cause));
///     }
///     response
/// }
///
/// # fn app(app: Router) -> Router {
/// app.layer(map_response(log))
/// # }
/// ```
#[must_use]
pub fn error_cause<B>(response: &axum::http::Response<B>) -> Option<&(dyn Error + 'static)> {
    response.extensions().get().map(|Cause(cause)| &**cause as _)
}

impl ApiError {
    /// The answer of `/health` if the database fails.
    pub(crate) fn of_health(error: tenantry::Error) -> Self {
        Self::with_cause(Problem::of_health(&error), error)
    }

    /// Logs the cause if the problem is a server error. The cause is never sent.
    #[must_use]
    pub fn with_cause(problem: Problem, error: impl Error + Send + Sync + 'static) -> Self {
        let server_error = problem.is_server_error();
        let mut response = problem.into_response();
        if server_error {
            response.extensions_mut().insert(Cause(Arc::new(error)));
        }
        Self(Box::new(response))
    }

    /// Logs which unavailable tenant the answer is about, which does not say so.
    pub(crate) fn about(self, tenant: TenantUnavailable) -> Self {
        self.with(Refusal { tenant, is_shown: false })
    }

    /// 401: the credentials have expired.
    pub(crate) fn expired(problem: Problem) -> Self {
        Self::from(problem).with(Expired)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The unavailable tenant that the answer is about.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.0.extensions().get()
    }

    /// Whether the answer is that of credentials that may be guessed.
    pub(crate) fn is_failure(&self) -> bool {
        self.status() == StatusCode::UNAUTHORIZED
            && self.refusal().is_none()
            && self.0.extensions().get::<Expired>().is_none()
    }

    fn with(mut self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.0.extensions_mut().insert(extension);
        self
    }
}

/// The unavailable tenant in an error.
fn refusal(error: &tenantry::Error) -> Option<&TenantUnavailable> {
    match error {
        tenantry::Error::Unavailable(refused) => Some(refused),
        tenantry::Error::OfTenant { source, .. } => refusal(source),
        _ => None,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem.into_response()))
    }
}

impl From<tenantry::Error> for ApiError {
    fn from(error: tenantry::Error) -> Self {
        let problem = Problem::of_tenancy(&error);
        match refusal(&error).cloned() {
            Some(tenant) => {
                Self::with_cause(problem, error).with(Refusal { tenant, is_shown: true })
            }
            None => Self::with_cause(problem, error),
        }
    }
}

impl From<DbErr> for ApiError {
    fn from(error: DbErr) -> Self {
        tenantry::Error::from(error).into()
    }
}

/// Of `TransactionTrait::transaction`.
impl<E: Into<Self>> From<TransactionError<E>> for ApiError {
    fn from(error: TransactionError<E>) -> Self {
        match error {
            TransactionError::Connection(error) => error.into(),
            TransactionError::Transaction(error) => error.into(),
        }
    }
}

impl From<TenantUnavailable> for ApiError {
    fn from(error: TenantUnavailable) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<ReadOnlyTenant> for ApiError {
    fn from(error: ReadOnlyTenant) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<Busy> for ApiError {
    fn from(error: Busy) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<OtherSchema> for ApiError {
    fn from(error: OtherSchema) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<Misuse> for ApiError {
    fn from(error: Misuse) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<ConnectError> for ApiError {
    fn from(error: ConnectError) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<tenantry_migrate::Error> for ApiError {
    fn from(error: tenantry_migrate::Error) -> Self {
        tenantry::Error::from(error).into()
    }
}

impl From<MetadataError> for ApiError {
    fn from(error: MetadataError) -> Self {
        tenantry::Error::from(error).into()
    }
}

/// Of work in one of several tenants.
impl<E: Into<Self>> From<WorkError<E>> for ApiError {
    fn from(error: WorkError<E>) -> Self {
        match error {
            WorkError::Failed(error) => error.into(),
            WorkError::Unavailable(error) => error.into(),
            WorkError::Panicked(message) => {
                Self::with_cause(Problem::internal(), PanickedWork(message))
            }
            _ => Problem::internal().into(),
        }
    }
}

/// Work in a tenant panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work in a tenant panicked: {0}")]
struct PanickedWork(String);

/// A value of one tenant that was opened for another: a bug.
impl From<WrongTenant> for ApiError {
    fn from(error: WrongTenant) -> Self {
        Self::with_cause(Problem::internal(), error)
    }
}

/// Of [`Input::check`](tenantry::Input::check).
impl From<ValidationErrors> for ApiError {
    fn from(errors: ValidationErrors) -> Self {
        Problem::invalid(field_errors(&errors)).into()
    }
}

#[cfg(test)]
mod tests {
    use tenantry::{Availability, Slug, TenantId};

    use super::*;

    fn answer<T>(handler: impl FnOnce() -> Result<T, ApiError>) -> (u16, bool) {
        let response = handler().err().map(IntoResponse::into_response).unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        (response.status().as_u16(), error_cause(&response).is_some())
    }

    #[test]
    fn a_handler_returns_each_error_with_a_question_mark() {
        let slug = || "tenant-1".parse::<Slug>().unwrap();
        let db = || DbErr::Custom("secret".to_owned());
        let unavailable =
            || TenantUnavailable::new(TenantId::generate(), slug(), Availability::Archived);
        let connection = TransactionError::<tenantry::Error>::Connection(db());
        let inner = TransactionError::Transaction(tenantry::Error::UnknownTenant(slug()));
        assert_eq!(answer(|| Ok(Err::<(), _>(db())?)), (500, true));
        assert_eq!(answer(|| Ok(Err::<(), _>(connection)?)), (500, true));
        assert_eq!(answer(|| Ok(Err::<(), _>(inner)?)), (404, false));
        assert_eq!(answer(|| Ok(Err::<(), _>(unavailable())?)), (410, false));
        assert_eq!(answer(|| Ok(Err::<(), _>(Busy::new(slug(), 1))?)), (503, true));
        assert_eq!(answer(|| Ok("No".parse::<Slug>()?)), (422, false));
        assert_eq!(answer(|| Ok(Err::<(), _>(ConnectError::BadUrl)?)), (503, true));
        let missing = tenantry_migrate::Error::MissingRegistry;
        assert_eq!(answer(|| Ok(Err::<(), _>(missing)?)), (500, true));
        let misuse = Misuse::TransactionControl { keyword: "BEGIN" };
        assert_eq!(answer(|| Ok(Err::<(), _>(misuse)?)), (500, true));
        assert_eq!(answer(|| Ok(Err::<(), _>(ValidationErrors::new())?)), (422, false));
        assert_eq!(answer(|| Ok(Err::<(), _>(Problem::unauthorized(false))?)), (401, false));
        let metadata = tenantry::Metadata::new(&[1]);
        assert_eq!(answer(|| Ok(metadata?)), (422, false));
        let work = WorkError::Failed(unavailable());
        assert_eq!(answer(|| Ok(Err::<(), _>(work)?)), (410, false));
        let work = WorkError::<DbErr>::Panicked("secret".to_owned());
        assert_eq!(answer(|| Ok(Err::<(), _>(work)?)), (500, true));
        let source = Box::new(unavailable().into());
        let one = tenantry::Error::OfTenant { slug: slug(), source };
        assert_eq!(answer(|| Ok(Err::<(), _>(one)?)), (410, false));
    }
}
