//! The stream of changes.

use std::{sync::atomic::AtomicBool, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::BoxStream};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{
    Action, Error, Event, EventPosition, NewTenant, RenameOptions, Tenancy, TenantUpdate,
};
use tenantry_migrate::{
    Action as MigrationAction, DynMigrator, FleetOptions, TenantSelection, run_fleet,
};
use tokio::{sync::oneshot, time::timeout};

use crate::support::{TestDb, catalog::texts, slug};

type Events = BoxStream<'static, Result<Event, Error>>;

async fn next(events: &mut Events) -> Event {
    let next = timeout(Duration::from_secs(20), events.next()).await;
    next.unwrap().unwrap().unwrap()
}

/// `action slug` of the next events.
async fn said<const N: usize>(events: &mut Events) -> [String; N] {
    let mut said = Vec::new();
    for _ in 0..N {
        let entry = next(events).await.entry;
        said.push(format!("{} {}", entry.action, entry.slug.unwrap()));
    }
    said.try_into().unwrap()
}

/// Nothing more comes within a moment.
async fn assert_calm(events: &mut Events) {
    let next = timeout(Duration::from_millis(300), events.next()).await;
    assert!(next.is_err(), "{next:?}");
}

async fn create(tenancy: &Tenancy, name: &str) {
    tenancy.create(NewTenant::new(slug(name))).await.unwrap();
}

/// Starts to create a tenant, and commits on request.
async fn create_slowly(
    tenancy: &Tenancy,
    name: &str,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let ((started, is_started), (commit, may_commit)) = (oneshot::channel(), oneshot::channel());
    let (tenancy, new) = (tenancy.clone(), NewTenant::new(slug(name)));
    let creation = tokio::spawn(async move {
        let created = tenancy.create_with(new, async move |_| {
            started.send(()).unwrap();
            may_commit.await.unwrap();
            Ok::<_, Error>(())
        });
        created.await.unwrap();
    });
    is_started.await.unwrap();
    (commit, creation)
}

