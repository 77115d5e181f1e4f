//! The rival: two handwritten handlers for one schema.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use entity::guard::Model;
use sea_orm::sqlx::{PgPool, postgres::PgPoolOptions, query_as};
use service::guard::NewGuard;
use tokio::net::TcpListener;
use uuid::Uuid;

type Row = (Uuid, String, String, DateTime<Utc>, DateTime<Utc>);

const SHOW: &str =
    "SELECT id, name, position, inserted_at, updated_at FROM tenant_1.guards WHERE id = $1";
const STORE: &str = "INSERT INTO tenant_1.guards (id, name, position, inserted_at, updated_at) \
     VALUES ($1, $2, $3, $4, $4) RETURNING id, name, position, inserted_at, updated_at";

/// Serves until it is killed.
pub async fn serve(url: &str, connections: u32) {
    let options = PgPoolOptions::new().max_connections(connections).test_before_acquire(false);
    let pool = options.connect(url).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("Bare listens on {}", listener.local_addr().unwrap());
    let router = Router::new().route("/guards/{id}", get(show)).route("/guards", post(store));
    axum::serve(listener, router.with_state(pool)).await.unwrap();
}

async fn show(State(pool): State<PgPool>, Path(id): Path<Uuid>) -> Result<Json<Model>, StatusCode> {
    let row: Option<Row> = query_as(SHOW).bind(id).fetch_optional(&pool).await.unwrap();
    row.map(|row| Json(guard(row))).ok_or(StatusCode::NOT_FOUND)
}

async fn store(State(pool): State<PgPool>, Json(input): Json<NewGuard>) -> impl IntoResponse {
    let query = query_as(STORE).bind(Uuid::now_v7()).bind(input.name).bind(input.position);
    let guard = guard(query.bind(tenantry_registry::now()).fetch_one(&pool).await.unwrap());
    (StatusCode::CREATED, [(LOCATION, format!("/guards/{}", guard.id))], Json(guard))
}

fn guard((id, name, position, inserted_at, updated_at): Row) -> Model {
    Model { id, name, position, inserted_at, updated_at }
}
