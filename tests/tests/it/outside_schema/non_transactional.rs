//! Non-transactional migrations.

use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry_migrate::{Action, DynMigrator, run};

use super::{NO_LIMIT, city, database, migrator};
use crate::support::{catalog::texts, http_server::eventually};

/// The second migration is non-transactional.
fn alone(sql: &'static str) -> DynMigrator {
    let mut all = migrator(sql);
    all.migrations[1].alone = true;
    DynMigrator::tenant(all)
}

#[tokio::test]
async fn error_says_that_objects_outside_are_not_rolled_back() {
    let recorded = "SELECT version FROM city.seaql_migrations";
    for (sql, object) in [
        ("CREATE TABLE public.notes (id serial)", "table public.notes"),
        ("DO $$ BEGIN EXECUTE 'CREATE TABLE pub' || 'lic.notes ()'; END $$", "table public.notes"),
        ("CREATE TYPE shared.notes AS ENUM ('a')", "type shared.notes"),
        ("CREATE FUNCTION public.f() RETURNS int RETURN 1", "function public.f()"),
        ("CREATE SCHEMA other", "schema other"),
        ("SET search_path = shared; CREATE TABLE notes ()", "table shared.notes"),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON shared.kinds ((id + 1))", "index shared.i"),
    ] {
        let (_db, plain) = database().await;
        let up = run(&plain, &city(), &alone(sql), &Action::Up(None), NO_LIMIT).await;
        let error = up.unwrap_err().to_string();
        for word in [
            "m2_leaves",
            object,
            "not \
             rolled back",
            "not recorded",
        ] {
            assert!(error.contains(word), "{sql}: no {word:?} in {error}");
        }
        assert_eq!(texts(&plain, recorded).await, ["m1_reads"], "{sql}");
    }
    for sql in [
        "/* check: allow outside-schema because it is shared */ CREATE TABLE IF NOT EXISTS public.notes ()",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON things (id); CREATE TABLE more (id serial);
         CREATE TYPE mood AS ENUM ('a'); ALTER TABLE more ADD COLUMN mood mood",
        "DO $$ BEGIN CREATE TABLE more (kind int REFERENCES shared.kinds); END $$;
         GRANT USAGE ON SCHEMA shared TO PUBLIC; GRANT SELECT ON shared.kinds TO PUBLIC",
    ] {
        let (_db, plain) = database().await;
        let up = run(&plain, &city(), &alone(sql), &Action::Up(None), NO_LIMIT).await;
        up.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(texts(&plain, recorded).await, ["m1_reads", "m2_leaves"], "{sql}");
    }
}

#[tokio::test]
async fn objects_of_others_during_a_long_index_build_pass() {
    let (db, plain) = database().await;
    run(&plain, &city(), &alone("SELECT 1"), &Action::Up(Some(1)), NO_LIMIT).await.unwrap();
    // The build waits for this transaction.
    let open = db.plain().await.begin().await.unwrap();
    open.execute_unprepared("LOCK TABLE city.things IN ROW EXCLUSIVE MODE").await.unwrap();
    let index = alone("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON things (id)");
    let (target, action) = (city(), Action::Up(None));
    let build = run(&plain, &target, &index, &action, NO_LIMIT);
    let others = async {
        let other = db.plain().await;
        eventually("it waits", async || {
            let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                AND query LIKE 'CREATE INDEX CONC%' AND datname = current_database()";
            texts(&other, waits).await == ["1"]
        })
        .await;
        other
            .execute_unprepared("CREATE TABLE public.others (); CREATE SCHEMA others")
            .await
            .unwrap();
        open.rollback().await.unwrap();
    };
    let (built, ()) = tokio::join!(build, others);
    built.unwrap();
}
