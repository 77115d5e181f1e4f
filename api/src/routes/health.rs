//! `/health`: whether the service can answer, on any host.

use axum::{extract::State, http::StatusCode};

use crate::problem::Failure;

/// 204 when the database answers, 503 when it does not; then the detail says why.
pub(super) async fn show(State(state): State<crate::State>) -> Result<StatusCode, Failure> {
    state.tenancy.ping().await.map_err(Failure::of_health)?;
    Ok(StatusCode::NO_CONTENT)
}
