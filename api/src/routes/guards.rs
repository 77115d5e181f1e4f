//! `/guards`: the guards of the host's tenant.

use axum::{
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use service::guard::{self, Filter, Guard, GuardChange, NewGuard};
use tenantry::page::PageRequest;
use uuid::Uuid;

use tenantry_axum::{
    CountQuery, HostTenant, Json, ListFormat, ListResponse, Path, Problem, Query, ndjson,
};

use crate::Error;

pub(super) async fn list(
    HostTenant(tenant): HostTenant,
    Query(filter): Query<Filter>,
    Query(page): Query<PageRequest>,
    Query(query): Query<CountQuery>,
    format: ListFormat,
) -> Result<Response, Error> {
    if format == ListFormat::Ndjson {
        let answer = ndjson(page, move |page| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { guard::list_in(&tenant, &filter, page).await }
        })
        .await;
        return Ok(answer?);
    }
    let page = guard::list_in(&tenant, &filter, page).await?;
    let count = if query.count { Some(guard::count_in(&tenant, &filter).await?) } else { None };
    Ok(ListResponse { page, count }.into_response())
}

pub(super) async fn create(
    HostTenant(tenant): HostTenant,
    Json(input): Json<NewGuard>,
) -> Result<impl IntoResponse, Error> {
    let guard = guard::create_in(&tenant, input).await?;
    let location = format!("/guards/{}", guard.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(guard)))
}

pub(super) async fn show(
    HostTenant(tenant): HostTenant,
    Path(id): Path<Uuid>,
) -> Result<Json<Guard>, Error> {
    let guard = guard::get_in(&tenant, id).await?;
    Ok(Json(guard.ok_or_else(|| Problem::not_found("guard", id))?))
}

pub(super) async fn update(
    HostTenant(tenant): HostTenant,
    Path(id): Path<Uuid>,
    Json(change): Json<GuardChange>,
) -> Result<Json<Guard>, Error> {
    Ok(Json(guard::update_in(&tenant, id, change).await?))
}

pub(super) async fn delete(
    HostTenant(tenant): HostTenant,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    guard::delete_in(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
