//! `/guards`: the guards of the host's tenant.

use axum::{
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use service::guard::{self, Filter, Guard, GuardChange, NewGuard};
use tenantry::page::PageRequest;
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
    if form == Form::Lines {
        return lines(page, move |page| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { guard::list_in(&tenant, &filter, page).await }
        })
        .await;
    }
    let page = guard::list_in(&tenant, &filter, page).await?;
    let count = if counted.count { Some(guard::count_in(&tenant, &filter).await?) } else { None };
    Ok(Listed { page, count }.into_response())
}

pub(super) async fn create(
    TenantOfHost(tenant): TenantOfHost,
    Json(input): Json<NewGuard>,
) -> Result<impl IntoResponse, Failure> {
    let guard = guard::create_in(&tenant, input).await?;
    let location = format!("/guards/{}", guard.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(guard)))
}

pub(super) async fn show(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<Json<Guard>, Failure> {
    let guard = guard::get_in(&tenant, id).await?;
    Ok(Json(guard.ok_or_else(|| Problem::not_found("guard", id))?))
}

pub(super) async fn update(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
    Json(change): Json<GuardChange>,
) -> Result<Json<Guard>, Failure> {
    Ok(Json(guard::update_in(&tenant, id, change).await?))
}

pub(super) async fn delete(
    TenantOfHost(tenant): TenantOfHost,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Failure> {
    guard::delete_in(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
