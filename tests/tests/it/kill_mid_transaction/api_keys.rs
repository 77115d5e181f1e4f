//! A key and its entry in the audit log: both or neither, at whatever step the connection breaks.

use tenantry::{Config, KeyCheck, Tenancy};

use crate::{
    api_keys::{becomes, check, created, new_key, valid},
    support::{TestDb, catalog::texts, tcp_proxy::TcpProxy},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_or_revocation_that_is_killed_at_any_step_is_whole_or_nothing() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (other, _) = db.with_tenants(["city"]).await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    // Of every key one entry of its creation, and of every revoked one another.
    let whole = "SELECT (SELECT count(*) FROM registry.api_keys) || ' '
         || (SELECT count(*) FROM registry.audit WHERE action = 'key_created') || ' '
         || (SELECT count(*) FROM registry.api_keys WHERE revoked_at IS NOT NULL) || ' '
         || (SELECT count(*) FROM registry.audit WHERE action = 'key_revoked')";
    let assert_whole = async || {
        let counts = texts(&plain, whole).await[0].clone();
        let [keys, created, revoked, ended] = counts.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{counts}");
        };
        assert_eq!((keys, revoked), (created, ended), "{counts}");
    };
    let mut killed = 0;
    loop {
        wire.terminate_after(killed);
        let result = tenancy.key_create(new_key(Some("city"))).await;
        let armed = wire.disarm();
        assert_whole().await;
        if !armed {
            valid(&tenancy, &result.unwrap().key).await;
            break;
        }
        killed += 1;
    }
    assert!(killed > 3, "only {killed} steps were seen");
    killed = 0;
    loop {
        let created = created(&other, "city").await;
        wire.terminate_after(killed);
        let result = tenancy.key_revoke(&created.info.prefix).await;
        let armed = wire.disarm();
        assert_whole().await;
        if !armed {
            result.unwrap();
            break;
        }
        // Repeated until it succeeds.
        tenancy.key_revoke(&created.info.prefix).await.unwrap();
        assert_eq!(check(&tenancy, &created.key).await, KeyCheck::Revoked);
        becomes(&other, &created.key, &KeyCheck::Revoked).await;
        killed += 1;
    }
    assert!(killed > 3, "only {killed} steps were seen");
}
