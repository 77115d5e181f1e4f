//! A report over all tenants: one query in every schema, several at a time, and a change in all of
//! them. A tenant that fails is reported, and the others go on.
//!
//! ```sh
//! cargo run --package tenantry --example report
//! ```

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

mod guards;

use std::error::Error;

use futures_util::StreamExt;
use guards::{guard, new_guard};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
    sea_query::Expr,
};
use tenantry::NewTenant;

/// One row of the report, of each position of a tenant.
#[derive(FromQueryResult)]
struct Staff {
    position: String,
    guards: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (tenancy, _server) = guards::connect().await?;
    for (slug, names) in [("acme", &["Ann", "Abu"][..]), ("globex", &["Bob"]), ("initech", &[])] {
        let created = tenancy.create_with(NewTenant::new(slug.parse()?), async |tenant| {
            for name in names {
                new_guard(name, "Gate").insert(tenant).await?;
            }
            Ok::<_, tenantry::Error>(())
        });
        created.await?;
    }

    // UPDATE "acme"."guards" …, UPDATE "globex"."guards" …, at most four at a time.
    let renamed = tenancy
        .for_each(4, async |tenant| {
            let update = guard::Entity::update_many().filter(guard::Column::Position.eq("Gate"));
            let update = update.col_expr(guard::Column::Position, Expr::value("Tower"));
            update.exec(&tenant).await.map(drop)
        })
        .await?;
    println!("{} tenants changed", renamed.succeeded);
    for failure in renamed.failures {
        println!("{}: {}", failure.slug, failure.error);
    }

    let staff = guard::Entity::find()
        .select_only()
        .column(guard::Column::Position)
        .column_as(guard::Column::Id.count(), "guards")
        .group_by(guard::Column::Position);
    let mut rows = tenancy.query_all::<Staff>(staff, 4);
    while let Some(row) = rows.next().await {
        match row {
            Ok(of) => println!("{}: {} × {}", of.slug, of.row.guards, of.row.position),
            Err(error) => println!("{error}"),
        }
    }
    drop(rows);
    tenancy.close().await;
    Ok(())
}
