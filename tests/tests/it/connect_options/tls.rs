//! TLS to the database. Certificate and key are those of this test, valid for 127.77.0.1 until 2126:
//! an address of the loopback network that nothing else uses.

use std::{fs, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt, os::unix::fs::chown};

use local_postgres::Server;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection};
use tenantry::{Config, NewTenant, Tenancy};

use super::text;
use crate::support::{
    database::{connect, migrate_registry},
    slug,
};

const CERTIFICATE: &[u8] = include_bytes!("server.crt");
const KEY: &[u8] = include_bytes!("server.key");

/// A server with TLS on 127.77.0.1, and a connection to it.
async fn server() -> (Server, DatabaseConnection) {
    let start = || Server::temporary(&[("listen_addresses", "127.77.0.1")]).unwrap();
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let owner = fs::metadata(server.data_dir()).unwrap();
    for (name, content) in [("server.crt", CERTIFICATE), ("server.key", KEY)] {
        let path = server.data_dir().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    migrate_registry(&server.url("postgres")).await;
    let plain = connect(&server.url("postgres")).await;
    plain.execute_unprepared("ALTER SYSTEM SET ssl = on").await.unwrap();
    plain.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
    (server, plain)
}

#[tokio::test]
async fn the_certificate_of_the_server_is_checked_against_that_of_the_options() {
    let (server, plain) = server().await;
    let url = "postgres://postgres@127.77.0.1:5432/postgres?sslmode=verify-full";
    let error = Tenancy::connect(&Config::new(url, migration::Migrator)).await.unwrap_err();
    assert_eq!(error.cause(), Some(tenantry_migrate::connect::Cause::Tls), "{error}");
    let mut options = ConnectOptions::new(url);
    options.map_sqlx_postgres_opts(|driver| driver.ssl_root_cert_from_pem(CERTIFICATE.to_vec()));
    let tenancy = Tenancy::connect(&Config::new(options, migration::Migrator)).await.unwrap();
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    let own = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(text(&tenant, own).await, "true");
    // Also those that listen and read the registry.
    let without = "SELECT count(*)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE NOT ssl AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND client_addr IS NOT NULL";
    assert_eq!(text(&plain, without).await, "0");
    tenancy.close().await;
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}
