//! Suspending, archiving, restoring and purging tenants.

use std::time::Duration;

use entity::guard;
use futures_util::{StreamExt, future::join_all};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, StreamTrait, TransactionTrait,
};
use tenantry::{
    Availability, DEFAULT_GRACE, Error, InvalidTransition, NewTenant, Reason, Tenancy, Tenant,
    TenantInfo, TenantUnavailable,
};

use crate::support::{
    TestDb, abu,
    catalog::{schemas, texts},
    http_server::eventually,
    slug,
};

/// A grace that ends at once.
const NONE: Duration = Duration::ZERO;

const TRANSITIONS: [&str; 5] = ["suspend", "resume", "archive", "restore", "purge"];

fn reason(text: &str) -> Option<Reason> {
    Some(text.parse().unwrap())
}

/// Makes a transition and returns the new status.
async fn make(tenancy: &Tenancy, transition: &str) -> Result<&'static str, Error> {
    let slug = slug("acme");
    let record = match transition {
        "suspend" => tenancy.suspend(&slug, None).await?,
        "resume" => tenancy.resume(&slug).await?,
        "archive" => tenancy.archive(&slug, Some(NONE)).await?,
        "restore" => tenancy.restore(&slug).await?,
        _ => return tenancy.purge(&slug, false).await.map(|()| "dropped"),
    };
    Ok(record.status)
}

/// Creates a tenant of this status.
async fn acme(tenancy: &Tenancy, status: &str) {
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    let transition = match status {
        "suspended" => "suspend",
        "archived" => "archive",
        _ => return,
    };
    assert_eq!(make(tenancy, transition).await.unwrap(), status);
}

async fn show(tenancy: &Tenancy) -> TenantInfo {
    tenancy.get(&slug("acme")).await.unwrap().unwrap()
}

