//! `tenantry key`.

use serde_json::Value;

use super::tenantry;
use crate::support::{TestDb, process::Ran};

#[tokio::test]
async fn a_key_is_created_listed_and_revoked() {
    let db = TestDb::new().await;
    tenantry(&db, "tenant create tenant-1").exits(0);
    let create = "key create --tenant tenant-1 --scope read --scope write --name app --expires 90d";
    let ran = tenantry(&db, create).exits(0);
    // Alone, for `KEY=$(…)`.
    let key = ran.stdout.trim_end();
    assert!(key.starts_with("tnt_") && ran.stdout.lines().count() == 1, "{ran:?}");
    assert_eq!(ran.stderr, "");
    let json = tenantry(&db, "key create --operator --scope admin --name ops --json").exits(0);
    let operator: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(operator["key"].as_str().unwrap().starts_with(operator["prefix"].as_str().unwrap()));
    assert_eq!(operator["tenant"], Value::Null);

    let prefix = &key[..20];
    let list = tenantry(&db, "key list").exits(0);
    let list = list.says([prefix, "tenant-1", "read write", "active", "app", "(operator)", "ops"]);
    assert!(!list.stdout.contains(&key[21..]), "{list:?}");
    let list = tenantry(&db, "key list --tenant tenant-1 --json").exits(0);
    let listed: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!((&listed[0]["prefix"], &listed[1]), (&prefix.into(), &Value::Null));
    assert!(listed[0]["expires_at"].is_string());
    tenantry(&db, "key list --operator").exits(0).says(["ops"]);

    for _ in 0..2 {
        tenantry(&db, &format!("key revoke {prefix}")).exits(0).says(["revoked", prefix, "app"]);
    }
    tenantry(&db, "key list --tenant tenant-1").exits(0).says(["revoked"]);
    let id = operator["id"].as_str().unwrap();
    tenantry(&db, &format!("key revoke {id}")).exits(0).says(["ops"]);
}

#[tokio::test]
async fn a_whole_key_is_revoked_and_no_secret_is_repeated() {
    let db = TestDb::new().await;
    let created = tenantry(&db, "key create --operator --scope read --name ops").exits(0);
    let key = created.stdout.trim_end();
    let (prefix, secret) = (&key[..20], &key[21..]);
    // A key of another installation, one that is cut, and the secret alone.
    let other = format!("tnt_0123456789abcdef_{secret}");
    for text in [&other, &other[..60], &format!("tnt_{secret}"), secret] {
        let ran = tenantry(&db, &format!("key revoke {text}")).exits(1).complains(["key list"]);
        assert!(!ran.stderr.contains(&secret[..24]), "{ran:#?}");
    }
    let ran = tenantry(&db, &format!("key revoke {key}")).exits(0).says(["revoked", prefix]);
    assert!(!ran.stdout.contains(&secret[..24]), "{ran:#?}");
    tenantry(&db, "key list").exits(0).says([prefix, "revoked"]);
}

#[tokio::test]
async fn a_key_command_that_is_wrong_says_what_to_do() {
    let db = TestDb::new().await;
    let refused = |words: &str, code, text: &str| -> Ran {
        tenantry(&db, words).exits(code).complains([text])
    };
    refused("key create --scope read --name a", 2, "--operator");
    refused("key create --operator --name a", 2, "--scope");
    refused("key create --operator --scope all --name a", 2, "read, write, admin");
    refused("key create --operator --tenant b --scope read --name a", 2, "cannot be used with");
    refused("key create --operator --scope read --name a --expires soon", 2, "90d");
    refused("key create --operator --scope write --name a", 1, "scope write");
    refused("key create --tenant nowhere --scope read --name a", 1, "nowhere");
    refused("key revoke tnt_0123456789abcdef", 1, "key list");
    refused("key list --tenant nowhere", 1, "nowhere");
}
