//! Findings that an allowlist suppresses.

use tenantry_migrate::drift::{Allowlist, verify_with_allowlist};

use super::*;

/// `verify --all` with a list.
fn verify_allow(db: &TestDb, list: &Value, more: &[&str]) -> Ran {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list.to_string()).unwrap();
    let path = file.path().display().to_string();
    verify_with(db, &[&["--allow", &path], more].concat())
}

const DAY: Sql = Sql {
    name: "m1_day",
    up: "CREATE TABLE people (name text, seen date NOT NULL);
         DO $$ BEGIN EXECUTE format('ALTER TABLE people ALTER seen SET DEFAULT %L',
             current_date); END $$",
    down: "DROP TABLE people",
    alone: false,
    breaking: false,
};
const PARTED: Sql = Sql {
    name: "m2_visits",
    up: "CREATE TABLE visits (id int, at date, CONSTRAINT visits_pkey PRIMARY KEY (id, at))
             PARTITION BY RANGE (at);
         CREATE INDEX visits_at_idx ON visits (at);
         CREATE TABLE notes (id int, at date,
             CONSTRAINT notes_fkey FOREIGN KEY (id, at) REFERENCES visits)",
    down: "",
    alone: false,
    breaking: false,
};

#[tokio::test]
async fn allowlist_suppresses_findings() {
    let db = TestDb::new().await;
    let migrator = sql_migrator([DAY, PARTED]);
    let tenancy = Tenancy::connect(&Config::new(db.url(), migrator.clone())).await.unwrap();
    for name in ["city", "village"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let plain = db.plain().await;
    let migrator = DynMigrator::new(migrator);
    let part = |month| {
        format!(
            "CREATE TABLE visits_2026_{month} PARTITION OF visits
                 FOR VALUES FROM ('2026-{month}-01') TO ('2026-{month}-28');
             GRANT SELECT ON visits_2026_{month} TO PUBLIC;
             CREATE INDEX visits_2026_{month}_own_idx ON visits_2026_{month} (id)"
        )
    };
    // They were made on another day than the reference.
    for schema in ["city", "village"] {
        plant(&plain, schema, "ALTER TABLE people ALTER seen SET DEFAULT '2020-02-02'").await;
    }
    plant(&plain, "city", &part("01")).await;
    plant(&plain, "village", &[part("01"), part("02")].join(";")).await;
    plant(&plain, "city", "CREATE INDEX people_name_idx ON people (name)").await;
    texts(&plain, "CREATE TABLE public.spatial (id int)").await;
    texts(&plain, "CREATE SCHEMA metabase").await;
    texts(&plain, "CREATE TABLE metabase.seaql_migrations (version text)").await;

    let entries = [
        json!({ "change": "changed", "object": "default", "name": "people.seen", "reason": "day" }),
        json!({ "change": "extra", "object": "table", "prefix": "visits_2026_", "reason": "month" }),
        json!({ "change": "extra", "object": "index", "name": "people_name_idx",
                "tenants": ["city"], "reason": "a large customer" }),
        json!({ "finding": "table_in_public", "name": "spatial", "reason": "an extension's" }),
        json!({ "finding": "schema_without_row", "name": "metabase", "reason": "a tool's" }),
    ];
    let found = async |entries: &[Value]| {
        let allowed: Allowlist = json!(entries).to_string().parse().unwrap();
        verify_with_allowlist(&plain, &migrator, &VerifyTarget::All, &allowed).await.unwrap()
    };
    let clean = found(&entries).await;
    assert!(clean.is_clean() && clean.schemas == 2, "{clean}");

    // Each is needed, and covers nothing else.
    for missing in 0..entries.len() {
        let mut others = entries.to_vec();
        others.remove(missing);
        assert!(!found(&others).await.is_clean(), "without {missing}");
    }
    plant(&plain, "village", "CREATE INDEX people_name_idx ON people (name)").await;
    let text = found(&entries).await.to_string();
    assert!(text.contains("1 tenant drifted: village\n  + index people_name_idx"), "{text}");
    plant(
        &plain,
        "village",
        "DROP INDEX people_name_idx; ALTER TABLE people ALTER seen DROP NOT NULL",
    )
    .await;
    let text = found(&entries).await.to_string();
    assert!(text.contains("drifted: village\n  ~ column people.seen"), "{text}");
    let no_default = "ALTER TABLE people ALTER seen SET NOT NULL, ALTER seen DROP DEFAULT";
    plant(&plain, "village", no_default).await;
    assert_eq!(found(&entries).await.drifted, 1);
}

#[tokio::test]
async fn reports_unused_allowlist_entries() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    texts(&plain, "CREATE TABLE public.notes (id int)").await;
    plant(&plain, "tenant_1", "CREATE TABLE extra (id int)").await;
    let list = json!([
        { "finding": "table_in_public", "table": "notes", "reason": "of the website" },
        { "finding": "table_in_public", "prefix": "tmp_", "reason": "of the loader" },
        { "change": "extra", "object": "table", "name": "extra", "reason": "of a report" },
        { "change": "missing", "object": "index", "name": "guards_position_idx", "reason": "slow" },
    ]);
    let ran = verify_allow(&db, &list, &["--all"]).exits(1);
    assert_eq!(
        ran.stdout,
        "allowed, but not found: table in public tmp_… (of the loader); remove it from the list\n\
         allowed, but not found: missing index guards_position_idx (slow); remove it from the \
         list\n2 schemas checked: 2 match, 2 allowed findings not found\n"
    );
    let ran = verify_allow(&db, &list, &["--all", "--json"]).exits(1);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        document["findings"][1],
        json!({ "finding": "unused_allowlist_entry", "entry": list[3] })
    );
    // Of some tenants it is not known whether others have it.
    verify_allow(&db, &list, &["--tenant", "tenant-1,tenant-2"]).exits(0);
    verify_allow(&db, &list, &["--schema", "tenant_1"]).exits(0);
    texts(&plain, "CREATE TABLE public.tmp_7 (id int)").await;
    plant(&plain, "tenant_2", "DROP INDEX guards_position_idx").await;
    verify_allow(&db, &list, &["--all"]).exits(0);
    verify_with(&db, &["--all"]).exits(1);
}

#[tokio::test]
async fn rejects_an_incomplete_allowlist() {
    let db = TestDb::new().await;
    for (entry, complaint) in [
        (
            json!({ "finding": "table_in_public", "name": "a" }),
            "entry 1 of the allowlist has no reason",
        ),
        (json!({ "finding": "table_in_public", "name": "a", "reason": "\t" }), "has no reason"),
        (json!({ "finding": "table_in_public", "reason": "a" }), "needs either a name or a prefix"),
        (json!({ "finding": "table_in_publik", "name": "a", "reason": "b" }), "table_in_public"),
        (json!({ "finding": "table_in_public", "nam": "a", "reason": "b" }), "unknown field"),
        (json!({ "change": "extra", "name": "a", "reason": "b" }), "has no object"),
    ] {
        let ran = verify_allow(&db, &json!([entry]), &["--all"]).exits(1);
        assert_eq!(ran.stdout, "", "{entry}");
        ran.complains([complaint]);
    }
    verify_allow(&db, &json!({}), &["--all"]).exits(1).complains(["use an array"]);
    verify_allow(&db, &json!([]), &["--all"]).exits(0);
    let ran = verify_with(&db, &["--all", "--allow", "/no/such/file"]).exits(1);
    ran.complains(["cannot read /no/such/file"]);
}
