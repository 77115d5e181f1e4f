//! Why there is no connection: the same words from both commands.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use crate::support::{
    TestDb,
    database::{admin, own_server},
    process::Ran,
};

/// What one of each program's commands says; both say the same.
fn cause(url: &str) -> String {
    let migration = Ran::on("migration", url, &["status"]).exits(1);
    let tenantry = Ran::on("tenantry", url, &["tenant", "list"]).exits(1);
    assert_eq!(migration.stderr, tenantry.stderr);
    assert_eq!(migration.stdout, "");
    for text in ["at line", "error returned", "SqlxError", "Connection Error", "hunter2"] {
        assert!(!migration.stderr.contains(text), "{text} in {}", migration.stderr);
    }
    migration.stderr
}

#[test]
fn reports_a_port_without_a_listener() {
    assert_eq!(
        cause("postgres://me:hunter2@127.0.0.1:1/guards"),
        "error: cannot connect to database \"guards\" at 127.0.0.1:1: connection refused. Is the \
         server running, and does it listen there?\n"
    );
}

#[test]
fn names_a_directory_without_a_socket() {
    assert_eq!(
        cause("postgres://me:hunter2@localhost/guards?host=/nonexistent/socket"),
        "error: cannot connect to database \"guards\" at /nonexistent/socket:5432: no \
         server listens there. Is the server running, and is its socket in that directory?\n"
    );
}

#[test]
fn distinguishes_another_service_from_a_stopped_server() {
    for (answer, said) in [
        (None, "no answer in time. Check host and port"),
        (Some(&b""[..]), "the connection was closed. Check that a PostgreSQL server listens"),
        (
            Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "the connection was closed. Check that a PostgreSQL server listens",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                match answer {
                    Some(answer) => {
                        let _ = stream.read(&mut [0; 64]);
                        let _ = stream.write_all(answer);
                    }
                    None => open.push(stream),
                }
            }
        });
        let said_now = cause(&format!("postgres://me:hunter2@127.0.0.1:{port}/x?sslmode=disable"));
        assert!(said_now.contains(said), "{said_now}");
        assert!(!said_now.contains("Is the server running"), "{said_now}");
    }
}

#[test]
fn defaults_to_the_database_of_the_user() {
    let said = cause("postgres://me:hunter2@127.0.0.1:1");
    assert!(said.contains("database \"me\" at 127.0.0.1:1"), "{said}");
}

#[tokio::test]
async fn reports_the_server_message_with_a_remedy() {
    let server = own_server().await;
    // Password first, so that all other connections are those of the tests.
    let file = server.data_dir().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    let rules = format!("local all asked scram-sha-256\nlocal all barred reject\n{rules}");
    std::fs::write(&file, rules).unwrap();
    let db = crate::support::database::connect(&server.url("postgres")).await;
    for sql in [
        "SELECT pg_reload_conf()",
        "CREATE ROLE asked LOGIN PASSWORD 'x'",
        "CREATE ROLE barred LOGIN",
        "CREATE ROLE single LOGIN CONNECTION LIMIT 0",
        "CREATE DATABASE closed ALLOW_CONNECTIONS false",
    ] {
        sea_orm::ConnectionTrait::execute_unprepared(&db, sql).await.unwrap();
    }
    let url = |user: &str, database: &str| {
        server.url(database).replace("postgres@", &format!("{user}:hunter2@"))
    };
    for (user, database, said, remedy) in [
        (
            "postgres",
            "nowhere",
            "database \"nowhere\" does not exist",
            "Create it, or change DATABASE_URL",
        ),
        (
            "asked",
            "postgres",
            "password authentication failed for user \"asked\"",
            "Check user and password in DATABASE_URL",
        ),
        ("barred", "postgres", "pg_hba.conf rejects connection", "Check user and password"),
        (
            "single",
            "postgres",
            "too many connections for role \"single\"",
            "Close other connections",
        ),
        ("postgres", "closed", "not currently accepting connections", "Try again in a moment"),
    ] {
        let said_now = cause(&url(user, database));
        assert!(said_now.contains(said) && said_now.contains(remedy), "{said_now}");
        assert!(!said_now.contains("Is the server running"), "{said_now}");
        assert_eq!(said_now.lines().count(), 1, "{said_now}");
    }
    drop(db);
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

/// The first connection succeeds, the one for notifications does not.
#[tokio::test]
async fn reports_a_refused_second_connection_like_the_first() {
    let db = TestDb::new().await;
    let role = format!("role_of_{}", db.name());
    admin(&format!("CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 1")).await;
    admin(&format!("ALTER ROLE {role} NOSUPERUSER")).await;
    admin(&format!("GRANT pg_read_all_data TO {role}")).await;
    let url = db.url().replace("postgres@", &format!("{role}@"));
    let ran = Ran::on("tenantry", &url, &["tenant", "list"]).exits(1);
    ran.complains(["no connection to the database: too many connections for role"]);
    crate::support::catalog::schemas(&db.plain().await).await;
    admin(&format!("REVOKE pg_read_all_data FROM {role}")).await;
    admin(&format!("DROP ROLE {role}")).await;
}
