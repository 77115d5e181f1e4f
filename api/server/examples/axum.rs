//! An axum application with a router, a state and a server of its own: `HostTenant` gives its
//! handlers the tenant of the request's host, for any state from which a `Tenancy` can be taken.
//! Every caller is admitted: an `AuthLayer` around the router would ask for credentials.
//!
//! ```sh
//! cargo run --package tenantry-axum --example axum
//! curl http://acme.localhost:3000/notes -H 'content-type: application/json' -d '"Hello"'
//! curl http://acme.localhost:3000/notes
//! curl http://globex.localhost:3000/notes
//! ```

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use std::{env, error::Error};

use axum::{
    Json, Router,
    extract::{FromRef, State},
    routing::get,
};
use local_postgres::Server;
use sea_orm::{ActiveModelTrait, EntityTrait, Set};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf, prelude::*};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_axum::{ApiError, HostTenant};
use tenantry_migrate::TenantMigrator;

mod note {
    //! `notes`: short texts.

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "notes")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub text: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateNotes)]
    }
}

impl TenantMigrator for Migrator {}

struct CreateNotes;

impl MigrationName for CreateNotes {
    fn name(&self) -> &str {
        "m20261129_000001_create_notes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateNotes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("notes")
            .col(ColumnDef::new("id").big_integer().not_null().auto_increment())
            .col(ColumnDef::new("text").text().not_null())
            .primary_key(Index::create().name("notes_pkey").col("id"))
            .to_owned();
        manager.create_table(table).await
    }
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    tenancy: Tenancy,
    greeting: &'static str,
}

impl FromRef<App> for Tenancy {
    fn from_ref(app: &App) -> Self {
        app.tenancy.clone()
    }
}

async fn list(HostTenant(tenant): HostTenant) -> Result<Json<Vec<String>>, ApiError> {
    let notes = note::Entity::find().all(&tenant).await?;
    Ok(Json(notes.into_iter().map(|note| note.text).collect()))
}

async fn add(
    State(app): State<App>,
    HostTenant(tenant): HostTenant,
    Json(text): Json<String>,
) -> Result<String, ApiError> {
    let note = note::ActiveModel { text: Set(text), ..Default::default() }.insert(&tenant).await?;
    Ok(format!("{} {}: stored as {}", app.greeting, tenant.slug(), note.id))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The database that DATABASE_URL names, or a PostgreSQL server that ends with the example.
    let server = match env::var_os("DATABASE_URL") {
        Some(_) => None,
        None => Some(Server::temporary(&[])?),
    };
    let url = server.as_ref().map_or_else(|| env::var("DATABASE_URL"), |it| Ok(it.url("postgres")));
    let config = Config::new(url?, Migrator);
    Tenancy::migrate_all(&config).await?;
    let tenancy = Tenancy::connect(&config).await?;
    for name in ["acme", "globex"] {
        let slug = name.parse()?;
        if tenancy.get(&slug).await?.is_none() {
            tenancy.create(NewTenant::new(slug)).await?;
        }
    }
    let app = Router::new().route("/notes", get(list).post(add));
    let app = app.with_state(App { tenancy, greeting: "Hello" });
    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}
