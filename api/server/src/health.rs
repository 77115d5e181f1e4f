//! `/health`: whether the service can answer, on any host.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::problem::ApiError;

/// 204 when the database answers, 503 when it does not; then the detail says why. 200 with the
/// reason while the service answers, but does not receive announcements.
pub(crate) async fn show(State(state): State<crate::AppState>) -> Result<Response, ApiError> {
    state.tenancy.ping().await.map_err(ApiError::of_health)?;
    if state.tenancy.is_receiving_announcements() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = json!({
        "status": "degraded",
        "detail": "announcements of changes (LISTEN and NOTIFY) are not received; the service \
                   connects again, and checks tenants against the registry every second",
    });
    Ok(Json(body).into_response())
}
