//! Memberships of roles, which have options from PostgreSQL 16 on.

use sea_orm::ConnectionTrait;
use tenantry::{ExcessRight, Tenancy};
use tenantry_migrate::{
    drift::{VerifyTarget, verify},
    setup::{SetupOptions, apply},
};

use super::{Site, connect, create, migrator, refused, taking};
use crate::support::database::{admin, has_version, server};

const OPTIONS: &str = "a membership with options";

/// The rights of a role that is a member of the owner in this way.
async fn excess_rights(site: &mut Site, suffix: &str, options: &str) -> Vec<ExcessRight> {
    let role = site.add_role(suffix, "LOGIN").await;
    let [owner, app, ..] = &site.roles[..] else { unreachable!() };
    admin(&format!("GRANT {} TO {role}", app.0)).await;
    admin(&format!("GRANT {} TO {role} {options}", owner.0)).await;
    let config = tenantry::Config::new(site.url(&role), migration::Migrator);
    let tenancy = Tenancy::connect(&config.owner_url(site.owner_url())).await.unwrap();
    tenancy.serving_role().excess_rights()
}

/// It may change the tables after `SET ROLE`, which a statement of a tenant can contain.
#[tokio::test]
async fn a_serving_role_that_may_become_the_owner_is_named() {
    let mut site = Site::set_up().await;
    let role = site.add_role("aloof", "LOGIN NOINHERIT").await;
    let owner = site.roles[0].0.clone();
    let plain = site.db.plain().await;
    let direct = format!(
        "GRANT CONNECT ON DATABASE {} TO {role}; GRANT USAGE ON SCHEMA registry TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA registry TO {role}",
        site.db.name()
    );
    plain.execute_unprepared(&direct).await.unwrap();
    let config = tenantry::Config::new(site.url(&role), migration::Migrator);
    let config = config.owner_url(site.owner_url());
    let tenancy = Tenancy::connect(&config).await.unwrap();
    assert_eq!(tenancy.serving_role().excess_rights(), []);
    admin(&format!("GRANT {owner} TO {role}")).await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    assert_eq!(tenancy.serving_role().excess_rights(), [ExcessRight::Owner]);

    if !has_version(16, OPTIONS) {
        return;
    }
    for (suffix, options, rights) in [
        ("become", "WITH INHERIT FALSE, SET TRUE", vec![ExcessRight::Owner]),
        ("inherit", "WITH INHERIT TRUE, SET FALSE", vec![ExcessRight::Owner]),
        ("admin", "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", vec![ExcessRight::Owner]),
        ("nothing", "WITH INHERIT FALSE, SET FALSE", vec![]),
    ] {
        assert_eq!(excess_rights(&mut site, suffix, options).await, rights, "{options}");
    }
}

/// From PostgreSQL 16 on, `REVOKE` takes only the membership that the current role has granted.
#[tokio::test]
async fn the_setup_revokes_the_owner_that_another_role_has_granted_to_the_application() {
    let mut site = Site::new().await;
    let boss = site.add_role("boss", "LOGIN CREATEROLE").await;
    let [owner, app, ..] = &site.roles[..] else { unreachable!() };
    admin(&format!("CREATE ROLE {}", owner.0)).await;
    admin(&format!("CREATE ROLE {} LOGIN", app.0)).await;
    admin(&format!("GRANT {} TO {boss} WITH ADMIN OPTION", owner.0)).await;
    let grant = format!("GRANT {} TO {}", owner.0, app.0);
    connect(&site.url(&boss)).await.execute_unprepared(&grant).await.unwrap();
    site.apply(&taking()).await.unwrap();
    let become_owner = format!("SET ROLE {}", owner.0);
    assert_eq!(refused(&site.app().await, &become_owner).await, "42501");
}

/// An administrator that may act for the owner but not become it: verify compares with the default
/// privileges of its own, and setup gives it the right.
#[tokio::test]
async fn an_administrator_that_may_not_become_the_owner_verifies_and_sets_up() {
    if !has_version(16, OPTIONS) {
        return;
    }
    let mut site = Site::set_up().await;
    create(&site.with_owner().await, "tenant-1").await.unwrap();
    let boss = site.add_role("boss", "LOGIN CREATEROLE").await;
    let [owner, app, ..] = &site.roles[..] else { unreachable!() };
    let (owner, app) = (owner.0.clone(), app.0.clone());
    admin(&format!("GRANT {owner} TO {boss} WITH ADMIN TRUE, INHERIT TRUE, SET FALSE")).await;
    admin(&format!("GRANT {app} TO {boss} WITH ADMIN TRUE")).await;
    let db = connect(&site.url(&boss)).await;
    assert_eq!(refused(&db, &format!("SET ROLE {owner}")).await, "42501");
    // The reference is the administrator's, without the grants of the owner's defaults.
    verify(&db, &migrator(), &VerifyTarget::All).await.unwrap();
    let mut steps = Vec::new();
    let options = SetupOptions::default();
    apply(&db, &migrator(), &options, |step| steps.push(format!("{step:?}"))).await.unwrap();
    assert!(steps.concat().contains("GRANT"), "{steps:?} on {}", server().version());
    db.execute_unprepared(&format!("SET ROLE {owner}; RESET ROLE")).await.unwrap();
    assert!(verify(&db, &migrator(), &VerifyTarget::All).await.unwrap().is_clean());
}
