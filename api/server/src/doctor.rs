//! `/admin/doctor`.

use axum::extract::State;
use serde::Serialize;
use tenantry::{Diagnosis, DoctorOptions, Finding, Fixed};

use crate::{api_error::ApiError, auth::Admin, body::Json};

/// What was fixed or could not be, and what is left to a person.
#[derive(Serialize)]
pub(crate) struct Repair {
    fixed: Vec<Fixed>,
    findings: Vec<Finding>,
    complete: bool,
}

/// Names what is half done or stray.
pub(crate) async fn show(
    _: Admin,
    State(state): State<crate::AppState>,
) -> Result<Json<Diagnosis>, ApiError> {
    Ok(Json(state.tenancy.doctor(&DoctorOptions::default()).await?))
}

/// Fixes what is safe.
pub(crate) async fn fix(
    admin: Admin,
    State(state): State<crate::AppState>,
) -> Result<Json<Repair>, ApiError> {
    let tenancy = admin.acting_on(&state.tenancy);
    let mut diagnosis = tenancy.doctor(&DoctorOptions::default()).await?;
    let fixed = tenancy.fix(&diagnosis).await;
    diagnosis.findings.retain(|it| !it.remedy.is_safe());
    Ok(Json(Repair { fixed, findings: diagnosis.findings, complete: diagnosis.complete }))
}
