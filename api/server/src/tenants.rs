//! `/admin/tenants`.

use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tenantry::{
    Slug, TenantInfo,
    page::{Page, PageRequest},
};

use crate::{
    api_error::ApiError,
    auth::Admin,
    body::Json,
    extract::{Path, Query},
    problem::Problem,
    tenant_input::{NewTenantInput, TenantChange},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DropQuery {
    /// Also drop the objects outside the schema that depend on it.
    #[serde(default)]
    cascade: bool,
}

/// Query parameter of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PlacementQuery {
    /// Whether to add the node of each tenant.
    placement: bool,
}

pub(crate) async fn list(
    _: Admin,
    State(state): State<crate::AppState>,
    Query(page): Query<PageRequest>,
    Query(PlacementQuery { placement }): Query<PlacementQuery>,
) -> Result<Response, ApiError> {
    let page = state.tenancy.list(page).await?;
    if !placement {
        return Ok(Json(page).into_response());
    }
    let items = state.tenancy.with_nodes(page.items).await?;
    Ok(Json(Page { items, next: page.next }).into_response())
}

pub(crate) async fn create(
    admin: Admin,
    State(state): State<crate::AppState>,
    Json(input): Json<NewTenantInput>,
) -> Result<impl IntoResponse, ApiError> {
    let tenant = admin.acting_on(&state.tenancy).create(input.parse()?).await?;
    let location = format!("/admin/tenants/{}", tenant.slug);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(tenant)))
}

pub(crate) async fn show(
    _: Admin,
    State(state): State<crate::AppState>,
    Path(slug): Path<String>,
) -> Result<Json<TenantInfo>, ApiError> {
    let tenant = state.tenancy.get(&parse_slug(&slug)?).await?;
    Ok(Json(tenant.ok_or_else(|| Problem::unknown_tenant(slug))?))
}

pub(crate) async fn update(
    admin: Admin,
    State(state): State<crate::AppState>,
    Path(slug): Path<String>,
    Json(change): Json<TenantChange>,
) -> Result<Json<TenantInfo>, ApiError> {
    Ok(Json(admin.acting_on(&state.tenancy).update(&parse_slug(&slug)?, change.parse()?).await?))
}

pub(crate) async fn drop(
    admin: Admin,
    State(state): State<crate::AppState>,
    Path(slug): Path<String>,
    Query(how): Query<DropQuery>,
) -> Result<StatusCode, ApiError> {
    let (slug, tenancy) = (parse_slug(&slug)?, admin.acting_on(&state.tenancy));
    match how.cascade {
        true => tenancy.drop_cascade(&slug).await?,
        false => tenancy.drop(&slug).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A path segment that is not a valid slug names no tenant.
pub(crate) fn parse_slug(slug: &str) -> Result<Slug, Problem> {
    slug.parse().map_err(|_| Problem::unknown_tenant(format!("{slug:?}")))
}
