//! `/health`: whether the service can answer, on any host.

use axum::{extract::State, http::StatusCode};

use crate::problem::Failure;

/// 204 when the database answers, 503 when it does not.
pub(super) async fn show(State(state): State<crate::State>) -> Result<StatusCode, Failure> {
    state.tenancy.ping().await?;
    Ok(StatusCode::NO_CONTENT)
}
