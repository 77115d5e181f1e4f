//! Nodes of a Citus cluster: `/admin/nodes`, and moving a tenant.

use axum::extract::State;
use serde::Deserialize;
use tenantry::{Moved, NodeInfo};
use validator::{Validate, ValidationErrors};

use crate::{
    AppState, api_error::ApiError, auth::Admin, body::Json, extract::Path, tenants::parse_slug,
};

/// A move takes as long as copying the tenant's data, see [`transfer`](crate::transfer).
pub(crate) const MOVE: &str = "/admin/tenants/{slug}/move";

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveInput {
    /// Host of a node, or host and port.
    #[validate(required(code = "required", message = "is required"))]
    node: Option<String>,
}

impl tenantry::Input for MoveInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.validate()
    }
}

pub(crate) async fn list(
    _: Admin,
    State(state): State<AppState>,
) -> Result<Json<Vec<NodeInfo>>, ApiError> {
    Ok(Json(state.tenancy.nodes().await?))
}

pub(crate) async fn move_tenant(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    Json(input): Json<MoveInput>,
) -> Result<Json<Moved>, ApiError> {
    let (slug, node) = (parse_slug(&slug)?, input.node.unwrap_or_default());
    Ok(Json(admin.acting_on(&state.tenancy).move_tenant(&slug, &node, |_| {}).await?))
}