#[tokio::test]
async fn changes_of_all_processes_reach_every_stream_after_their_commit() {
    let db = TestDb::new().await;
    let (here, there) = (db.tenancy().await, db.tenancy().await);
    create(&here, "before").await;
    let mut streams = [here.events().await.unwrap(), here.events().await.unwrap()];
    let (commit, creation) = create_slowly(&there, "slow").await;
    create(&there, "quick").await;
    for events in &mut streams {
        assert_eq!(said(events).await, ["created quick"]);
        assert_calm(events).await;
    }
    commit.send(()).unwrap();
    creation.await.unwrap();
    let name = TenantUpdate::new().name(Some("Quick".parse().unwrap()));
    there.update(&slug("quick"), name).await.unwrap();
    here.drop(&slug("quick")).await.unwrap();
    let expected = ["created slow", "updated quick", "dropping quick", "dropped quick"];
    for events in &mut streams {
        assert_eq!(said(events).await, expected);
        assert_calm(events).await;
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_off_delivers_everything_once() {
    let db = TestDb::new().await;
    let (here, there) = (db.tenancy().await, db.tenancy().await);
    let plain = db.plain().await;
    let mut events = here.events().await.unwrap();
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut expected = Vec::new();
    for round in 0..4 {
        let (commit, creation) = create_slowly(&there, &format!("slow-{round}")).await;
        let listeners = format!("{terminate} AND query ~ 'LISTEN'");
        plain.execute_unprepared(&listeners).await.unwrap();
        create(&there, &format!("quick-{round}")).await;
        commit.send(()).unwrap();
        creation.await.unwrap();
        expected.extend([format!("created quick-{round}"), format!("created slow-{round}")]);
    }
    let mut found = Vec::from(said::<8>(&mut events).await);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    // All connections of the stream's process, while it waits.
    let waiting = tokio::spawn(async move {
        let said = said::<1>(&mut events).await;
        (said, events)
    });
    plain.execute_unprepared(terminate).await.ok();
    // The other process may notice only now that its connections are gone.
    while there.create(NewTenant::new(slug("late"))).await.is_err() {}
    let (said, mut events) = waiting.await.unwrap();
    assert_eq!(said, ["created late"]);
    assert_calm(&mut events).await;
}

#[tokio::test]
async fn a_stored_position_continues_with_entries_that_were_committed_late() {
    let db = TestDb::new().await;
    let (here, there) = (db.tenancy().await, db.tenancy().await);
    let mut events = here.events().await.unwrap();
    let (commit, creation) = create_slowly(&there, "slow").await;
    create(&there, "quick-1").await;
    create(&there, "quick-2").await;
    let first = next(&mut events).await;
    assert_eq!(first.entry.slug, Some(slug("quick-1")));
    let json = serde_json::to_string(&first.position).unwrap();
    drop(events);
    commit.send(()).unwrap();
    creation.await.unwrap();
    // In another process.
    let position: EventPosition = serde_json::from_str(&json).unwrap();
    let mut events = there.events_after(position.clone());
    assert_eq!(said(&mut events).await, ["created quick-2", "created slow"]);
    assert_calm(&mut events).await;
    let mut again = here.events_after(position);
    assert_eq!(said(&mut again).await, ["created quick-2", "created slow"]);
}

async fn insert(db: &DatabaseConnection, number: u32, columns: &str, values: &str) {
    let sql = format!(
        "INSERT INTO registry.audit (id, actor, action{columns})
         SELECT gen_random_uuid(), 'test', 'n' || n{values} FROM generate_series(1, {number}) n;
         SELECT pg_notify('tenantry_tenants', 'audit')"
    );
    db.execute_unprepared(&sql).await.unwrap();
}

#[tokio::test]
async fn many_entries_are_read_a_page_at_a_time_and_come_once() {
    let db = TestDb::new().await;
    let (tenancy, plain) = (db.tenancy().await, db.plain().await);
    let mut events = tenancy.events().await.unwrap();
    insert(&plain, 1000, "", "").await;
    join_all((0..3).map(|_| insert(&plain, 100, "", ""))).await;
    let mut ids = Vec::new();
    for _ in 0..1300 {
        ids.push(next(&mut events).await.entry.id);
    }
    assert_calm(&mut events).await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1300);
    let reads = db.statements().iter().filter(|sql| sql.contains("pg_visible_in_snapshot")).count();
    assert!(reads >= 1300 / 200, "{reads}");
}

#[tokio::test]
async fn an_entry_without_a_notification_comes_within_half_a_minute() {
    let db = TestDb::new().await;
    let (tenancy, plain) = (db.tenancy().await, db.plain().await);
    let mut events = tenancy.events().await.unwrap();
    assert_calm(&mut events).await;
    let insert =
        "INSERT INTO registry.audit (id, actor, action) SELECT gen_random_uuid(), 'a', 'b'";
    plain.execute_unprepared(insert).await.unwrap();
    let found = timeout(Duration::from_secs(40), events.next()).await.unwrap();
    assert_eq!(found.unwrap().unwrap().entry.actor, "a");
}

#[tokio::test]
async fn migrations_suspensions_and_renamings_come_in_their_order() {
    let db = TestDb::new().await;
    let (here, there) = (db.tenancy().await, db.tenancy().await);
    create(&here, "one").await;
    let migrator = DynMigrator::new(migration::Migrator);
    let mut events = here.events().await.unwrap();
    there.suspend(&slug("one"), None).await.unwrap();
    there.rename(&slug("one"), &slug("two"), RenameOptions::default()).await.unwrap();
    let (all, options) = (TenantSelection::All, FleetOptions::default());
    let (plain, stop) = (db.plain().await, AtomicBool::new(false));
    for action in [MigrationAction::Down(1), MigrationAction::Up(None)] {
        run_fleet(&plain, &migrator, &all, &action, &options, &stop, |_| {}).await.unwrap();
    }
    let expected = ["suspended one", "renamed two", "migrated two", "migrated two"];
    assert_eq!(said(&mut events).await, expected);
    assert_calm(&mut events).await;
}

#[tokio::test]
async fn an_unknown_action_is_passed_on() {
    let db = TestDb::new().await;
    let (tenancy, plain) = (db.tenancy().await, db.plain().await);
    let mut events = tenancy.events().await.unwrap();
    insert(&plain, 1, "", "").await;
    let entry = next(&mut events).await.entry;
    assert_eq!(entry.action, Action::Other("n1".to_owned()));
}

#[tokio::test]
async fn a_server_with_other_numbers_of_transactions_loses_nothing_and_repeats_nothing_old() {
    let db = TestDb::new().await;
    let (tenancy, plain) = (db.tenancy().await, db.plain().await);
    // Rows of a dump, whose transactions have the numbers of the server that it comes from.
    insert(&plain, 3, ", xact, at", ", '9000000000'::xid8, now() - interval '30 days'").await;
    let now = &texts(&plain, "SELECT to_json(clock_timestamp()) #>> '{}'").await[0];
    for snapshot in ["900000000:900000000:", "3:3:"] {
        let json = format!(r#"{{"done":{{"snapshot":"{snapshot}","at":"{now}"}},"partly":null}}"#);
        let position: EventPosition = serde_json::from_str(&json).unwrap();
        let mut events = tenancy.events_after(position);
        let name = format!("tenant-{}", &snapshot[..1]);
        create(&tenancy, &name).await;
        while said::<1>(&mut events).await != [format!("created {name}")] {}
        assert_calm(&mut events).await;
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_tenancy_is_closed() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let mut events = tenancy.events().await.unwrap();
    let waiting = tokio::spawn(async move { events.next().await.is_none() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    tenancy.close().await;
    assert!(timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap());
}
