//! Transactions in raw SQL.

use std::time::Duration;

use entity::guard;
use futures_util::FutureExt;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, StreamTrait, TransactionTrait,
};
use tenantry::{Error, Misuse};
use tokio::time::timeout;

use super::{DbErr, Shared, named, pid, postgres, text};
use crate::support::http_server::eventually;

const TEXTS: [&str; 26] = [
    "BEGIN; SELECT 1/0",
    "BEGIN; SELECT 1",
    "begin isolation level serializable",
    "START TRANSACTION READ ONLY",
    "start /* a */ transaction",
    "SELECT 1; COMMIT",
    "COMMIT AND CHAIN",
    "END",
    "End Transaction",
    "ROLLBACK",
    "rollback and chain",
    "ROLLBACK TO SAVEPOINT tenantry_1",
    "ABORT",
    "SAVEPOINT mine",
    "RELEASE SAVEPOINT mine",
    "RELEASE mine",
    "PREPARE TRANSACTION 'mine'",
    "COMMIT PREPARED 'mine'",
    "ROLLBACK PREPARED 'mine'",
    "-- a comment\n/* another /* nested */ */ BEGIN",
    ";;\t BEGIN",
    "SELECT 'a\\'; BEGIN; --'",
    "SELECT E'\\''; BEGIN",
    "SELECT $$;$$ ; BEGIN",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; BEGIN",
    "SET work_mem = '1MB'; (SELECT 1); BEGIN",
];

#[track_caller]
fn assert_refused(sql: &str, result: Result<(), DbErr>) {
    let Err(error) = result else { panic!("{sql} was sent") };
    let misuse = Misuse::find(&error);
    assert!(matches!(misuse, Some(Misuse::TransactionControl { .. })), "{sql}: {error}");
    assert!(error.to_string().contains("begin()"), "{error}");
    assert!(matches!(Error::from(error), Error::Misuse(_)));
}

/// By every method that sends SQL.
async fn send_somehow<C>(db: &C, sql: &str)
where
    C: ConnectionTrait + StreamTrait,
{
    assert_refused(sql, db.execute_unprepared(sql).await.map(drop));
    assert_refused(sql, db.execute_raw(postgres(sql)).await.map(drop));
    assert_refused(sql, db.query_one_raw(postgres(sql)).await.map(drop));
    assert_refused(sql, db.query_all_raw(postgres(sql)).await.map(drop));
    assert_refused(sql, db.stream_raw(postgres(sql)).await.map(drop));
}

#[tokio::test]
async fn transaction_control_in_raw_sql_is_refused_before_it_is_sent() {
    let it = Shared::new().await;
    let before = pid(&it.one).await;
    for sql in TEXTS {
        send_somehow(&it.one, sql).await;
    }
    assert_eq!(pid(&it.two).await, before);
    named("Yan").insert(&it.two).await.unwrap();
    assert_eq!(it.guards_of_two().await, "Xia Yan");
    let sent = it.db.statements();
    assert!(sent.iter().all(|sql| !sql.contains("mine")), "{sent:?}");
}

#[tokio::test]
async fn in_a_transaction_it_is_refused_too_and_the_transaction_goes_on() {
    let it = Shared::new().await;
    let txn = it.two.begin().await.unwrap();
    named("Yan").insert(&txn).await.unwrap();
    for sql in TEXTS {
        send_somehow(&txn, sql).await;
    }
    let savepoint = txn.begin().await.unwrap();
    send_somehow(&savepoint, "COMMIT").await;
    named("Zoe").insert(&savepoint).await.unwrap();
    savepoint.commit().await.unwrap();
    assert_eq!(it.guards_of_two().await, "Xia", "it has been committed already");
    txn.commit().await.unwrap();
    assert_eq!(it.guards_of_two().await, "Xia Yan Zoe");
}

#[tokio::test]
async fn keywords_of_transactions_elsewhere_are_allowed() {
    let it = Shared::new().await;
    for sql in [
        "SELECT 'BEGIN; COMMIT' AS begin, $$; ROLLBACK;$$ AS \"end\" -- ; BEGIN",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CREATE FUNCTION \"@tenant\".f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
        "CREATE PROCEDURE \"@tenant\".p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$",
        "CALL \"@tenant\".p()",
        "SET TRANSACTION READ WRITE",
    ] {
        it.one.execute_unprepared(sql).await.unwrap();
    }
    named("Yan").insert(&it.two).await.unwrap();
    assert_eq!(it.guards_of_two().await, "Xia Yan");
}

#[tokio::test]
async fn a_batch_that_fails_halfway_leaves_no_transaction() {
    let it = Shared::new().await;
    for sql in [
        "INSERT INTO \"@tenant\".guards SELECT * FROM \"@tenant\".guards; SELECT 1",
        "SELECT 1; SELECT 1 / 0; SELECT 2",
        "SET work_mem = '1MB'; SELECT 1 / 0",
        "DO $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        "SELECT 1; SELEC",
    ] {
        it.one.execute_unprepared(sql).await.unwrap_err();
        named("Yan").insert(&it.two).await.unwrap();
        assert_eq!(it.guards_of_two().await, "Xia Yan", "after {sql}");
        guard::Entity::delete_many().exec(&it.two).await.unwrap();
        named("Xia").insert(&it.two).await.unwrap();
    }
}

/// A transaction whose `BEGIN` was sent and whose caller does not wait for the answer.
#[tokio::test]
async fn a_cancelled_begin_affects_no_other_statement() {
    let it = Shared::new().await;
    for patience in 0..40 {
        let begin = it.one.begin();
        if patience < 4 {
            // Polled this often, unless the answer arrives before.
            let mut begin = Box::pin(begin);
            for _ in 0..patience {
                if (&mut begin).now_or_never().is_some() {
                    break;
                }
            }
        } else {
            let _ = timeout(Duration::from_micros(patience * 10), begin).await;
        }
        let name = format!("Guard {patience}");
        named(&name).insert(&it.two).await.unwrap();
        let found = format!("SELECT name FROM tenant_2.guards WHERE name = '{name}'");
        assert_eq!(text(&it.plain, &found).await.unwrap(), Some(name), "not committed");
    }
    eventually("no session is in a transaction", async || {
        let open = "SELECT string_agg(query, '; ') FROM pg_stat_activity \
                    WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
        text(&it.plain, open).await.unwrap().is_none()
    })
    .await;
    assert_eq!(guard::Entity::find().count(&it.two).await.unwrap(), 41);
}
