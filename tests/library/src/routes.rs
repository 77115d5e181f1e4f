use axum::{Router, http::StatusCode, routing::get};
use sea_orm::{EntityTrait, IntoActiveModel, QueryOrder};
use tenantry_axum::{ApiError, AppState, HostTenant, Json};

use crate::book;

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/books", get(list).post(add))
}

async fn list(HostTenant(tenant): HostTenant) -> Result<Json<Vec<book::Model>>, ApiError> {
    Ok(Json(book::Entity::find().order_by_asc(book::COLUMN.isbn).all(&tenant).await?))
}

async fn add(
    HostTenant(tenant): HostTenant,
    Json(book): Json<book::Model>,
) -> Result<(StatusCode, Json<book::Model>), ApiError> {
    let row = book::Entity::insert(book.clone().into_active_model());
    row.exec_without_returning(&tenant).await?;
    Ok((StatusCode::CREATED, Json(book)))
}
