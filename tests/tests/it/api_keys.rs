//! API keys of tenants and operators, in one process and across processes.

use chrono::{TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{
    Actor, Config, CreatedApiKey, Error, KeyCheck, KeyOwner, NewApiKey, NewTenant, Scope, Tenancy,
    VerifiedKey, page::PageRequest,
};

use crate::support::{TestDb, catalog::texts, http_server::eventually, slug, tcp_proxy::TcpProxy};

pub fn new_key(tenant: Option<&str>) -> NewApiKey {
    NewApiKey {
        name: "report".parse().unwrap(),
        tenant: tenant.map(slug),
        scopes: [Scope::Read].into(),
        expires_at: None,
    }
}

pub async fn created(tenancy: &Tenancy, tenant: &str) -> CreatedApiKey {
    tenancy.key_create(new_key(Some(tenant))).await.unwrap()
}

pub async fn check(tenancy: &Tenancy, key: &str) -> KeyCheck {
    tenancy.key_verify(key).await.unwrap()
}

pub async fn valid(tenancy: &Tenancy, key: &str) -> VerifiedKey {
    match check(tenancy, key).await {
        KeyCheck::Valid(key) => key,
        other => panic!("{other:?}"),
    }
}

pub async fn becomes(tenancy: &Tenancy, key: &str, wanted: &KeyCheck) {
    eventually("the key is refused", async || check(tenancy, key).await == *wanted).await;
}

/// The statements that looked up keys.
fn lookups(db: &TestDb) -> usize {
    let all = db.statements();
    all.iter().filter(|sql| sql.contains(r#""prefix" = ANY"#)).count()
}

#[tokio::test]
async fn a_key_is_valid_in_every_process_until_one_of_them_revokes_it() {
    let db = TestDb::new().await;
    let (one, _) = db.with_tenants(["city"]).await;
    let two = db.tenancy().await;
    let created = created(&one, "city").await;
    for tenancy in [&one, &two, &two] {
        let key = valid(tenancy, &created.key).await;
        assert_eq!(key.name, "report");
        assert_eq!(key.tenant.unwrap().1, slug("city"));
        assert!(key.scopes.contains(Scope::Read) && !key.scopes.contains(Scope::Write));
        assert!(tenancy.key_is_known(&created.key));
    }
    // As soon as the notification of its creation was received.
    eventually("it is cached", async || {
        let before = lookups(&db);
        valid(&two, &created.key).await;
        lookups(&db) == before
    })
    .await;

    let revoked = one.key_revoke(&created.info.prefix).await.unwrap();
    assert_eq!(check(&one, &created.key).await, KeyCheck::Revoked, "by its own process");
    becomes(&two, &created.key, &KeyCheck::Revoked).await;
    assert!(!two.key_is_known(&created.key));
    // Again, by its id or as a whole, and nothing changes.
    let id = created.info.id.to_string();
    for name in [&id, &created.info.prefix, &created.key] {
        assert_eq!(two.key_revoke(name).await.unwrap(), revoked);
        assert_eq!(two.key_get(name).await.unwrap(), revoked);
    }
    for unknown in ["", "tnt_0123456789abcdef", "0199a000-0000-7000-8000-000000000000"] {
        let error = one.key_revoke(unknown).await.unwrap_err();
        assert!(matches!(error, Error::UnknownApiKey(_)), "{error}");
    }
}

#[tokio::test]
async fn only_the_hash_of_a_secret_is_stored_and_no_list_shows_either() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let created = created(&tenancy, "city").await;
    let secret = &created.key[created.info.prefix.len() + 1..][..64];
    let plain = db.plain().await;
    let rows = texts(&plain, "SELECT k::text FROM registry.api_keys k").await;
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].contains(secret) && !rows[0].contains(&created.key), "{rows:?}");
    let audit = texts(&plain, "SELECT a::text FROM registry.audit a").await;
    assert!(!audit.iter().any(|row| row.contains(secret)), "{audit:?}");
    let sent = db.statements();
    assert!(!sent.iter().any(|sql| sql.contains(secret)), "it was sent to the server");
    let hash = texts(&plain, "SELECT encode(hash, 'hex') FROM registry.api_keys").await;
    let listed = tenancy.key_list(&KeyOwner::Any, PageRequest::default()).await.unwrap();
    let shown = format!("{} {created:?} {listed:?}", serde_json::to_string(&listed).unwrap());
    assert!(!shown.contains(secret) && !shown.contains(&hash[0]), "{shown}");
}

