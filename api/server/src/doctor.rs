//! `/admin/doctor`.

use axum::extract::State;
use tenantry::{Diagnosis, DoctorOptions};

use crate::{api_error::ApiError, auth::Admin, body::Json};

/// Names what is half done or stray. Fixing it is left to the command.
pub(crate) async fn show(
    _: Admin,
    State(state): State<crate::AppState>,
) -> Result<Json<Diagnosis>, ApiError> {
    Ok(Json(state.tenancy.doctor(&DoctorOptions::default()).await?))
}
