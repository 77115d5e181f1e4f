//! A program that reacts to changes of tenants, whichever process makes them: it would send a
//! welcome, or remove the files of a tenant that was dropped.
//!
//! ```sh
//! cargo run --package tenantry --example events
//! ```

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

#[expect(dead_code, reason = "other examples use the guards")]
mod guards;

use std::error::Error;

use futures_util::TryStreamExt;
use tenantry::{Action, Actor, NewTenant, Slug, TenantUpdate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (tenancy, _server) = guards::connect().await?;
    let mut events = tenancy.events().await?;

    // Another process, for example a handler of a request by Ann.
    let acme: Slug = "acme".parse()?;
    let ann = tenancy.acting_as(Actor::new("ann@example.org"));
    ann.create(NewTenant::new(acme.clone())).await?;
    ann.update(&acme, TenantUpdate::new().name(Some("Acme, Ltd".parse()?))).await?;
    ann.drop(&acme).await?;

    // The stream does not end by itself.
    while let Some(event) = events.try_next().await? {
        let entry = event.entry;
        let Some(slug) = entry.slug else { continue };
        match entry.action {
            Action::Created => println!("welcome {slug}, created by {}", entry.actor),
            Action::Updated => println!("{slug} has changed: {:?}", entry.after),
            Action::Dropped => {
                println!("remove the files of {slug}");
                break;
            }
            // Also the actions of later versions.
            _ => {}
        }
        // A program that must not miss an event, also while it does not run, stores
        // `event.position` now, and begins with `tenancy.events_after(position)`.
    }
    tenancy.close().await;
    Ok(())
}
