//! Statements of sqlx through poolers in transaction mode, without this crate's handles: which of them
//! find the rows of others. The poolers of the tests are as dangerous as real ones.

use futures_util::future::join_all;
use sea_orm::sqlx::{self, Connection, PgConnection, Row};
use tests::pgbouncer::{PoolMode, Program};

use crate::support::{
    TestDb,
    database::server,
    pooler::{Mode, Pooler},
};

const CLIENTS: usize = 6;
const STATEMENTS: usize = 60;

/// How statements are sent.
#[derive(Clone, Copy)]
enum Sent {
    Named,
    Unnamed,
}

#[derive(Debug, Default)]
struct Answers {
    own: usize,
    foreign: usize,
    failed: usize,
}

/// Each client reads the rows of its own tables, several statements in turn.
async fn ask(url: &str, sent: Sent) -> Answers {
    let clients = (0..CLIENTS).map(async |client| {
        let mut answers = Answers::default();
        let mut connection = PgConnection::connect(url).await.unwrap();
        for number in 0..STATEMENTS {
            let sql = format!("SELECT v FROM t{client} WHERE n = $1 AND {number} % 10 < 10");
            let query = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind((number % 7) as i32)
                .persistent(matches!(sent, Sent::Named));
            match query.fetch_one(&mut connection).await {
                Ok(row) if row.get::<i32, _>(0) == client as i32 => answers.own += 1,
                Ok(_) => answers.foreign += 1,
                Err(sqlx::Error::Database(_)) => answers.failed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        answers
    });
    join_all(clients).await.into_iter().fold(Answers::default(), |sum, one| Answers {
        own: sum.own + one.own,
        foreign: sum.foreign + one.foreign,
        failed: sum.failed + one.failed,
    })
}

/// A table for each client.
async fn tables() -> TestDb {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for client in 0..CLIENTS {
        let sql = format!(
            "CREATE TABLE t{client} AS SELECT {client} AS v, n FROM generate_series(0, 9) n"
        );
        sea_orm::ConnectionTrait::execute_unprepared(&plain, &sql).await.unwrap();
    }
    db
}

#[tokio::test]
async fn carried_over_named_statements_find_their_own_rows_and_unnamed_ones_those_of_others() {
    let db = tables().await;
    let pooler = Pooler::with_room(Mode::Prepared { limit: 8 }, 3).await;
    let named = ask(&pooler.url(db.name()), Sent::Named).await;
    assert_eq!((named.own, named.foreign, named.failed), (CLIENTS * STATEMENTS, 0, 0));
    assert!(pooler.switches() > 100 && pooler.prepared_again() > 100, "{}", pooler.switches());
    let unnamed = ask(&pooler.url(db.name()), Sent::Unnamed).await;
    assert!(unnamed.foreign > 10, "{unnamed:?}");

    let Some(program) = Program::that_prepares("unnamed statements through PgBouncer") else {
        return;
    };
    let pooler = program.start(server(), PoolMode::Transaction { statements: 8 }, 3, &["postgres"]);
    let url = pooler.url_of("postgres", db.name());
    let named = ask(&url, Sent::Named).await;
    assert_eq!((named.own, named.foreign, named.failed), (CLIENTS * STATEMENTS, 0, 0));
    let unnamed = ask(&url, Sent::Unnamed).await;
    assert!(unnamed.foreign > 0, "{unnamed:?}");
}

#[tokio::test]
async fn named_statements_that_are_not_carried_over_fail_or_find_the_rows_of_others() {
    let db = tables().await;
    let pooler = Pooler::with_room(Mode::InTurn, 3).await;
    let named = ask(&pooler.url(db.name()), Sent::Named).await;
    assert!(named.foreign > 10 && named.failed > 0, "{named:?}");
    let Some(program) = Program::that_does_not_prepare("statements through an old PgBouncer")
    else {
        return;
    };
    let pooler = program.start(server(), PoolMode::Transaction { statements: 8 }, 3, &["postgres"]);
    let named = ask(&pooler.url_of("postgres", db.name()), Sent::Named).await;
    assert!(named.foreign > 0, "{named:?}");
}

#[tokio::test]
async fn the_proxy_changes_the_session_after_every_transaction_and_not_in_one() {
    let db = TestDb::new().await;
    let pooler = Pooler::with_room(Mode::Prepared { limit: 2 }, 3).await;
    let mut one = PgConnection::connect(&pooler.url(db.name())).await.unwrap();
    let pid = async |connection: &mut PgConnection| -> i32 {
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await.unwrap()
    };
    let mut last = 0;
    for _ in 0..10 {
        let now = pid(&mut one).await;
        assert_ne!(now, last);
        last = now;
    }
    let mut transaction = one.begin().await.unwrap();
    let inside = pid(&mut transaction).await;
    for _ in 0..5 {
        assert_eq!(pid(&mut transaction).await, inside);
        // More statements than a session keeps.
        for number in 0..4 {
            let sql = format!("SELECT {number}");
            let found: i32 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            assert_eq!(found, number);
        }
    }
    // After an error nothing is out of step.
    let failed = sqlx::query("SELECT 1 / $1::int").bind(0).execute(&mut *transaction).await;
    assert!(failed.unwrap_err().to_string().contains("division by zero"));
    transaction.rollback().await.unwrap();
    let wrong = sqlx::query("SELECT nothing").execute(&mut one).await.unwrap_err();
    assert!(wrong.to_string().contains("does not exist"), "{wrong}");
    // COPY, many rows at once, and a client that goes away in a transaction.
    sqlx::raw_sql("CREATE TABLE t (n int)").execute(&mut one).await.unwrap();
    let mut copy = one.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    copy.send("1\n2\n".repeat(50_000).into_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 100_000);
    let rows = sqlx::query("SELECT n FROM t").fetch_all(&mut one).await.unwrap();
    assert_eq!(rows.len(), 100_000);
    sqlx::raw_sql("BEGIN; LOCK TABLE t").execute(&mut one).await.unwrap();
    drop(one);
    let mut two = PgConnection::connect(&pooler.url(db.name())).await.unwrap();
    sqlx::raw_sql("SET LOCAL lock_timeout = '10s'; LOCK TABLE t").execute(&mut two).await.unwrap();
}
