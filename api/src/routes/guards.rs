//! `/guards`: the guards of the host's tenant.

use axum::{
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use service::guard::{self, Filter, Guard, GuardChange, NewGuard};
use tenantry::page::PageRequest;
use uuid::Uuid;

use tenantry_axum::{Counted, Form, Json, Listed, Path, Problem, Query, TenantOfHost, lines};

use crate::ApiError;

pub(super) async fn list(
    TenantOfHost(tenant): TenantOfHost,
    Query(filter): Query<Filter>,
    Query(page): Query<PageRequest>,
    Query(counted): Query<Counted>,
    form: Form,
) -> Result<Response, ApiError> {
    if form == Form::Lines {
        let answer = lines(page, move |page| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { guard::list_in(&tenant, &filter, page).await }
        })
        .await;
        return Ok(answer?);
    }
    let page = guard::list_in(&tenant, &filter, page).await?;
    let count = if counted.count { Some(guard::count_in(&tenant, &filter).await?) } else { None };
    Ok(Listed { page, count }.into_response())
}

pub(super) async fn create(
    TenantOfHost(tenant): TenantOfHost,
    Json(input): Json<NewGuard>,
) -> Result<impl IntoResponse, ApiError> {
    let guard = guard::create_in(&tenant, input).await?;
    let location = format!("/guards/{}", guard.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(guard)))
}

pub(super) async fn show(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<Json<Guard>, ApiError> {
    let guard = guard::get_in(&tenant, id).await?;
    Ok(Json(guard.ok_or_else(|| Problem::not_found("guard", id))?))
}

pub(super) async fn update(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
    Json(change): Json<GuardChange>,
) -> Result<Json<Guard>, ApiError> {
    Ok(Json(guard::update_in(&tenant, id, change).await?))
}

pub(super) async fn delete(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    guard::delete_in(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
