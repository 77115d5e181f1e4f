use sea_orm::ConnectionTrait;
use tenantry::{
    CloneOptions, ExportOptions, ImportOptions, Limits, OnProgress, TenantUpdate, TransferProgress,
};
use tenantry_migrate::{
    DynMigrator,
    drift::{VerifyTarget, verify},
};

use super::{Wide, contents, export, import};
use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{Sql, sql_migrator},
};

/// Asserts that the schema has the rows of `tenant-1`, and the structure of the migrations.
async fn assert_equal(wide: &Wide, copy: &str) {
    assert_eq!(contents(&wide.plain, copy).await, contents(&wide.plain, "tenant_1").await);
    let migrator = DynMigrator::new(sql_migrator([super::WIDE]));
    let found = verify(&wide.plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
    // Not compared by verify.
    let comment = format!(
        "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
         WHERE conname = 'heads_team_fkey' AND connamespace = '{copy}'::regnamespace"
    );
    assert_eq!(texts(&wide.plain, &comment).await, ["it's a cycle"]);
    let triggers = format!(
        "SELECT tgname || tgenabled::text FROM pg_trigger WHERE tgrelid = '{copy}.log'::regclass ORDER BY 1"
    );
    assert_eq!(texts(&wide.plain, &triggers).await, ["alwaysA", "firesO", "neverD"]);
    let relation =
        format!("SELECT relation::oid::regclass::text FROM {copy}.wide WHERE relation IS NOT NULL");
    assert_eq!(texts(&wide.plain, &relation).await, [format!("{copy}.empty")]);
    // The next values are not those of rows.
    let insert =
        format!(r#"INSERT INTO {copy}."Odd ""name"", with; all" ("a ""b""") VALUES ('c')"#);
    wide.plain.execute_unprepared(&insert).await.unwrap();
    let next = format!("SELECT nextval('{copy}.tickets')::text");
    assert_eq!(texts(&wide.plain, &next).await, ["114"]);
    // Statistics are there.
    let analyzed =
        format!("SELECT reltuples::text FROM pg_class WHERE oid = '{copy}.wide'::regclass");
    assert_eq!(texts(&wide.plain, &analyzed).await, ["3002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_has_the_rows_of_the_export_in_every_type() {
    let wide = Wide::new().await;
    let mut archive = Vec::new();
    let exported = wide
        .tenancy
        .export(&slug("tenant-1"), &mut archive, &ExportOptions::default())
        .await
        .unwrap();
    assert_eq!(exported.cycles, [["heads", "teams"]]);
    assert_eq!((exported.tables, exported.rows), (12, 3576));
    let imported = import(&wide.tenancy, &archive, "tenant-2").await.unwrap();
    assert_eq!((imported.tables, imported.rows), (12, 3576));
    assert_eq!(imported.bytes, exported.bytes);
    assert_eq!(imported.migrated, Vec::<String>::new());
    assert_equal(&wide, "tenant_2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_has_the_rows_of_its_source_and_a_structure_has_none() {
    let wide = Wide::new().await;
    let (source, clone, empty) = (slug("tenant-1"), slug("tenant-2"), slug("tenant-3"));
    let options = CloneOptions::default();
    let cloned = wide.tenancy.clone_tenant(&source, &clone, &options).await.unwrap();
    assert_eq!((cloned.tables, cloned.rows), (12, 3576));
    assert_equal(&wide, "tenant_2").await;
    let options = CloneOptions { structure_only: true, ..Default::default() };
    let cloned = wide.tenancy.clone_tenant(&source, &empty, &options).await.unwrap();
    assert_eq!(cloned.rows, 0);
    let rows = "SELECT count(*)::text FROM tenant_3.wide";
    assert_eq!(texts(&wide.plain, rows).await, ["0"]);
    // As in a tenant that was created: the rows that migrations insert are there.
    let rows = "SELECT count(*)::text FROM tenant_3.countries";
    assert_eq!(texts(&wide.plain, rows).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_name_tags_metadata_limits_and_settings_but_no_domain() {
    let wide = Wide::new().await;
    let (tenancy, source) = (&wide.tenancy, slug("tenant-1"));
    let metadata = serde_json::from_str(r#"{"plan": {"seats": [1, 2.5, "ü"]}}"#).unwrap();
    let change = TenantUpdate::new()
        .name(Some("Acme, Ltd".parse().unwrap()))
        .tags(vec!["eu".parse().unwrap(), "canary".parse().unwrap()])
        .metadata(metadata)
        .max_body_bytes(5000.try_into().ok())
        .cors_origins(vec!["https://app.example.org".parse().unwrap()]);
    tenancy.update(&source, change).await.unwrap();
    let limits = Limits { max_connections: 3.try_into().ok(), max_waiting: Some(7) };
    tenancy.limit(&source, limits).await.unwrap();
    let domain = "guards.example.org".parse().unwrap();
    tenancy.domain_add(&source, &domain).await.unwrap();
    // Operators need copies of tenants that cannot be used.
    for status in ["suspended", "archived"] {
        let set =
            format!("UPDATE registry.tenants SET status = '{status}' WHERE slug = 'tenant-1'");
        wide.plain.execute_unprepared(&set).await.unwrap();
        let archive = export(tenancy).await;
        let (imported, cloned) = (format!("imported-{status}"), format!("cloned-{status}"));
        import(tenancy, &archive, &imported).await.unwrap();
        tenancy.clone_tenant(&source, &slug(&cloned), &CloneOptions::default()).await.unwrap();
        let original = tenancy.get(&source).await.unwrap().unwrap();
        for copy in [imported, cloned] {
            let copy = tenancy.get(&slug(&copy)).await.unwrap().unwrap();
            assert_eq!((&copy.name, &copy.tags), (&original.name, &original.tags));
            assert_eq!(copy.metadata, original.metadata);
            assert_eq!((copy.max_connections, copy.max_waiting), (3.try_into().ok(), Some(7)));
            assert_eq!(copy.max_body_bytes, 5000.try_into().ok());
            assert_eq!((copy.cors_origins.len(), &copy.cors_origins), (1, &original.cors_origins));
            assert_eq!((copy.status, copy.domains), ("active", Vec::new()));
        }
    }
    let options = ImportOptions { domains: true, slug: Some(slug("other")), ..Default::default() };
    let archive = export(tenancy).await;
    let taken = tenancy.import(&*archive, &options).await.unwrap_err();
    assert!(taken.to_string().contains("guards.example.org"), "{taken}");
    tenancy.domain_remove(&source, &domain).await.unwrap();
    let imported = tenancy.import(&*archive, &options).await.unwrap();
    assert_eq!(imported.tenant.domains, [domain]);
    // Everything is recorded.
    let recorded = "SELECT concat_ws(' ', action, slug, before->>'slug') FROM registry.audit
                    WHERE action IN ('exported', 'imported', 'cloned') ORDER BY id LIMIT 4";
    assert_eq!(
        texts(&wide.plain, recorded).await,
        [
            "exported tenant-1",
            "imported imported-suspended tenant-1",
            "exported tenant-1",
            "cloned cloned-suspended tenant-1"
        ]
    );
    // Without another slug, it is that of the exported tenant.
    tenancy.purge(&source, true).await.unwrap();
    let imported = tenancy.import(&*archive, &ImportOptions::default()).await.unwrap();
    assert_eq!((imported.tenant.slug, imported.tenant.schema.as_str()), (source, "tenant_1_2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_copies_whose_rows_are_read_are_recorded_as_exports() {
    let wide = Wide::new().await;
    let (tenancy, source) = (&wide.tenancy, slug("tenant-1"));
    let clone = async |structure_only| {
        let options = CloneOptions { structure_only, ..Default::default() };
        tenancy.clone_tenant(&source, &slug("tenant-2"), &options).await
    };
    clone(true).await.unwrap();
    let set = async |sql: &str| wide.plain.execute_unprepared(sql).await.unwrap();
    set("INSERT INTO tenant_1.seaql_migrations (version, applied_at) VALUES ('m9', 0)").await;
    clone(false).await.unwrap_err();
    set("UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'tenant-1'").await;
    tenancy.export(&source, Vec::new(), &ExportOptions::default()).await.unwrap_err();
    let recorded = "SELECT action FROM registry.audit ORDER BY id";
    assert_eq!(texts(&wide.plain, recorded).await, ["created", "cloned"]);
}

/// Defaults of the server that change what text means.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_same_whatever_the_settings_of_the_server() {
    const ODD: Sql = Sql {
        name: "m1_odd",
        up: "CREATE TABLE odd (list text[], at timestamptz, span interval, data bytea, part xml)",
        ..super::WIDE
    };
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = super::tenancy(&db, sql_migrator([ODD])).await;
    let rows = r#"INSERT INTO odd VALUES ('{NULL,"NULL"}', now(), '-1 day', '\x00ff')"#;
    super::create_filled(&tenancy, &plain, rows).await;
    // Some servers are built without XML.
    let part = "UPDATE tenant_1.odd SET part = xmlparse(content 'no element')";
    let _ = plain.execute_unprepared(part).await;
    for setting in [
        "array_nulls = off",
        "xmloption = document",
        "IntervalStyle = sql_standard",
        "DateStyle = 'SQL, DMY'",
        "bytea_output = escape",
    ] {
        let set = format!("ALTER DATABASE \"{}\" SET {setting}", db.name());
        plain.execute_unprepared(&set).await.unwrap();
    }
    // New connections, which have them.
    let plain = db.plain().await;
    let tenancy = super::tenancy(&db, sql_migrator([ODD])).await;
    import(&tenancy, &export(&tenancy).await, "tenant-2").await.unwrap();
    let options = CloneOptions::default();
    tenancy.clone_tenant(&slug("tenant-1"), &slug("tenant-3"), &options).await.unwrap();
    for copy in ["tenant_2", "tenant_3"] {
        assert_eq!(contents(&plain, copy).await, contents(&plain, "tenant_1").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_tar_archive_whose_first_entry_is_the_manifest() {
    let wide = Wide::new().await;
    let folder = crate::support::scratch::Scratch::new();
    let file = folder.path().join("tenant-1.tar");
    std::fs::write(&file, wide.export().await).unwrap();
    let tar = |arguments: &[&str]| {
        let output =
            std::process::Command::new("tar").args(arguments).arg("-f").arg(&file).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = tar(&["-t"]);
    let entries: Vec<&str> = list.lines().collect();
    assert_eq!((entries[0], *entries.last().unwrap()), ("manifest.json", "end.json"));
    assert!(entries.iter().any(|entry| entry.ends_with("_Odd__name___with__all/000000000.copy")));
    // More than a megabyte is more than a part.
    assert_eq!(entries.iter().filter(|entry| entry.contains("_wide/")).count(), 4, "{list}");
    let manifest = tar(&["-x", "-O", "manifest.json"]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["tenant"]["slug"], "tenant-1");
    assert_eq!(manifest["migrations"], serde_json::json!(["m1_wide"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_names_each_table_and_never_goes_back() {
    let wide = Wide::new().await;
    let seen = std::sync::Arc::<std::sync::Mutex<Vec<(String, usize, u64)>>>::default();
    let heard = std::sync::Arc::clone(&seen);
    let progress = OnProgress::new(move |progress: TransferProgress<'_>| {
        assert_eq!(progress.tables, 12);
        let at = (progress.table.to_owned(), progress.tables_done, progress.bytes);
        heard.lock().unwrap().push(at);
    });
    let mut archive = Vec::new();
    let options = ExportOptions { progress };
    let done = wide.tenancy.export(&slug("tenant-1"), &mut archive, &options).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.windows(2).all(|two| two[0].1 <= two[1].1 && two[0].2 <= two[1].2), "{seen:?}");
    assert_eq!(seen.last().unwrap().2, done.bytes);
    assert!(["wide", "empty", "tree"].iter().all(|name| seen.iter().any(|it| it.0 == *name)));
}
