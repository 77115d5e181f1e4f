//! `tenantry serve` on a machine with PostgreSQL installed and nothing set up.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use nix::sys::signal::Signal;

use crate::support::{
    TestDb,
    http_server::{HttpServer, eventually},
    process::{Ran, program, program_on},
    scratch::Scratch,
};

#[tokio::test]
async fn the_lines_of_the_welcome_work_as_pasted() {
    let scratch = Scratch::new();
    let (mut serving, token) = serve(&scratch).await;
    let lines: Vec<String> = curl_lines(&serving.stdout());
    assert_eq!(lines.len(), 3, "{}", serving.stdout());
    let mut said = Vec::new();
    for line in &lines {
        said.push(pasted(line).await);
    }
    assert!(said[0].contains(r#""name":"Abu","position":"Guard""#), "{said:?}");
    assert!(said[1].contains(r#"{"items":[{"id":"#) && said[1].contains("Abu"), "{said:?}");
    assert!(said[2].contains(r#""slug":"tenant-1","name":null,"schema":"tenant_1""#), "{said:?}");
    assert!(lines[2].contains(&token));

    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.ended().await.code(), Some(0));
    assert!(!scratch.data().join("postgres/postmaster.pid").exists(), "PostgreSQL still runs");
    let log = serving.stderr();
    assert!(log.contains("stopped") && !log.contains(" WARN "), "{log}");
}

#[tokio::test]
async fn data_and_token_are_still_there_at_the_next_start() {
    let scratch = Scratch::new();
    let (mut serving, token) = serve(&scratch).await;
    pasted(&curl_lines(&serving.stdout())[0]).await;
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.ended().await.code(), Some(0));
    let file = scratch.data().join("admin-token");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others can read the token");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), token);

    // It was printed when it was made, and not again: output is kept in logs.
    let (mut serving, _) = serve(&scratch).await;
    assert!(!serving.stdout().contains(&token), "{}", serving.stdout());
    assert!(serving.stdout().contains(file.to_str().unwrap()), "{}", serving.stdout());
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), token);
    let lines = curl_lines(&serving.stdout());
    let guards = pasted(&lines[1]).await;
    assert_eq!(guards.matches("Abu").count(), 1, "{guards}");
    let tenants = pasted(&lines[2]).await;
    assert_eq!(tenants.matches("\"slug\"").count(), 1, "{tenants}");
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_server_on_the_folder_is_refused_and_the_commands_work_beside_the_first() {
    let scratch = Scratch::new();
    let (mut serving, token) = serve(&scratch).await;
    let second = Ran::of(&mut scratch.tenantry(&["serve"])).exits(1);
    let folder = scratch.data().join("postgres");
    let second = second.complains(["error: ", folder.to_str().unwrap(), "tenantry"]);
    assert_eq!(second.stderr.lines().count(), 1, "{second:#?}");

    let list = Ran::of(&mut scratch.tenantry(&["tenant", "list"])).exits(0);
    list.says(["tenant-1", "tenant_1"]);
    Ran::of(&mut scratch.tenantry(&["tenant", "create", "tenant-2"])).exits(0);
    let mut migration = program("migration");
    migration.args(["status", "--all"]).env("TENANTRY_DATA_DIR", scratch.data());
    Ran::of(&mut migration).exits(0).says(["2 of 2 tenants"]);

    // None of them has taken the first one's server away.
    let tenants = pasted(&curl_lines(&serving.stdout())[2]).await;
    assert!(tenants.contains("tenant-2"), "{tenants}");
    assert!(!second.stderr.contains(&token));
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.ended().await.code(), Some(0));
    // And without it they start one of their own.
    let list = Ran::of(&mut scratch.tenantry(&["tenant", "list"])).exits(0);
    list.says(["tenant-1", "tenant-2"]);
}

#[tokio::test]
async fn a_token_that_is_given_is_not_repeated() {
    let scratch = Scratch::new();
    let mut command = scratch.tenantry(&["serve"]);
    let given = "a-token-that-was-given";
    let serving = HttpServer::launch(command.env("TENANTRY_ADMIN_TOKEN", given));
    let port = serving.address().port();
    let line =
        format!("curl http://localhost:{port}/admin/tenants -H 'authorization: Bearer {given}'");
    let said = pasted(&line).await;
    assert!(said.contains("tenant-1"), "{said}");
    assert!(!scratch.data().join("admin-token").exists());
    assert!(!serving.stdout().contains(given), "{}", serving.stdout());
}

#[tokio::test]
async fn the_operators_token_is_taken_from_a_file() {
    let scratch = Scratch::new();
    let file = scratch.path().join("operator's token");
    fs::write(&file, "a-token-from-a-file\n").unwrap();
    let file = file.to_str().unwrap();
    let serving =
        HttpServer::launch(scratch.tenantry(&["serve"]).env("TENANTRY_ADMIN_TOKEN_FILE", file));
    eventually("the welcome is complete", async || curl_lines(&serving.stdout()).len() == 3).await;
    let welcome = serving.stdout();
    assert!(!welcome.contains("a-token-from-a-file"), "{welcome}");
    let said = pasted(&curl_lines(&welcome)[2]).await;
    assert!(said.contains("tenant-1"), "{said}");
    assert!(!scratch.data().join("admin-token").exists());
    drop(serving);

    // The option wins over the variable, and a secret that is none is not repeated.
    let short = scratch.path().join("short");
    fs::write(&short, "hunter2").unwrap();
    let short = short.to_str().unwrap();
    let mut command = scratch.tenantry(&["serve", "--admin-token-file", short]);
    let ran = Ran::of(command.env("TENANTRY_ADMIN_TOKEN", "a-token-that-was-given")).exits(1);
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:#?}");
    ran.complains(["must have at least 16 characters"]);
    let mut command = scratch.tenantry(&["serve", "--admin-token-file", file]);
    let ran = Ran::of(command.args(["--admin-token", "a-token-that-was-given"])).exits(1);
    ran.complains(["TENANTRY_ADMIN_TOKEN and TENANTRY_ADMIN_TOKEN_FILE are both given"]);
}

#[tokio::test]
async fn a_taken_port_is_reported_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let scratch = Scratch::new();
    let mut command = scratch.tenantry(&["serve", "--listen", &address]);
    let ran = Ran::of(&mut command).exits(1);
    ran.complains([&format!("cannot listen on {address}"), "--listen"]);
    assert!(!scratch.data().exists(), "something was started");
}

#[tokio::test]
async fn listens_on_the_address_of_a_host_name() {
    let db = TestDb::new().await;
    let mut command = program_on("tenantry", &db.url(), &["serve", "--listen", "localhost:0"]);
    let serving = HttpServer::launch(&mut command);
    assert!(serving.address().ip().is_loopback(), "{}", serving.stdout());
    let listen = ["serve", "--listen", "nowhere.invalid:3000"];
    let ran = Ran::on("tenantry", &db.url(), &listen).exits(1);
    ran.complains(["cannot listen on nowhere.invalid:3000: ", "--listen"]);
}

#[tokio::test]
async fn serve_is_what_tenantry_does_without_a_subcommand() {
    let db = TestDb::new().await;
    let mut command = program_on("tenantry", &db.url(), &[]);
    let mut serving = HttpServer::launch(command.env("TENANTRY_LISTEN", "127.0.0.1:0"));
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.ended().await.code(), Some(0));
    Ran::on("tenantry", &db.url(), &["--listen", "nowhere"]).exits(2);
    Ran::on("tenantry", &db.url(), &["serve", "--listen", "nowhere"]).exits(2);
}