#[tokio::test]
async fn a_cached_key_ends_at_its_time() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let end = tenantry_registry::microseconds(Utc::now() + TimeDelta::milliseconds(1500));
    let new = NewApiKey { expires_at: Some(end), ..new_key(Some("city")) };
    let created = tenancy.key_create(new).await.unwrap();
    let mut last_valid = None;
    loop {
        let before = Utc::now();
        match check(&tenancy, &created.key).await {
            KeyCheck::Valid(_) => last_valid = Some(before),
            refused => {
                assert_eq!(refused, KeyCheck::Expired(end));
                assert!(Utc::now() >= end, "it ended before its time");
                break;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(last_valid.unwrap() < end, "it was used after its end");
    // The second one after the notification of its creation.
    assert!(lookups(&db) <= 2, "the end was not found in the cache");
    let listed = tenancy.key_list(&KeyOwner::Any, PageRequest::default()).await.unwrap();
    assert_eq!(listed.items[0].state(), "expired");
}

#[tokio::test]
async fn a_text_that_is_not_a_key_costs_no_query_and_an_unknown_one_a_query_a_second() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let created = created(&tenancy, "city").await;
    let cut = &created.key[..created.key.len() - 1];
    for text in ["", "tnt_", cut, &created.key.to_uppercase(), "\0"] {
        assert_eq!(check(&tenancy, text).await, KeyCheck::Malformed, "{text}");
    }
    assert_eq!(lookups(&db), 0);
    // A key of another installation.
    let other = TestDb::new().await;
    let (elsewhere, _) = other.with_tenants(["city"]).await;
    let unknown = elsewhere.key_create(new_key(None)).await.unwrap().key;
    for _ in 0..20 {
        assert_eq!(check(&tenancy, &unknown).await, KeyCheck::Unknown);
    }
    let asked = lookups(&db);
    assert!((1..10).contains(&asked), "{asked} queries");
    // The prefix of a key with the secret of another one is not that key.
    let mixed = db.plain().await;
    let swap = format!(
        "UPDATE registry.api_keys SET hash = sha256('another') WHERE prefix = '{}'",
        created.info.prefix
    );
    mixed.execute_unprepared(&swap).await.unwrap();
    assert_eq!(check(&tenancy, &created.key).await, KeyCheck::Unknown);
    assert!(!tenancy.key_is_known(&created.key));
}

#[tokio::test]
async fn a_new_key_counts_at_once_where_it_was_found_unknown() {
    let db = TestDb::new().await;
    let (one, _) = db.with_tenants(["city"]).await;
    let two = db.tenancy().await;
    let created = created(&one, "city").await;
    // As if it had been looked up before it was created.
    let plain = db.plain().await;
    let row = "CREATE TABLE hidden AS SELECT * FROM registry.api_keys";
    plain.execute_unprepared(row).await.unwrap();
    plain.execute_unprepared("DELETE FROM registry.api_keys").await.unwrap();
    assert_eq!(check(&two, &created.key).await, KeyCheck::Unknown);
    let back = "WITH back AS (INSERT INTO registry.api_keys SELECT * FROM hidden RETURNING prefix)
         SELECT pg_notify('tenantry_tenants', 'key ' || prefix)::text FROM back";
    texts(&plain, back).await;
    eventually("it is known", async || {
        matches!(check(&two, &created.key).await, KeyCheck::Valid(_))
    })
    .await;
}

#[tokio::test]
async fn the_keys_of_a_dropped_tenant_are_gone_and_its_successor_has_none_of_them() {
    let db = TestDb::new().await;
    let (one, _) = db.with_tenants(["city"]).await;
    let two = db.tenancy().await;
    let created = created(&one, "city").await;
    valid(&two, &created.key).await;
    one.drop(&slug("city")).await.unwrap();
    assert_eq!(check(&one, &created.key).await, KeyCheck::Unknown);
    becomes(&two, &created.key, &KeyCheck::Unknown).await;
    let count = "SELECT count(*)::text FROM registry.api_keys";
    assert_eq!(texts(&db.plain().await, count).await, ["0"]);
    one.create(NewTenant::new(slug("city"))).await.unwrap();
    for tenancy in [&one, &two] {
        assert_eq!(check(tenancy, &created.key).await, KeyCheck::Unknown);
    }
}

#[tokio::test]
async fn a_tenant_that_is_being_dropped_has_no_valid_keys_and_gets_no_new_ones() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let created = created(&tenancy, "city").await;
    valid(&tenancy, &created.key).await;
    let mark = "WITH changed AS (UPDATE registry.tenants SET status = 'dropping' RETURNING id)
         SELECT pg_notify('tenantry_tenants', id || ' city')::text FROM changed";
    texts(&db.plain().await, mark).await;
    becomes(&tenancy, &created.key, &KeyCheck::Unknown).await;
    let error = tenancy.key_create(new_key(Some("city"))).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
}

