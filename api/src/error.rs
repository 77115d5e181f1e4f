use axum::response::{IntoResponse, Response};
use tenantry_axum::{ApiError, Problem, field_errors};

/// The error type of the application's handlers.
#[derive(Debug)]
pub struct Error(ApiError);

impl From<service::Error> for Error {
    fn from(error: service::Error) -> Self {
        use service::Error as E;
        Self(match error {
            E::Invalid(errors) => Problem::invalid(field_errors(&errors)).into(),
            E::NotFound { noun, id } => Problem::not_found(noun, id).into(),
            E::Tenancy(error) => error.into(),
            error => ApiError::with_cause(Problem::internal(), error),
        })
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
