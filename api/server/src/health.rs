//! `/health`, on any host.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::api_error::ApiError;

/// Path of the route.
pub(crate) const PATH: &str = "/health";

/// 204 if the database responds, else 503 with the reason. 200 with the reason while the service
/// does not receive notifications.
pub(crate) async fn show(State(state): State<crate::AppState>) -> Result<Response, ApiError> {
    state.tenancy.ping().await.map_err(ApiError::of_health)?;
    if state.tenancy.is_receiving_notifications() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = json!({
        "status": "degraded",
        "detail": "notifications of changes (LISTEN and NOTIFY) are not received; the service \
                   is reconnecting, and checks tenants against the registry every second",
    });
    Ok(Json(body).into_response())
}
