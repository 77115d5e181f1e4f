//! Creation of a tenant together with the rows of the caller, `create_with`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use entity::guard;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, TransactionTrait};
use service::guard::{NewGuard, create_in};
use tenantry::{Config, Error, NewTenant, Tenancy, TenantTransaction};
use tokio::sync::oneshot;

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::eventually,
    slug,
    sql_migration::{BOOKS, Sql, sql_migrator},
};

/// An error of an application.
#[derive(Debug)]
enum SignUpError {
    Refused(&'static str),
    #[expect(dead_code, reason = "`unwrap` shows it")]
    Guard(service::Error),
    Tenancy(Error),
}

impl From<Error> for SignUpError {
    fn from(error: Error) -> Self {
        Self::Tenancy(error)
    }
}

async fn insert_guard(tenant: &TenantTransaction, name: &str) -> Result<(), service::Error> {
    let input = NewGuard { name: Some(name.to_owned()), position: Some("Boss".to_owned()) };
    create_in(tenant, input).await.map(drop)
}

async fn names(tenancy: &Tenancy, name: &str) -> Vec<String> {
    let tenant = tenancy.tenant(&slug(name)).await.unwrap();
    let guards = guard::Entity::find().all(&tenant).await.unwrap();
    guards.into_iter().map(|guard| guard.name).collect()
}

#[tokio::test]
async fn the_callers_rows_come_after_the_seed_and_with_the_tenant() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for spares in [0, 1] {
        let config = Config { spares, ..db.config() }
            .seed(async |tenant: &TenantTransaction| insert_guard(tenant, "Seeded").await);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let ready = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
        eventually("there is a spare", async || {
            texts(&plain, ready).await.len() == spares as usize
        })
        .await;
        let name = format!("tenant-{spares}");
        let (owner, other) = ("Abu".to_owned(), db.tenancy().await);
        let (info, seen) = tenancy
            .create_with(NewTenant::new(slug(&name)), async |tenant| {
                let seen = guard::Entity::find().count(tenant).await.map_err(Error::from)?;
                insert_guard(tenant, &owner).await.map_err(SignUpError::Guard)?;
                // Savepoints work as in any transaction.
                let savepoint = tenant.begin().await.map_err(Error::from)?;
                insert_guard(&savepoint, "Undone").await.map_err(SignUpError::Guard)?;
                savepoint.rollback().await.map_err(Error::from)?;
                // Other processes do not see the tenant yet.
                let unknown = other.tenant(tenant.slug()).await;
                assert!(matches!(unknown, Err(Error::UnknownTenant(_))), "{unknown:?}");
                Ok::<_, SignUpError>(seen)
            })
            .await
            .unwrap();
        assert_eq!((info.slug.as_str(), seen), (name.as_str(), 1));
        assert_eq!(tenancy.get(&slug(&name)).await.unwrap(), Some(info));
        let found = names(&tenancy, &name).await;
        assert_eq!(found.iter().filter(|it| *it == "Seeded").count(), 1);
        assert_eq!(found.iter().filter(|it| *it == "Abu").count(), 1);
        assert_eq!(found.len(), 2);
        tenancy.close().await;
    }
}

