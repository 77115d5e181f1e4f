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

use super::page::{Counted, Form, Listed, lines};
use crate::{
    body::Json,
    extract::{Path, Query},
    host::TenantOfHost,
    problem::{Failure, Problem},
};

pub(super) async fn list(
    TenantOfHost(tenant): TenantOfHost,
    Query(filter): Query<Filter>,
    Query(page): Query<PageRequest>,
    Query(counted): Query<Counted>,
    form: Form,
) -> Result<Response, Failure> {
    listed(tenant, filter, page, &counted, form).await
}

pub(super) async fn list_of_guard(
    TenantOfHost(tenant): TenantOfHost,
    Path(guard_id): Path<Uuid>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageRequest>,
    Query(counted): Query<Counted>,
    form: Form,
) -> Result<Response, Failure> {
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
) -> Result<Response, Failure> {
    if form == Form::Lines {
        return lines(page, move |page| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { shift::list_in(&tenant, &filter, page).await }
        })
        .await;
    }
    let page = shift::list_in(&tenant, &filter, page).await?;
    let count = if counted.count { Some(shift::count_in(&tenant, &filter).await?) } else { None };
    Ok(Listed { page, count }.into_response())
}

pub(super) async fn create(
    TenantOfHost(tenant): TenantOfHost,
    Path(guard_id): Path<Uuid>,
    Json(input): Json<NewShift>,
) -> Result<impl IntoResponse, Failure> {
    let shift = shift::create_in(&tenant, guard_id, input).await?;
    let location = format!("/shifts/{}", shift.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(shift)))
}

pub(super) async fn show(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<Json<Shift>, Failure> {
    let shift = shift::get_in(&tenant, id).await?;
    Ok(Json(shift.ok_or_else(|| Problem::not_found("shift", id))?))
}

pub(super) async fn update(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
    Json(change): Json<ShiftChange>,
) -> Result<Json<Shift>, Failure> {
    Ok(Json(shift::update_in(&tenant, id, change).await?))
}

pub(super) async fn delete(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Failure> {
    shift::delete_in(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
