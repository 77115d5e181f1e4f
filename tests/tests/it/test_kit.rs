//! The test kit: `tenantry::testing`.

mod mock;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, Statement,
};
use tempfile::TempDir;
use tenantry::{Config, NewTenant, Tenancy, testing::TestTenancy};
use tenantry_migrate::connect::with_database;

use crate::support::{
    abu,
    database::{connect, server},
    http_server::eventually,
    slug,
};

/// A connection to the server of a test's database.
async fn server_of(url: &str) -> DatabaseConnection {
    connect(&with_database(url, "postgres").unwrap()).await
}

async fn exists(server: &DatabaseConnection, url: &str) -> bool {
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let find = "SELECT 1 FROM pg_database WHERE datname = $1";
    let find = Statement::from_sql_and_values(DbBackend::Postgres, find, [name.into()]);
    server.query_one_raw(find).await.unwrap().is_some()
}

#[tokio::test]
async fn a_test_has_a_database_of_its_own_which_is_dropped_at_its_end() {
    let [one, two] = [(); 2].map(|()| TestTenancy::new(migration::Migrator));
    let (one, two) = tokio::join!(one, two);
    assert_ne!(one.url(), two.url());
    let acme = one.tenant("acme").await;
    abu().insert(&acme).await.unwrap();
    assert!(two.tenancy().tenant(&slug("acme")).await.is_err());
    // More than the schemas that the template has.
    for name in ["b", "c", "d"] {
        assert_eq!(one.tenant(name).await.schema().as_str(), name);
        assert!(
            entity::guard::Entity::find().all(&one.tenant(name).await).await.unwrap().is_empty()
        );
    }
    // What others create is seen.
    let second = Tenancy::connect(one.config()).await.unwrap();
    second.create(NewTenant::new(slug("of-second"))).await.unwrap();
    assert_eq!(one.tenant("of-second").await.slug().as_str(), "of-second");
    let (server, url) = (server_of(one.url()).await, one.url().to_owned());
    assert!(exists(&server, &url).await);
    drop((acme, one));
    assert!(!exists(&server, &url).await);
    assert!(exists(&server, two.url()).await);
}

#[tokio::test]
async fn the_database_of_a_test_that_panics_is_dropped() {
    let other = TestTenancy::new(migration::Migrator).await;
    let failing = tokio::spawn(async {
        let test = TestTenancy::new(migration::Migrator).await;
        assert_eq!(test.url(), "", "this fails");
    });
    let panic = failing.await.unwrap_err().into_panic();
    let text = panic.downcast_ref::<String>().unwrap();
    let url = text.split('"').nth(1).unwrap();
    assert!(!exists(&server_of(other.url()).await, url).await);
}

#[tokio::test]
async fn the_configuration_can_be_changed() {
    let test = TestTenancy::with_config(migration::Migrator, |config| Config {
        base_domain: "example.com".to_owned(),
        schema_prefix: "t_".to_owned(),
        ..config
    })
    .await;
    assert_eq!(test.tenant("acme").await.schema().as_str(), "t_acme");
    assert_eq!(test.tenant_by_host("acme.example.com").await.unwrap().slug(), &slug("acme"));
}

/// Another process with a database.
struct Process {
    child: Child,
    /// Kept open, since the child writes more.
    output: ChildStdout,
    data_dir: PathBuf,
    url: String,
}

impl Process {
    fn start(temp: &Path, database_url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "test_kit::child", "--ignored", "--nocapture"])
            .env("TMPDIR", temp)
            .env("DATABASE_URL", database_url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let lines = BufReader::new(&mut output).lines();
        let ready = lines.map(Result::unwrap).find(|line| line.contains("ready "));
        let ready = ready.unwrap();
        let (_, ready) = ready.split_once("ready ").unwrap();
        let (data_dir, url) = ready.split_once(' ').unwrap();
        Self { child, output, data_dir: data_dir.into(), url: url.to_owned() }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
#[ignore = "a process of the tests below"]
async fn child() {
    let test = TestTenancy::new(migration::Migrator).await;
    let acme = test.tenant("acme").await;
    let show = Statement::from_string(DbBackend::Postgres, "SHOW data_directory");
    let shown = acme.query_one_raw(show).await.unwrap().unwrap();
    println!("ready {} {}", shown.try_get_by_index::<String>(0).unwrap(), test.url());
    // Until the parent closes it.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A folder for the lock file, so that the server is that of one test.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    builder.permissions(mode).tempdir_in("/tmp").unwrap()
}

#[tokio::test]
async fn processes_share_a_server_that_ends_after_the_last_of_them() {
    let folder = folder();
    let start = || Process::start(folder.path(), "");
    let both = std::thread::scope(|scope| {
        [scope.spawn(start), scope.spawn(start)].map(|it| it.join().unwrap())
    });
    let [one, two] = both;
    assert_eq!(one.data_dir, two.data_dir);
    let (data_dir, url) = (one.data_dir.clone(), one.url.clone());
    let server = server_of(&url).await;
    one.kill();
    assert!(exists(&server, &url).await, "it was dropped too early");
    let three = start();
    assert_eq!(three.data_dir, data_dir);
    assert!(!exists(&server, &url).await, "the database of the killed process");
    assert!(exists(&server, &two.url).await && exists(&server, &three.url).await);
    server.close().await.unwrap();
    two.kill();
    three.kill();
    // It stays for a while, for the next run.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let four = start();
    assert_eq!(four.data_dir, data_dir);
    four.kill();
    eventually("the server ends", async || !data_dir.exists()).await;
    let five = start();
    assert_ne!(five.data_dir, data_dir);
    let data_dir = five.data_dir.clone();
    five.kill();
    eventually("the second server ends", async || !data_dir.exists()).await;
}

#[tokio::test]
async fn database_url_names_another_server() {
    let folder = folder();
    let process = Process::start(folder.path(), &server().url("postgres"));
    assert_eq!(process.data_dir, server().data_dir());
    let admin = connect(&server().url("postgres")).await;
    assert!(exists(&admin, &process.url).await);
    let url = process.url.clone();
    let Process { child, output, .. } = process;
    // Closes its input.
    assert!(child.wait_with_output().unwrap().status.success());
    drop(output);
    assert!(!exists(&admin, &url).await);
}