#[tokio::test]
async fn a_key_that_cannot_be_read_does_not_affect_those_that_are_looked_up_with_it() {
    let db = TestDb::new().await;
    let (one, _) = db.with_tenants(["city", "town"]).await;
    let keys = [created(&one, "city").await, created(&one, "town").await];
    let two = db.tenancy().await;
    // As a newer program would.
    let plain = db.plain().await;
    let other = "ALTER TABLE registry.tenants DROP CONSTRAINT tenants_status_check;
         UPDATE registry.tenants SET status = 'moving' WHERE slug = 'town'";
    plain.execute_unprepared(other).await.unwrap();
    // In one query.
    let [city, town] = keys.each_ref().map(|key| two.key_verify(&key.key));
    let (city, town) = tokio::join!(city, town);
    assert!(matches!(city.unwrap(), KeyCheck::Valid(_)));
    assert!(matches!(town.unwrap_err(), Error::Database(_)));
}

#[tokio::test]
async fn a_key_follows_a_renamed_tenant() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let created = created(&tenancy, "city").await;
    let before = valid(&tenancy, &created.key).await.tenant.unwrap();
    let rename = "WITH changed AS (UPDATE registry.tenants SET slug = 'town' RETURNING id)
         SELECT pg_notify('tenantry_tenants', id || ' city town')::text FROM changed";
    texts(&db.plain().await, rename).await;
    eventually("the key is the new name's", async || {
        valid(&tenancy, &created.key).await.tenant.unwrap() == (before.0, slug("town"))
    })
    .await;
    let listed = tenancy.key_list(&KeyOwner::Tenant(slug("town")), PageRequest::default()).await;
    assert_eq!(listed.unwrap().items[0].tenant.as_deref(), Some("town"));
}

#[tokio::test]
async fn the_use_of_a_key_is_written_once_a_minute_and_not_by_the_request() {
    let db = TestDb::new().await;
    let (one, _) = db.with_tenants(["city"]).await;
    let two = db.tenancy().await;
    let created = created(&one, "city").await;
    let plain = db.plain().await;
    // The row is locked, so a request that wrote it would wait.
    let lock = plain_transaction(&plain).await;
    for tenancy in [&one, &two] {
        for _ in 0..50 {
            valid(tenancy, &created.key).await;
        }
    }
    lock.commit().await.unwrap();
    let used = "SELECT last_used_at::text FROM registry.api_keys WHERE last_used_at IS NOT NULL";
    // A writer that found the row locked leaves the use out; the next use is another process's.
    let three = db.tenancy().await;
    eventually("the use is written", async || {
        valid(&three, &created.key).await;
        texts(&plain, used).await.len() == 1
    })
    .await;
    let first = texts(&plain, used).await;
    let four = db.tenancy().await;
    valid(&four, &created.key).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(texts(&plain, used).await, first, "it was written twice");
}

async fn plain_transaction(plain: &DatabaseConnection) -> sea_orm::DatabaseTransaction {
    use sea_orm::TransactionTrait;
    let txn = plain.begin().await.unwrap();
    txn.execute_unprepared("SELECT 1 FROM registry.api_keys FOR UPDATE").await.unwrap();
    txn
}

