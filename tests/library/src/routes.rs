use axum::{Router, http::StatusCode, routing::get};
use sea_orm::{EntityTrait, IntoActiveModel, QueryOrder};
use tenantry_axum::{Failure, Json, State, TenantOfHost};

use crate::book;

pub(crate) fn routes() -> Router<State> {
    Router::new().route("/books", get(list).post(add))
}

async fn list(TenantOfHost(tenant): TenantOfHost) -> Result<Json<Vec<book::Model>>, Failure> {
    let books = book::Entity::find().order_by_asc(book::COLUMN.isbn).all(&tenant).await;
    Ok(Json(books.map_err(tenantry::Error::from)?))
}

async fn add(
    TenantOfHost(tenant): TenantOfHost,
    Json(book): Json<book::Model>,
) -> Result<(StatusCode, Json<book::Model>), Failure> {
    let row = book::Entity::insert(book.clone().into_active_model());
    row.exec_without_returning(&tenant).await.map_err(tenantry::Error::from)?;
    Ok((StatusCode::CREATED, Json(book)))
}
