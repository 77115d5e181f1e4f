use axum::response::{IntoResponse, Response};
use service::Error;
use tenantry_axum::{Failure, Problem, field_errors};

/// The error type of the application's handlers.
#[derive(Debug)]
pub struct ApiError(Failure);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::Invalid(errors) => Problem::invalid(field_errors(&errors)).into(),
            Error::NotFound { noun, id } => Problem::not_found(noun, id).into(),
            Error::Tenancy(error) => error.into(),
            error => Failure::caused(Problem::internal(), error),
        })
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
