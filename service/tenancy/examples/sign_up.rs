//! Sign-up: the tenant, its plan and its first guard are created in one transaction. If anything
//! fails, there is no tenant.
//!
//! ```sh
//! cargo run --package tenantry --example sign_up
//! ```

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

mod guards;

use guards::{guard, new_guard};
use sea_orm::{ActiveModelTrait, EntityTrait};
use serde::{Deserialize, Serialize};
use tenantry::{Error, Metadata, NewTenant, Tenancy, TenantInfo};

/// What a visitor enters.
struct SignUp {
    company: String,
    slug: String,
    owner: String,
    plan: Plan,
}

/// The application's part of the tenant's metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    plan: String,
    seats: u32,
}

async fn sign_up(tenancy: &Tenancy, form: SignUp) -> Result<TenantInfo, Error> {
    let mut new = NewTenant::new(form.slug.parse()?);
    new.name = Some(form.company.parse()?);
    new.metadata = Metadata::new(&form.plan)?;
    let owner = new_guard(&form.owner, "Owner");
    let created = tenancy.create_with(new, async move |tenant| {
        // INSERT INTO "acme"."guards" …, in the transaction that creates the schema.
        Ok::<_, Error>(owner.insert(tenant).await?)
    });
    let (info, owner) = created.await?;
    println!("{} has its owner {}", info.slug, owner.name);
    Ok(info)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tenancy, _server) = guards::connect().await?;
    let form = SignUp {
        company: "Acme Ltd".to_owned(),
        slug: "acme".to_owned(),
        owner: "Ann".to_owned(),
        plan: Plan { plan: "gold".to_owned(), seats: 5 },
    };
    let info = sign_up(&tenancy, form).await?;
    println!("{} pays for {:?}", info.slug, info.metadata::<Plan>()?);

    // If the first step fails, nothing is left.
    let new = NewTenant::new("globex".parse()?);
    let failed = tenancy.create_with(new, async |tenant| {
        new_guard("Bob", "Owner").insert(tenant).await.map_err(Error::from)?;
        Err::<(), Box<dyn std::error::Error>>("the card was declined".into())
    });
    if let Err(error) = failed.await {
        println!("globex was not created: {error}");
    }
    println!("globex: {:?}", tenancy.get(&"globex".parse()?).await?);

    let acme = tenancy.tenant(&info.slug).await?;
    println!("guards of acme: {:?}", guard::Entity::find().all(&acme).await?);
    tenancy.close().await;
    Ok(())
}