#[tokio::test]
async fn nothing_is_created_if_the_callers_part_fails_panics_or_is_dropped() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    // One connection, which each attempt has to give back.
    let config = Config { max_connections: 1, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let new = || NewTenant {
        domains: vec!["guards.example.org".parse().unwrap()],
        ..NewTenant::new(slug("tenant-1"))
    };

    let refused = tenancy.create_with(new(), async |tenant| {
        insert_guard(tenant, "Abu").await.map_err(SignUpError::Guard)?;
        Err::<(), _>(SignUpError::Refused("no such plan"))
    });
    assert!(matches!(refused.await, Err(SignUpError::Refused("no such plan"))));

    let failed = tenancy.create_with(new(), async |tenant| {
        let missing = r#"INSERT INTO "@tenant"."no_such_table" VALUES (1)"#;
        tenant.execute_unprepared(missing).await?;
        Ok::<_, Error>(())
    });
    assert!(failed.await.unwrap_err().to_string().contains("no_such_table"));

    // An error that was ignored has still aborted the transaction.
    let ignored = tenancy.create_with(new(), async |tenant| {
        let _ = tenant.execute_unprepared("SELECT 1/0").await;
        Ok::<_, Error>(())
    });
    let error = ignored.await.unwrap_err().to_string();
    assert!(error.contains("aborted"), "{error}");

    let ended = tenancy.create_with(new(), async |tenant| {
        tenant.execute_unprepared("COMMIT").await?;
        Ok::<_, Error>(())
    });
    assert!(matches!(ended.await, Err(Error::Misuse(_))));

    let (tenancy_of_task, new_of_task) = (tenancy.clone(), new());
    let panicked = tokio::spawn(async move {
        let panics = async |_: &TenantTransaction| -> Result<(), Error> { panic!("as the test") };
        tenancy_of_task.create_with(new_of_task, panics).await
    });
    assert!(panicked.await.unwrap_err().is_panic());

    let (started, has_started) = oneshot::channel();
    let (tenancy_of_task, new_of_task) = (tenancy.clone(), new());
    let dropped = tokio::spawn(async move {
        let waits = async move |tenant: &TenantTransaction| {
            insert_guard(tenant, "Abu").await.map_err(SignUpError::Guard)?;
            started.send(()).unwrap();
            std::future::pending::<Result<(), SignUpError>>().await
        };
        tenancy_of_task.create_with(new_of_task, waits).await
    });
    has_started.await.unwrap();
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());

    assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);
    tenancy.create(new()).await.unwrap();
    assert_eq!(names(&tenancy, "tenant-1").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_sign_up_with_one_slug_one_wins_and_its_part_alone_runs() {
    let db = TestDb::new().await;
    let tenancies = [db.tenancy().await, db.tenancy().await];
    let runs = Arc::new(AtomicUsize::new(0));
    let tasks = (0..16).map(|number: usize| {
        let (tenancy, runs) = (tenancies[number % 2].clone(), Arc::clone(&runs));
        tokio::spawn(async move {
            let owner = format!("Owner {number}");
            tenancy
                .create_with(NewTenant::new(slug("tenant-1")), async move |tenant| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    insert_guard(tenant, &owner).await.map_err(SignUpError::Guard)?;
                    Ok::<_, SignUpError>(owner)
                })
                .await
        })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let owners: Vec<_> = results.iter().filter_map(|it| it.as_ref().ok()).collect();
    assert_eq!((owners.len(), runs.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(names(&tenancies[1], "tenant-1").await, [owners[0].1.as_str()]);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, SignUpError::Tenancy(Error::SlugTaken(_))), "{error:?}");
    }
}

/// The name of the schema is taken by a dropped tenant, so the creation begins twice.
#[tokio::test]
async fn the_callers_part_runs_once_when_the_creation_is_repeated() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    let mut runs = 0;
    let (info, schema) = tenancy
        .create_with(NewTenant::new(slug("tenant-1")), async |tenant| {
            runs += 1;
            Ok::<_, Error>(tenant.schema().clone())
        })
        .await
        .unwrap();
    assert_eq!((runs, schema.as_str(), &info.schema), (1, "tenant_1_2", &schema));
}

#[tokio::test]
async fn a_schema_that_was_created_with_commits_is_removed_if_the_callers_part_fails() {
    const MOOD: Sql = Sql { name: "m2_mood", up: "CREATE TYPE mood AS ENUM ('sad')", ..BOOKS };
    const HAPPY: Sql = Sql { name: "m3_happy", up: "ALTER TYPE mood ADD VALUE 'happy'", ..BOOKS };
    const ROW: Sql = Sql {
        name: "m4_column",
        up: "ALTER TABLE books ADD COLUMN mood mood NOT NULL DEFAULT 'happy'",
        ..BOOKS
    };
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config::new(db.url(), sql_migrator([BOOKS, MOOD, HAPPY, ROW]));
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let insert = r#"INSERT INTO "@tenant"."books" VALUES ('1', 'one')"#;
    let mut runs = 0;
    let refused = tenancy.create_with(NewTenant::new(slug("city")), async |tenant| {
        runs += 1;
        tenant.execute_unprepared(insert).await.map_err(Error::from)?;
        Err::<(), _>(SignUpError::Refused("no such plan"))
    });
    assert!(matches!(refused.await, Err(SignUpError::Refused(_))));
    assert_eq!(runs, 1);
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    let kept = tenancy.create_with(NewTenant::new(slug("city")), async |tenant| {
        runs += 1;
        tenant.execute_unprepared(insert).await?;
        Ok::<_, Error>(())
    });
    kept.await.unwrap();
    assert_eq!(runs, 2);
    assert_eq!(texts(&plain, "SELECT mood::text FROM city.books").await, ["happy"]);
    let other = Tenancy::connect(&config).await.unwrap();
    other.tenant(&slug("city")).await.unwrap();
}

#[tokio::test]
async fn a_handler_of_axum_signs_up_a_tenant() {
    async fn sign_up(State(tenancy): State<Tenancy>, owner: String) -> String {
        let created = tenancy.create_with(NewTenant::new(slug("acme")), async |tenant| {
            insert_guard(tenant, &owner).await.map_err(SignUpError::Guard)
        });
        created.await.unwrap().0.schema.to_string()
    }
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let router = Router::new().route("/", post(sign_up)).with_state(tenancy.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let request = reqwest::Client::new().post(url).body("Abu").timeout(Duration::from_secs(30));
    let answer = request.send().await.unwrap().text().await.unwrap();
    server.abort();
    assert_eq!(answer, "acme");
    assert_eq!(names(&tenancy, "acme").await, ["Abu"]);
}
