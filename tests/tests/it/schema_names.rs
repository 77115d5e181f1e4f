//! Schema names are never reused.

use std::{collections::HashSet, time::Duration};

use entity::guard;
use futures_util::future::join_all;
use sea_orm::{ActiveModelTrait, DbErr, EntityTrait, PaginatorTrait, Set};
use tenantry::{
    Availability, Config, Error, NewTenant, Tenancy, Tenant, TenantScope, TenantUnavailable,
    page::PageRequest,
};
use tenantry_migrate::{Action, DynMigrator, Target, Timeouts, registry, run};
use tenantry_registry::tenant;

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::eventually,
    process::Ran,
    slug,
};

async fn create(tenancy: &Tenancy, name: &str) -> String {
    tenancy.create(NewTenant::new(slug(name))).await.unwrap().schema.to_string()
}

async fn drop(tenancy: &Tenancy, name: &str) {
    tenancy.drop(&slug(name)).await.unwrap();
}

async fn insert(scope: &impl TenantScope, name: &str) -> Result<(), DbErr> {
    let guard = guard::ActiveModel {
        name: Set(name.to_owned()),
        position: Set("Gate".into()),
        ..Default::default()
    };
    guard.insert(scope).await.map(|_| ())
}

#[tokio::test]
async fn a_reused_slug_gets_another_schema_and_the_registry_keeps_both_rows() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let mut ids = Vec::new();
    for schema in ["q_1", "q_1_2", "q_1_3"] {
        assert_eq!(create(&tenancy, "q-1").await, schema);
        let tenant = tenancy.tenant(&slug("q-1")).await.unwrap();
        assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 0);
        insert(&tenant, "Abu").await.unwrap();
        ids.push(tenant.id().to_string());
        drop(&tenancy, "q-1").await;
    }
    assert_eq!(create(&tenancy, "q-1").await, "q_1_4");

    let plain = db.plain().await;
    let kept = "SELECT concat_ws(' ', id, slug, schema, status, dropped_at > inserted_at,
                    length(dropped_by) > 0) FROM registry.tenants ORDER BY id";
    let kept = texts(&plain, kept).await;
    for (number, schema) in ["q_1", "q_1_2", "q_1_3"].into_iter().enumerate() {
        assert_eq!(kept[number], format!("{} q-1 {schema} dropped t t", ids[number]));
    }
    assert!(kept[3].ends_with(" q-1 q_1_4 active"), "{kept:?}");
    assert_eq!(schemas(&plain).await, ["public", "q_1_4", "registry"]);
}

#[tokio::test]
async fn skips_schema_names_that_another_tenant_has_or_had() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    create(&tenancy, "q-1").await;
    drop(&tenancy, "q-1").await;
    assert_eq!(create(&tenancy, "q-1").await, "q_1_2");
    // Its own name is the second name of the other slug.
    assert_eq!(create(&tenancy, "q-1-2").await, "q_1_2_2");
    drop(&tenancy, "q-1").await;
    drop(&tenancy, "q-1-2").await;
    assert_eq!(create(&tenancy, "q-1-2").await, "q_1_2_3");
    assert_eq!(create(&tenancy, "q-1").await, "q_1_3");

    // The other way round.
    assert_eq!(create(&tenancy, "r-2").await, "r_2");
    assert_eq!(create(&tenancy, "r").await, "r");
    drop(&tenancy, "r").await;
    assert_eq!(create(&tenancy, "r").await, "r_3");
}