/// Serves, and waits for the whole welcome. Returns the token in it too.
async fn serve(scratch: &Scratch) -> (HttpServer, String) {
    let serving = HttpServer::launch(&mut scratch.tenantry(&["serve"]));
    let mut token = None;
    eventually("the welcome is complete", async || {
        let welcome = serving.stdout();
        let mut words = welcome.split_whitespace().skip_while(|word| *word != "token");
        token = words.nth(1).map(str::to_owned);
        curl_lines(&welcome).len() == 3
    })
    .await;
    (serving, token.unwrap())
}

fn curl_lines(welcome: &str) -> Vec<String> {
    let lines = welcome.lines().map(str::trim);
    lines.filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

/// Pastes a line into a shell and returns the answer, which is to be a success.
async fn pasted(line: &str) -> String {
    if Command::new("curl").arg("--version").output().is_ok() {
        let line = line.replacen("curl ", "curl -sS --fail-with-body --noproxy '*' ", 1);
        return Ran::of(Command::new("sh").args(["-c", &line])).exits(0).stdout;
    }
    // No `curl` on this machine: its words, as a shell takes them, for the client that is here.
    let line = line.replacen("curl ", "printf '%s\\n' ", 1);
    let words = Ran::of(Command::new("sh").args(["-c", &line])).exits(0).stdout;
    let mut words = words.lines();
    let url: reqwest::Url = words.next().unwrap().parse().unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .resolve(url.host_str().unwrap(), ([127, 0, 0, 1], 0).into())
        .build()
        .unwrap();
    let mut request = client.get(url.clone());
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        request = match (option, value.split_once(": ")) {
            ("-H", Some((name, value))) => request.header(name, value),
            ("-d", _) => client.post(url.clone()).body(value.to_owned()).headers(headers(request)),
            _ => panic!("{option} {value}"),
        };
    }
    let answer = request.send().await.unwrap().error_for_status().unwrap();
    answer.text().await.unwrap()
}

fn headers(request: reqwest::RequestBuilder) -> reqwest::header::HeaderMap {
    request.build().unwrap().headers().clone()
}
