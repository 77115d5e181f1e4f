//! `/shifts` and `/guards/{id}/shifts`: the shifts of the host's tenant.

use axum::{
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use service::{
    guard,
    shift::{self, Filter, NewShift, Shift, ShiftChange},
};
use tenantry::{Tenant, page::PageRequest};
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
    listed(tenant, filter, page, &counted, form).await
}

pub(super) async fn list_of_guard(
    TenantOfHost(tenant): TenantOfHost,
    Path(guard_id): Path<Uuid>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageRequest>,
    Query(counted): Query<Counted>,
    form: Form,
) -> Result<Response, ApiError> {
    if guard::get_in(&tenant, guard_id).await?.is_none() {
        return Err(Problem::not_found("guard", guard_id).into());
    }
    let filter = Filter { guard_id: Some(guard_id), ..filter };
    listed(tenant, filter, page, &counted, form).await
}

async fn listed(
    tenant: Tenant,
    filter: Filter,
    page: PageRequest,
    counted: &Counted,
    form: Form,
) -> Result<Response, ApiError> {
    if form == Form::Lines {
        let answer = lines(page, move |page| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { shift::list_in(&tenant, &filter, page).await }
        })
        .await;
        return Ok(answer?);
    }
    let page = shift::list_in(&tenant, &filter, page).await?;
    let count = if counted.count { Some(shift::count_in(&tenant, &filter).await?) } else { None };
    Ok(Listed { page, count }.into_response())
}

pub(super) async fn create(
    TenantOfHost(tenant): TenantOfHost,
    Path(guard_id): Path<Uuid>,
    Json(input): Json<NewShift>,
) -> Result<impl IntoResponse, ApiError> {
    let shift = shift::create_in(&tenant, guard_id, input).await?;
    let location = format!("/shifts/{}", shift.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(shift)))
}

pub(super) async fn show(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<Json<Shift>, ApiError> {
    let shift = shift::get_in(&tenant, id).await?;
    Ok(Json(shift.ok_or_else(|| Problem::not_found("shift", id))?))
}

pub(super) async fn update(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
    Json(change): Json<ShiftChange>,
) -> Result<Json<Shift>, ApiError> {
    Ok(Json(shift::update_in(&tenant, id, change).await?))
}

pub(super) async fn delete(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    shift::delete_in(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