#[tokio::test]
async fn without_notifications_a_revoked_key_is_used_for_a_second_at_most() {
    let (db, wire) = (TestDb::new().await, TcpProxy::new().await);
    let (other, _) = db.with_tenants(["city"]).await;
    let config = Config { connect_options: wire.url(db.name()).into(), ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let created = created(&other, "city").await;
    wire.keep_notifications(true);
    eventually("the loss is noticed", async || !tenancy.is_receiving_notifications()).await;
    valid(&tenancy, &created.key).await;
    other.key_revoke(&created.info.prefix).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    // No guess, though it has to be looked up again.
    assert!(tenancy.key_is_known(&created.key));
    assert_eq!(check(&tenancy, &created.key).await, KeyCheck::Revoked);
    assert!(!tenancy.key_is_known(&created.key));
}

#[tokio::test]
async fn keys_that_make_no_sense_are_not_created() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    for (new, part) in [
        (NewApiKey { scopes: [].into(), ..new_key(Some("city")) }, "no scope"),
        (NewApiKey { scopes: [Scope::Write].into(), ..new_key(None) }, "scope write"),
        (NewApiKey { expires_at: Some(Utc::now()), ..new_key(Some("city")) }, "expired already"),
    ] {
        let error = tenancy.key_create(new).await.unwrap_err();
        assert!(matches!(error, Error::InvalidApiKey { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = tenancy.key_create(new_key(Some("nowhere"))).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
    let listed = tenancy.key_list(&KeyOwner::Any, PageRequest::default()).await.unwrap();
    assert!(listed.items.is_empty());
}

#[tokio::test]
async fn keys_are_listed_by_owner_in_pages() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city", "town"]).await;
    let mut prefixes = Vec::new();
    for owner in [Some("city"), None, Some("town"), Some("city")] {
        prefixes.push(tenancy.key_create(new_key(owner)).await.unwrap().info.prefix);
    }
    let list = async |owner, request| tenancy.key_list(&owner, request).await.unwrap();
    let listed = async |owner| {
        let page = list(owner, PageRequest::default()).await;
        page.items.into_iter().map(|key| key.prefix).collect::<Vec<_>>()
    };
    assert_eq!(listed(KeyOwner::Any).await, prefixes);
    assert_eq!(listed(KeyOwner::Operator).await, prefixes[1..2]);
    assert_eq!(listed(KeyOwner::Tenant(slug("city"))).await, [&*prefixes[0], &*prefixes[3]]);
    let first = list(KeyOwner::Any, PageRequest { limit: 3, after: None }).await;
    let second = list(KeyOwner::Any, PageRequest { limit: 3, after: first.next }).await;
    assert_eq!((first.items.len(), second.items.len(), second.next), (3, 1, None));
    assert_eq!(second.items[0].prefix, prefixes[3]);
}

#[tokio::test]
async fn creations_revocations_and_refusals_are_recorded_with_their_actor() {
    let db = TestDb::new().await;
    let (tenancy, [city, town]) = db.with_tenants(["city", "town"]).await;
    let actor = Actor { name: "abu".to_owned(), request_id: Some("r-1".to_owned()) };
    let acting = tenancy.acting_as(actor);
    let created = acting.key_create(new_key(Some("city"))).await.unwrap();
    acting.key_revoke(&created.info.prefix).await.unwrap();
    acting.key_revoke(&created.info.prefix).await.unwrap();
    for _ in 0..100 {
        acting.record_refusal(city.id(), Some((town.id(), town.slug().clone())));
    }
    let entries = "SELECT action || ' ' || slug || ' ' || actor || ' ' || request_id
         FROM registry.audit WHERE action LIKE 'key%' ORDER BY at, id";
    let plain = db.plain().await;
    eventually("the refusal is recorded", async || texts(&plain, entries).await.len() >= 3).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let wanted =
        ["key_created city abu r-1", "key_revoked city abu r-1", "key_refused town abu r-1"];
    assert_eq!(texts(&plain, entries).await, wanted);
    // The whole key before and after, which differ by the time.
    let change = "SELECT concat_ws(' ', before->>'prefix', before->>'revoked_at' IS NULL,
             after->>'revoked_at' IS NOT NULL, before - 'revoked_at' = after - 'revoked_at')
         FROM registry.audit WHERE action = 'key_revoked'";
    assert_eq!(texts(&plain, change).await, [format!("{} t t t", created.info.prefix)]);
}

#[tokio::test]
async fn refusals_do_not_fill_the_table() {
    let db = TestDb::new().await;
    let (tenancy, [city]) = db.with_tenants(["city"]).await;
    for _ in 0..1000 {
        let other = tenantry::TenantId::generate();
        tenancy.record_refusal(city.id(), Some((other, slug("town"))));
    }
    let count = "SELECT count(*)::text FROM registry.audit WHERE action = 'key_refused'";
    let plain = db.plain().await;
    eventually("some are recorded", async || texts(&plain, count).await != ["0"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let recorded: u32 = texts(&plain, count).await[0].parse().unwrap();
    assert!((1..=100).contains(&recorded), "{recorded}");
}