fn refusal(error: Error) -> InvalidTransition {
    match error {
        Error::InvalidTransition(refused) => refused,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_status_allows_some_transitions_and_refuses_the_others_with_those_that_are_possible() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    for (status, outcomes, possible) in [
        (
            "active",
            [Some("suspended"), Some("active"), Some("archived"), Some("active"), None],
            "suspended, archived or dropped",
        ),
        (
            "suspended",
            [Some("suspended"), Some("active"), Some("archived"), Some("suspended"), None],
            "resumed, archived or dropped",
        ),
        (
            "archived",
            [None, None, Some("archived"), Some("active"), Some("dropped")],
            "restored or purged",
        ),
    ] {
        for (transition, outcome) in TRANSITIONS.into_iter().zip(outcomes) {
            acme(&tenancy, status).await;
            match (make(&tenancy, transition).await, outcome) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{status} {transition}"),
                (Err(error), None) => {
                    let text = error.to_string();
                    let refused = refusal(error);
                    assert_eq!((refused.status, refused.refused.as_str()), (status, transition));
                    let begin = format!("tenant acme is {status} and cannot be {transition}");
                    assert!(text.starts_with(&begin[..begin.len() - 1]), "{text}");
                    assert!(text.ends_with(&format!("; it can be {possible}")), "{text}");
                    assert_eq!(show(&tenancy).await.status, status);
                }
                (other, expected) => panic!("{status} {transition}: {other:?} {expected:?}"),
            }
            match tenancy.purge(&slug("acme"), true).await {
                Err(Error::InvalidTransition(_)) => tenancy.drop(&slug("acme")).await.unwrap(),
                Ok(()) | Err(Error::UnknownTenant(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    for transition in TRANSITIONS {
        let error = make(&tenancy, transition).await.unwrap_err();
        assert!(matches!(error, Error::UnknownTenant(_)), "{transition}: {error}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_being_dropped_can_only_be_dropped() {
    let db = TestDb::new().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    let plain = db.plain().await;
    let dropping = "UPDATE registry.tenants SET status = 'dropping'";
    plain.execute_unprepared(dropping).await.unwrap();
    for transition in ["suspend", "resume", "archive", "restore"] {
        let error = make(&tenancy, transition).await.unwrap_err();
        assert!(error.to_string().ends_with("; it can be dropped"), "{error}");
        assert_eq!(refusal(error).status, "dropping");
    }
    // It was not archived before, so no purge was interrupted.
    assert_eq!(tenancy.expired().await.unwrap(), []);
    tenancy.drop(tenant.slug()).await.unwrap();
}

#[tokio::test]
async fn the_reason_and_the_time_are_those_of_the_last_transition() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    acme(&tenancy, "active").await;
    let created = show(&tenancy).await;
    assert_eq!(
        (created.status_reason, created.status_since, created.purge_after),
        (None, None, None)
    );
    let acme = slug("acme");
    let suspended = tenancy.suspend(&acme, reason("invoice 4711")).await.unwrap();
    assert_eq!(suspended, show(&tenancy).await);
    assert_eq!(suspended.status_reason.as_deref(), Some("invoice 4711"));
    assert!(suspended.status_since.unwrap() >= created.updated_at);

    // A repeated request changes nothing; another reason replaces the first one.
    assert_eq!(tenancy.suspend(&acme, None).await.unwrap(), suspended);
    assert_eq!(tenancy.suspend(&acme, reason("invoice 4711")).await.unwrap(), suspended);
    let other = tenancy.suspend(&acme, reason("invoice 4712")).await.unwrap();
    assert_eq!(other.status_reason.as_deref(), Some("invoice 4712"));
    assert_eq!(other.status_since, suspended.status_since);

    // A suspended tenant is restored as a suspended one.
    let archived = tenancy.archive(&acme, None).await.unwrap();
    assert_eq!(
        (archived.status, archived.status_reason.as_deref()),
        ("archived", Some("invoice 4712"))
    );
    assert_eq!(archived.purge_after, archived.status_since.map(|since| since + DEFAULT_GRACE));
    let restored = tenancy.restore(&acme).await.unwrap();
    assert_eq!((restored.status, restored.purge_after), ("suspended", None));
    assert_eq!(restored.status_reason.as_deref(), Some("invoice 4712"));
    assert_eq!(tenancy.restore(&acme).await.unwrap(), restored);

    let resumed = tenancy.resume(&acme).await.unwrap();
    assert_eq!((resumed.status, resumed.status_reason.as_deref()), ("active", None));
    assert_eq!(tenancy.resume(&acme).await.unwrap(), resumed);
    tenancy.archive(&acme, Some(DEFAULT_GRACE)).await.unwrap();
    assert_eq!(tenancy.restore(&acme).await.unwrap().status, "active");
}

#[tokio::test]
async fn the_data_of_an_archived_tenant_is_kept_until_its_grace_ends() {
    let db = TestDb::new().await;
    let (tenancy, [tenant, _other]) = db.with_tenants(["acme", "other"]).await;
    abu().insert(&tenant).await.unwrap();
    let acme = slug("acme");
    let archived = tenancy.archive(&acme, Some(DEFAULT_GRACE)).await.unwrap();
    let end = archived.purge_after.unwrap();
    for refused in [
        tenancy.purge(&acme, false).await,
        tenancy.purge_cascade(&acme, false).await,
        tenancy.drop(&acme).await,
        tenancy.drop_cascade(&acme).await,
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, Error::GraceNotOver { purge_after, .. } if *purge_after == Some(end))
        );
        let text = error.to_string();
        let day = end.format("%Y-%m-%d").to_string();
        assert!(text.contains(&day) && text.contains("restore it"), "{text}");
    }
    assert_eq!(tenancy.expired().await.unwrap(), []);
    assert_eq!(show(&tenancy).await, archived);

    // The grace counts from when the tenant was archived. Without one it stays.
    assert_eq!(tenancy.archive(&acme, Some(DEFAULT_GRACE)).await.unwrap(), archived);
    let longer = tenancy.archive(&acme, Some(2 * DEFAULT_GRACE)).await.unwrap();
    assert_eq!(longer.purge_after, archived.status_since.map(|since| since + 2 * DEFAULT_GRACE));
    assert_eq!(tenancy.archive(&acme, None).await.unwrap(), longer);
    let shorter = tenancy.archive(&acme, Some(NONE)).await.unwrap();
    assert_eq!(tenancy.archive(&acme, None).await.unwrap(), shorter);
    assert_eq!(shorter.purge_after, archived.status_since);
    let expired = tenancy.expired().await.unwrap();
    assert_eq!(expired, [shorter]);
    // Not by itself.
    tenancy.restore(&acme).await.unwrap();
    assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 1);

    tenancy.archive(&acme, Some(NONE)).await.unwrap();
    tenancy.purge(&acme, false).await.unwrap();
    assert_eq!(tenancy.get(&acme).await.unwrap(), None);
    assert_eq!(schemas(&db.plain().await).await, ["other", "public", "registry"]);
    // The longest grace is 100 years.
    let other = tenancy.archive(&slug("other"), Some(Duration::MAX)).await.unwrap();
    assert!(other.purge_after.unwrap() > other.status_since.unwrap() + 99 * 12 * DEFAULT_GRACE);
    tenancy.purge(&slug("other"), true).await.unwrap();
    let rows = "SELECT slug || status || coalesce(status_reason, '') || (purge_after IS NULL)
                FROM registry.tenants ORDER BY 1";
    let plain = db.plain().await;
    assert_eq!(texts(&plain, rows).await, ["acmedroppedtrue", "otherdroppedtrue"]);
}

#[tokio::test]
async fn an_archived_tenant_without_an_end_of_its_grace_is_kept() {
    let db = TestDb::new().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    let (acme, plain) = (tenant.slug(), db.plain().await);
    tenancy.archive(acme, Some(NONE)).await.unwrap();
    plain.execute_unprepared("UPDATE registry.tenants SET purge_after = NULL").await.unwrap();
    for refused in [tenancy.drop(acme).await, tenancy.purge(acme, false).await] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::GraceNotOver { purge_after: None, .. }), "{error}");
        assert!(error.to_string().contains("archive it again with a grace"), "{error}");
    }
    assert_eq!(tenancy.expired().await.unwrap(), []);
    // The status of before is one that a tenant can be given back.
    let before = "UPDATE registry.tenants SET status_before = 'dropping'";
    let error = plain.execute_unprepared(before).await.unwrap_err();
    assert!(error.to_string().contains("tenants_status_before_check"), "{error}");
    tenancy.archive(acme, Some(NONE)).await.unwrap();
    tenancy.purge(acme, false).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
}

