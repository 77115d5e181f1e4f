//! The session that explains schema-per-tenant: a tenant gets its schema, a guard is stored in it,
//! read and changed, and another tenant does not see it.
//!
//! ```sh
//! cargo run --package tenantry --example console
//! ```

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

mod guards;

use std::error::Error;

use guards::{guard, new_guard};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, ModelTrait, Set, TransactionTrait};
use tenantry::NewTenant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (tenancy, _server) = guards::connect().await?;

    // CREATE SCHEMA "tenant_1", its tables and its row in the registry, in one transaction.
    let info = tenancy.create(NewTenant::new("tenant-1".parse()?)).await?;
    println!("created {} with the schema {}", info.slug, info.schema);
    tenancy.create(NewTenant::new("tenant-2".parse()?)).await?;

    // The tenant is chosen when the program runs; the entity is the same for all.
    let one = tenancy.tenant(&"tenant-1".parse()?).await?;
    let two = tenancy.tenant(&"tenant-2".parse()?).await?;

    // INSERT INTO "tenant_1"."guards" …
    let abu = new_guard("Abu", "Guard").insert(&one).await?;
    println!("stored {abu:?}");
    println!("tenant-1 has {:?}", guard::Entity::find().all(&one).await?);
    println!("tenant-2 has {:?}", guard::Entity::find().all(&two).await?);

    // UPDATE "tenant_1"."guards" …, in a transaction.
    let txn = one.begin().await?;
    let mut changed = abu.into_active_model();
    changed.position = Set("Boss".to_owned());
    let abu = changed.update(&txn).await?;
    txn.commit().await?;
    println!("changed {abu:?}");

    abu.delete(&one).await?;
    println!("tenant-1 has {:?}", guard::Entity::find().all(&one).await?);

    // The schema with all its tables. A handle that is left is refused.
    tenancy.drop(one.slug()).await?;
    let refused = guard::Entity::find().all(&one).await;
    println!("dropped: {:?}", refused.map_err(tenantry::Error::from).map_err(|it| it.to_string()));
    tenancy.close().await;
    Ok(())
}
