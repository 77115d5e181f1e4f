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
    listed(tenant, filter, page, &query, format).await
}

pub(super) async fn list_of_guard(
    HostTenant(tenant): HostTenant,
    Path(guard_id): Path<Uuid>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageRequest>,
    Query(query): Query<CountQuery>,
    format: ListFormat,
) -> Result<Response, Error> {
    if guard::get_in(&tenant, guard_id).await?.is_none() {
        return Err(Problem::not_found("guard", guard_id).into());
    }
    let filter = Filter { guard_id: Some(guard_id), ..filter };
    listed(tenant, filter, page, &query, format).await
}

async fn listed(
    tenant: Tenant,
    filter: Filter,
    page: PageRequest,
    query: &CountQuery,
    format: ListFormat,
) -> Result<Response, Error> {
    if format == ListFormat::Ndjson {
        let answer = ndjson(page, move |page| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { shift::list_in(&tenant, &filter, page).await }
        })
        .await;
        return Ok(answer?);
    }
    let page = shift::list_in(&tenant, &filter, page).await?;
    let count = if query.count { Some(shift::count_in(&tenant, &filter).await?) } else { None };
    Ok(ListResponse { page, count }.into_response())
}

pub(super) async fn create(
    HostTenant(tenant): HostTenant,
    Path(guard_id): Path<Uuid>,
    Json(input): Json<NewShift>,
) -> Result<impl IntoResponse, Error> {
    let shift = shift::create_in(&tenant, guard_id, input).await?;
    let location = format!("/shifts/{}", shift.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(shift)))
}

pub(super) async fn show(
    HostTenant(tenant): HostTenant,
    Path(id): Path<Uuid>,
) -> Result<Json<Shift>, Error> {
    let shift = shift::get_in(&tenant, id).await?;
    Ok(Json(shift.ok_or_else(|| Problem::not_found("shift", id))?))
}

pub(super) async fn update(
    HostTenant(tenant): HostTenant,
    Path(id): Path<Uuid>,
    Json(change): Json<ShiftChange>,
) -> Result<Json<Shift>, Error> {
    Ok(Json(shift::update_in(&tenant, id, change).await?))
}

pub(super) async fn delete(
    HostTenant(tenant): HostTenant,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    shift::delete_in(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