#[tokio::test]
async fn the_longest_names_are_cut_so_that_a_number_fits() {
    let db = TestDb::new().await;
    let prefix = "customer_of_us_";
    let config = Config { schema_prefix: prefix.to_owned(), ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    // They differ only in the part that is truncated.
    let [one, two] = ["xx", "yy"].map(|end| format!("{}{end}", "a".repeat(46)));
    let mut seen = HashSet::new();
    for number in 1..=11 {
        for slug in [&one, &two] {
            let schema = create(&tenancy, slug).await;
            assert_eq!(schema.len(), 63, "{schema}");
            assert!(schema.starts_with(prefix), "{schema}");
            assert!(seen.insert(schema), "{number}: used twice");
            let tenant = tenancy.tenant(&slug.parse().unwrap()).await.unwrap();
            insert(&tenant, "Abu").await.unwrap();
            assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 1);
            drop(&tenancy, slug).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creations_of_one_schema_name_both_get_a_schema() {
    let db = TestDb::new().await;
    let tenancies = [db.tenancy().await, db.tenancy().await];
    for round in 0..6 {
        let [first, second] = ["q-1", "q-1-2"].map(|name| format!("r{round}-{name}"));
        create(&tenancies[0], &first).await;
        drop(&tenancies[0], &first).await;
        let both = [(0, &first), (1, &second)].map(|(process, slug)| {
            tenancies[process].create(NewTenant::new(slug.parse().unwrap()))
        });
        let made = join_all(both).await.into_iter().map(|made| made.unwrap().schema.to_string());
        let made: Vec<String> = made.collect();
        let name = |end: &str| format!("r{round}_q_1{end}");
        // The second one gets the next name.
        let wanted = [[name("_2"), name("_2_2")], [name("_3"), name("_2")]];
        assert!(wanted.iter().any(|wanted| *wanted == *made), "{made:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_reused_in_two_processes_never_sees_rows_of_an_earlier_tenant() {
    let db = TestDb::new().await;
    let tenancies = [db.tenancy().await, db.tenancy().await];
    let tasks = (0..4).map(|task: usize| {
        let tenancy = tenancies[task % 2].clone();
        tokio::spawn(async move {
            let mut created = Vec::new();
            for round in 0..15 {
                match tenancy.create(NewTenant::new(slug("q-1"))).await {
                    Ok(record) => created.push(record.schema.to_string()),
                    Err(Error::SlugTaken(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                if let Ok(tenant) = tenancy.tenant(&slug("q-1")).await {
                    let own = tenant.schema().to_string();
                    if insert(&tenant, &own).await.is_ok()
                        && let Ok(guards) = guard::Entity::find().all(&tenant).await
                    {
                        assert!(guards.iter().all(|guard| guard.name == own), "{guards:?}");
                    }
                }
                if round % 2 == task % 2 {
                    match tenancy.drop(&slug("q-1")).await {
                        Ok(()) | Err(Error::UnknownTenant(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            created
        })
    });
    let created: Vec<String> = join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
    let different: HashSet<&String> = created.iter().collect();
    assert_eq!(different.len(), created.len(), "{created:?}");
    assert!(created.len() > 5, "{created:?}");
}

#[tokio::test]
async fn a_spare_gets_a_schema_name_that_no_tenant_has_had() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config { spares: 2, ..db.config() }).await.unwrap();
    let plain = db.plain().await;
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    let mut names = HashSet::new();
    for schema in ["q_1", "q_1_2", "q_1_3"] {
        eventually("there are spares", async || texts(&plain, spares).await.len() == 2).await;
        let ready = texts(&plain, spares).await;
        assert_eq!(create(&tenancy, "q-1").await, schema);
        let left = schemas(&plain).await;
        let taken: Vec<_> = ready.into_iter().filter(|spare| !left.contains(spare)).collect();
        assert_eq!(taken.len(), 1, "no spare was taken");
        assert!(names.insert(taken[0].clone()), "{taken:?}");
        drop(&tenancy, "q-1").await;
    }
    tenancy.close().await;
}

#[tokio::test]
async fn dropped_tenants_do_not_affect_others() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let host = "guards.example.org".parse().unwrap();
    tenancy.domain_add(&slug("tenant-1"), &host).await.unwrap();
    // The row of a dropped tenant contains nothing about its customer.
    texts(
        &plain,
        "UPDATE registry.tenants SET metadata = '{\"tags\": [\"canary\"]}',
             migration_error = '{\"message\": \"no\"}' WHERE slug = 'tenant-1'",
    )
    .await;
    drop(&tenancy, "tenant-1").await;

    assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
    let list = tenancy.list(PageRequest::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    for error in [
        tenancy.drop(&slug("tenant-1")).await.unwrap_err(),
        tenancy.domain_add(&slug("tenant-1"), &host).await.unwrap_err(),
        tenancy.tenant(&slug("tenant-1")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
    }
    tenancy.domain_add(&slug("tenant-2"), &host).await.unwrap();

    let migration =
        |words: &str| Ran::on("migration", &db.url(), &words.split(' ').collect::<Vec<_>>());
    migration("status").exits(0).says(["\n1 of 1 tenant up to date ("]);
    migration("verify --all").exits(0).says(["1 schema"]);
    migration("verify --tenant tenant-1").exits(1).complains(["tenant \"tenant-1\" not found"]);
    migration("verify --schema tenant_1").exits(1).complains(["\"tenant_1\" does not exist"]);
    migration("up --tenant tenant-1").exits(1).complains(["tenant \"tenant-1\" not found"]);
    migration("up --all --canary-tag canary").exits(0);
    migration("up --only-failed").exits(0);
    for words in ["down --all --yes", "up --all"] {
        let ran = migration(words).exits(0);
        assert!(!ran.stdout.contains("tenant-1"), "{ran:#?}");
    }
    migration("up --schema tenant_1").exits(1).complains(["\"tenant_1\" does not exist"]);
    // A schema of its name does not belong to the dropped tenant.
    texts(&plain, "CREATE SCHEMA tenant_1").await;
    migration("up --schema tenant_1").exits(0);
    let kept =
        "SELECT metadata::text || ' ' || (migration_error IS NULL) || ' ' || array_length(migrations, 1)
                FROM registry.tenants WHERE status = 'dropped'";
    assert_eq!(texts(&plain, kept).await, ["{} true 2"]);
    migration("verify --all").exits(1).says(["tenant_1"]);
    texts(&plain, "DROP SCHEMA tenant_1 CASCADE").await;

    let listed = Ran::on("tenantry", &db.url(), &["tenant", "list", "--json"]).exits(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&listed.stdout)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // The registry can be rolled back when the last tenant is dropped.
    let (plain, registry) = (db.plain().await, DynMigrator::new(registry::Migrator));
    let down = Action::Down(1);
    let error = run(&plain, &Target::Registry, &registry, &down, Timeouts::default()).await;
    assert!(error.unwrap_err().to_string().contains("1 tenant"));
    drop(&tenancy, "tenant-2").await;
    run(&plain, &Target::Registry, &registry, &down, Timeouts::default()).await.unwrap();
}

#[tokio::test]
async fn the_actor_of_a_drop_is_recorded() {
    let db = TestDb::new().await;
    let config = Config { actor: "billing".to_owned(), ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for name in ["tenant-1", "tenant-2"] {
        create(&tenancy, name).await;
    }
    drop(&tenancy, "tenant-1").await;
    Ran::on("tenantry", &db.url(), &["tenant", "drop", "tenant-2", "--yes"]).exits(0);
    let plain = db.plain().await;
    let by = "SELECT dropped_by FROM registry.tenants ORDER BY id";
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap().name;
    assert_eq!(texts(&plain, by).await, ["billing".to_owned(), user]);
    assert_eq!(tenant::Entity::find_living().count(&plain).await.unwrap(), 0);
}

/// A process that is paused while another one drops the tenant and creates it again.
#[test]
fn statements_of_a_paused_process_do_not_reach_the_next_tenant_of_the_slug() {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    };
    let awake = runtime(2).unwrap();
    // Tasks run only inside `block_on`.
    let still = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = awake.block_on(TestDb::new());
    awake.block_on(async { create(&db.tenancy().await, "q-1").await });
    let config = Config { max_connections: 2, ..db.config() };
    let (tenancy, tenant, txn) = still.block_on(async {
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let tenant = tenancy.tenant(&slug("q-1")).await.unwrap();
        insert(&tenant, "before").await.unwrap();
        // It holds a connection, so that some statements have to wait.
        use sea_orm::TransactionTrait;
        let txn = tenant.begin().await.unwrap();
        (tenancy, tenant, txn)
    });
    let next = awake.block_on(async {
        let other = db.tenancy().await;
        drop(&other, "q-1").await;
        create(&other, "q-1").await;
        (other.tenant(&slug("q-1")).await.unwrap(), other)
    });
    still.block_on(async {
        let late = |tenant: Tenant| async move {
            let error = insert(&tenant, "late").await.unwrap_err();
            let refused = TenantUnavailable::find(&error).unwrap_or_else(|| panic!("{error}"));
            assert_eq!(refused.availability, Availability::Dropped);
            assert_eq!(refused.to_string(), "tenant q-1 is dropped");
        };
        let in_transaction = async {
            let error = insert(&txn, "late").await.unwrap_err();
            assert_eq!(
                TenantUnavailable::find(&error).unwrap().availability,
                Availability::Dropped,
                "{error}"
            );
            txn.rollback().await.unwrap();
        };
        tokio::join!(join_all((0..20).map(|_| late(tenant.clone()))), in_transaction);
        // As soon as it is notified, it resolves the new tenant.
        eventually("the next tenant is found", async || {
            tenancy.tenant(&slug("q-1")).await.is_ok_and(|found| found.id() == next.0.id())
        })
        .await;
        tokio::time::timeout(Duration::from_secs(10), tenancy.close()).await.unwrap();
    });
    awake.block_on(async {
        assert_eq!(next.0.schema().as_str(), "q_1_2");
        assert_eq!(guard::Entity::find().count(&next.0).await.unwrap(), 0);
        next.1.close().await;
    });
    // Dropped before the runtimes to which its connections belong.
    std::mem::drop((still, next.0, db));
}

/// Both are called `t_3m`.
#[tokio::test]
async fn slugs_that_begin_with_a_digit_have_schemas_of_their_own() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let mut schemas = Vec::new();
    for name in ["3m", "t-3m", "37signals", "1881"] {
        tenancy.validate_new(&NewTenant::new(slug(name))).await.unwrap();
        let tenant = tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        schemas.push(tenant.schema.to_string());
    }
    assert_eq!(schemas, ["t_3m", "t_3m_2", "t_37signals", "t_1881"]);
    for (name, schema) in [("3m", "t_3m"), ("t-3m", "t_3m_2"), ("1881", "t_1881")] {
        let tenant = tenancy.tenant_by_host(&format!("{name}.localhost:3000")).await.unwrap();
        assert_eq!((tenant.slug().as_str(), tenant.schema().as_str()), (name, schema));
    }
    let error = tenancy.tenant_by_host("127.0.0.1:3000").await.unwrap_err();
    assert!(matches!(error, tenantry::Error::UnknownHost(_)), "{error}");
}