#[tokio::test]
async fn an_interrupted_purge_is_among_the_expired_ones_and_is_continued() {
    let db = TestDb::new().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    tenancy.archive(tenant.slug(), Some(NONE)).await.unwrap();
    let plain = db.plain().await;
    let reader = plain.begin().await.unwrap();
    reader.execute_unprepared("LOCK TABLE acme.guards IN ACCESS SHARE MODE").await.unwrap();
    let error = tenancy.purge(tenant.slug(), false).await.unwrap_err();
    assert!(matches!(error, Error::DropBlocked { .. }), "{error}");
    reader.rollback().await.unwrap();
    let expired = tenancy.expired().await.unwrap();
    assert_eq!((expired.len(), expired[0].status), (1, "dropping"));
    tenancy.purge(&expired[0].slug, false).await.unwrap();
    assert_eq!(tenancy.expired().await.unwrap(), []);
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
}

async fn refused(tenant: &impl ConnectionTrait) -> Option<Availability> {
    let error = guard::Entity::find().count(tenant).await.err()?;
    Some(TenantUnavailable::find(&error).unwrap_or_else(|| panic!("{error}")).availability)
}

#[tokio::test]
async fn handles_and_transactions_stop_at_their_next_statement_in_every_process() {
    let db = TestDb::new().await;
    let (here, [tenant]) = db.with_tenants(["acme"]).await;
    let there = db.tenancy().await;
    let remote = there.tenant(tenant.slug()).await.unwrap();
    for (transition, availability) in
        [("suspend", Availability::Suspended), ("archive", Availability::Archived)]
    {
        let [mine, other] = [&tenant, &remote].map(Tenant::begin);
        let (mine, other) = (mine.await.unwrap(), other.await.unwrap());
        assert_eq!((refused(&mine).await, refused(&other).await), (None, None));
        make(&here, transition).await.unwrap();
        // In the process that made the change when it returns, without a notification.
        assert_eq!(refused(&tenant).await, Some(availability));
        assert_eq!(refused(&mine).await, Some(availability));
        eventually("the other process knows", async || refused(&remote).await.is_some()).await;
        assert_eq!(refused(&other).await, Some(availability));
        assert!(remote.begin().await.is_err());
        assert!(remote.execute_unprepared("SELECT 1").await.is_err());
        let select = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, "SELECT 1");
        assert!(remote.stream_raw(select).await.is_err());
        assert!(there.tenant(tenant.slug()).await.is_err());
        assert_eq!(there.tenants().count().await, 0);
        drop((mine, other));
        let back = if transition == "suspend" { "resume" } else { "restore" };
        make(&there, back).await.unwrap();
        assert_eq!(refused(&remote).await, None);
        eventually("this process knows", async || refused(&tenant).await.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_transitions_are_made_one_after_another() {
    let db = TestDb::new().await;
    let tenancies = [db.tenancy().await, db.tenancy().await];
    acme(&tenancies[0], "active").await;
    let work = (0..40).map(|number| {
        let tenancy = tenancies[number % 2].clone();
        let transition = ["suspend", "resume", "archive", "restore"][number % 4];
        tokio::spawn(async move { make(&tenancy, transition).await })
    });
    for outcome in join_all(work).await {
        match outcome.unwrap() {
            Ok(_) | Err(Error::InvalidTransition(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    // The columns fit the status.
    let found = show(&tenancies[0]).await;
    assert_eq!(found.purge_after.is_some(), found.status == "archived", "{found:?}");
    let before =
        "SELECT (status_before IS NULL OR status = 'archived')::text FROM registry.tenants";
    assert_eq!(texts(&db.plain().await, before).await, ["true"]);
}

#[tokio::test]
async fn a_transition_waits_for_a_migration_of_the_tenant_and_gives_up_after_a_while() {
    let db = TestDb::new().await;
    let (tenancy, [tenant]) = db.with_tenants(["acme"]).await;
    let plain = db.plain().await;
    let migrating = plain.begin().await.unwrap();
    let lock = "SELECT 1 FROM registry.tenants WHERE slug = 'acme' FOR NO KEY UPDATE";
    migrating.execute_unprepared(lock).await.unwrap();
    let error = tenancy.suspend(tenant.slug(), None).await.unwrap_err();
    assert!(matches!(error, Error::BeingMigrated(_)), "{error}");
    let waiting = tenancy.suspend(tenant.slug(), None);
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        migrating.rollback().await.unwrap();
    };
    let (suspended, ()) = tokio::join!(waiting, release);
    assert_eq!(suspended.unwrap().status, "suspended");
}
