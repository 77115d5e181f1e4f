//! A database that cannot be had: reported in one line, without the password.

use crate::support::{TestDb, process::Ran};

const COMMANDS: [(&str, &[&str]); 4] = [
    ("migration", &["up", "--all"]),
    ("migration", &["status", "--registry"]),
    ("tenantry", &["tenant", "list"]),
    ("tenantry", &["serve"]),
];

#[tokio::test]
async fn reports_an_unreachable_server_without_the_password() {
    let url = "postgres://me:hunter2@localhost/guards?host=/nonexistent/socket";
    for (program, arguments) in COMMANDS {
        let ran = Ran::on(program, url, arguments).exits(1);
        one_line(&ran, ["\"guards\"", "/nonexistent/socket"]);
    }
}

#[tokio::test]
async fn reports_a_port_without_a_listener_and_without_the_password() {
    // Port 1 has no listener, and only root can open it.
    let url = "postgres://me:hunter2@127.0.0.1:1/guards";
    // At the same time, for each tries again for a while before it gives up.
    std::thread::scope(|scope| {
        for (program, arguments) in [COMMANDS[0], COMMANDS[2]] {
            scope.spawn(move || {
                let ran = Ran::on(program, url, arguments).exits(1);
                one_line(&ran, ["\"guards\"", "127.0.0.1:1"]);
            });
        }
    });
}

#[tokio::test]
async fn reports_a_missing_database_without_the_password() {
    let db = TestDb::new().await;
    let url = db.url().replace("postgres@", "postgres:hunter2@");
    let (server, options) = url.rsplit_once('/').unwrap();
    let (_, options) = options.split_once('?').unwrap();
    for (program, arguments) in COMMANDS {
        let ran = Ran::on(program, &format!("{server}/no-guards?{options}"), arguments).exits(1);
        one_line(&ran, ["\"no-guards\"", "does not exist"]);
    }
    // Something for the statement log.
    db.plain().await.ping().await.unwrap();
    crate::support::catalog::schemas(&db.plain().await).await;
}

#[tokio::test]
async fn does_not_print_an_invalid_url() {
    for url in [
        "hunter2",
        "mysql://me:hunter2@localhost/guards",
        "postgres:me:hunter2@localhost",
        "postgres://me:hunter2@localhost:port/guards",
        "postgres://me:hunter2@[::1/guards",
        " postgres://me:hunter2@localhost/guards",
    ] {
        for (program, arguments) in COMMANDS {
            let ran = Ran::on(program, url, arguments).exits(1);
            one_line(
                &ran,
                ["DATABASE_URL is not a PostgreSQL URL", "postgres://user:password@host:port/name"],
            );
        }
    }
}

/// Expects one line with these texts, and no secret anywhere.
#[track_caller]
fn one_line(ran: &Ran, texts: [&str; 2]) {
    for text in texts {
        assert!(ran.stderr.contains(text), "no {text:?} in {ran:#?}");
    }
    assert!(ran.stderr.starts_with("error: "), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:#?}");
    assert_eq!(ran.stdout, "");
}
