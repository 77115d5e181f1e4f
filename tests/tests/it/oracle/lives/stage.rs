//! The servers, the tenants, and what has happened.

use std::{
    fmt,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex as AsyncMutex, RwLock},
    task::JoinSet,
    time::sleep,
};

use super::{
    super::dice::Dice,
    life::{Life, Status},
};
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::{HttpServer, TOKEN},
    process::Ran,
    route::Route,
};

/// Longer than any answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a change is repeated until its outcome is known.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
pub struct Size {
    pub tenants: usize,
    pub clients: usize,
}

/// A server that is killed and started again.
pub struct Server {
    pub process: AsyncMutex<HttpServer>,
    pub address: Mutex<SocketAddr>,
}

pub struct Stage {
    pub servers: [Server; 2],
    client: Client,
    size: Size,
    seed: u64,
    /// Clients share a tenant, the operator changes it alone.
    pub tenants: Vec<RwLock<Life>>,
    serial: AtomicUsize,
    over: AtomicBool,
    faults: Mutex<Vec<String>>,
    pub rows: AtomicUsize,
    pub changes: AtomicUsize,
    /// Requests with an unknown outcome.
    pub unknown: AtomicUsize,
    pub route: Route,
    pub db: TestDb,
}

#[derive(Debug)]
pub struct Summary {
    pub faults: Vec<String>,
    pub rows: usize,
    pub changes: usize,
    unknown: usize,
    lives: usize,
}

/// The body of an answer, which is shown as text.
#[derive(Clone)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        f.write_str(&text.chars().take(300).collect::<String>())
    }
}

/// The answer of a server.
#[expect(dead_code, reason = "the texts are for faults, which are printed with `Debug`")]
#[derive(Debug)]
pub enum Answer {
    Done(Content),
    /// There is no such row or tenant.
    Missing,
    /// The tenant is not served.
    Refused,
    ReadOnly,
    Unauthorized,
    /// 409: the tenant's state does not allow it.
    Conflict(String),
    /// It was done or not: 503, or no answer.
    Unknown(String),
    /// An answer that is always wrong.
    Wrong(String),
}

impl Stage {
    pub async fn begin(route: Route, size: Size, seed: u64) -> Arc<Self> {
        let db = TestDb::new().await;
        let servers = [(); 2].map(|()| {
            let process = launch(route.serve(&db));
            let address = Mutex::new(process.address());
            Server { process: AsyncMutex::new(process), address }
        });
        let client = Client::builder().no_proxy().timeout(TIMEOUT);
        let mut stage = Self {
            servers,
            client: client.pool_idle_timeout(Duration::from_secs(10)).build().unwrap(),
            size,
            seed,
            tenants: Vec::new(),
            serial: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            faults: Mutex::default(),
            rows: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
            unknown: AtomicUsize::new(0),
            route,
            db,
        };
        let mut dice = Dice::new(seed, 0);
        for _ in 0..size.tenants {
            let life = stage.create(&mut dice).await;
            stage.tenants.push(RwLock::new(life));
        }
        Arc::new(stage)
    }

    pub async fn run(self: Arc<Self>, time: Duration) -> Summary {
        let mut players = JoinSet::new();
        let mut number = 0;
        let mut dice = || {
            number += 1;
            Dice::new(self.seed, number)
        };
        for tenant in 0..self.size.tenants {
            for client in 0..self.size.clients {
                players.spawn(Arc::clone(&self).uses(tenant, client, dice()));
            }
            players.spawn(Arc::clone(&self).operates(tenant, dice()));
        }
        players.spawn(Arc::clone(&self).terminates(dice()));
        players.spawn(Arc::clone(&self).kills(dice()));
        sleep(time).await;
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = players.join_next().await {
            ended.unwrap();
        }
        self.look_at_all().await;
        self.route.assert_shared();
        Summary {
            faults: std::mem::take(&mut self.faults.lock().unwrap()),
            rows: self.rows.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
            unknown: self.unknown.load(Ordering::Relaxed),
            lives: self.serial.load(Ordering::Relaxed),
        }
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    /// A new tenant with a key for its clients.
    pub async fn create(&self, dice: &mut Dice) -> Life {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let slug = format!("life-{serial}");
        let body = json!({ "slug": slug });
        self.persist(dice, |server| self.admin(server, Method::POST, "/tenants").json(&body)).await;
        let path = format!("/tenants/{slug}");
        let record = self.persist(dice, |server| self.admin(server, Method::GET, &path)).await;
        let schema = self.record(&record)["schema"].as_str().unwrap_or_default().to_owned();
        let (_, key) = self.create_key(&slug, dice).await;
        Life::new(serial, slug, schema, key, self.size.clients)
    }

    /// The JSON of an answer.
    pub fn record(&self, answer: &Answer) -> Value {
        match answer {
            Answer::Done(body) => serde_json::from_slice(&body.0).unwrap_or_default(),
            other => {
                self.fault(format!("not done: {other:?}"));
                Value::Null
            }
        }
    }

    fn url(&self, server: usize) -> String {
        format!("http://{}", self.servers[server].address.lock().unwrap())
    }

    /// A request of an operator.
    pub fn admin(&self, server: usize, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/admin{path}", self.url(server));
        self.client.request(method, url).header("host", "localhost").bearer_auth(TOKEN)
    }

    /// A request of a client to one of the tenant's names.
    pub fn request(
        &self,
        server: usize,
        method: Method,
        slug: &str,
        path: &str,
        key: &str,
    ) -> RequestBuilder {
        let url = format!("{}{path}", self.url(server));
        let host = format!("{slug}.localhost");
        self.client.request(method, url).header("host", host).bearer_auth(key)
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                match response.bytes().await {
                    Ok(body) => answer(status, body.to_vec()),
                    Err(error) => Answer::Unknown(format!("{error:?}")),
                }
            }
            Err(error) if error.is_timeout() => Answer::Wrong(format!("{error:?}")),
            // A server that was killed.
            Err(error) => Answer::Unknown(format!("{error:?}")),
        };
        if let Answer::Unknown(_) = answer {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Repeats a request until its outcome is known. All changes may be repeated.
    pub async fn persist(
        &self,
        dice: &mut Dice,
        request: impl Fn(usize) -> RequestBuilder,
    ) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.send(request(dice.below(2))).await;
            match answer {
                Answer::Unknown(_) if started.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(50)).await;
                }
                answer => return answer,
            }
        }
    }

    /// Compares everything after the last change.
    async fn look_at_all(&self) {
        let mut dice = Dice::new(self.seed, u64::MAX);
        for tenant in &self.tenants {
            self.bring_back(&mut *tenant.write().await, &mut dice).await;
        }
        // Both servers run, and have learned of the last change.
        sleep(super::access::LAG).await;
        let mut wanted = vec!["public".to_owned(), "registry".to_owned()];
        let mut statuses = Vec::new();
        for tenant in &self.tenants {
            let life = tenant.read().await;
            for server in 0..self.servers.len() {
                self.compare(&life, server).await;
            }
            wanted.push(life.schema.clone());
            statuses.push(format!("{} {}", life.slug, Status::Active.as_str()));
        }
        let plain = self.db.plain().await;
        let found = schemas(&plain).await;
        wanted.sort_unstable();
        if found != wanted {
            self.fault(format!("the schemas are {found:?}, should be {wanted:?}"));
        }
        let sql = "SELECT slug || ' ' || status FROM registry.tenants WHERE status <> 'dropped'";
        let mut found = texts(&plain, sql).await;
        found.sort_unstable();
        statuses.sort_unstable();
        if found != statuses {
            self.fault(format!("the tenants are {found:?}, should be {statuses:?}"));
        }
        plain.close().await.unwrap();
        let doctor = Ran::on("tenantry", &self.db.url(), &["doctor"]);
        if doctor.code != Some(0) {
            self.fault(format!("the doctor finds: {doctor:#?}"));
        }
    }
}

/// A server that asks for keys.
pub fn launch(mut command: Command) -> HttpServer {
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_MAX_CONNECTIONS", "10");
    // Unlike the servers of other tests, this one requires keys.
    command.env("TENANTRY_ANONYMOUS", "false");
    HttpServer::launch(&mut command)
}

fn answer(status: u16, body: Vec<u8>) -> Answer {
    if (200..300).contains(&status) {
        return Answer::Done(Content(body));
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let is = |problem: &str| text.contains(&format!("problem:{problem}\""));
    match status {
        404 if is("unknown-host") => Answer::Refused,
        404 if is("not-found") || is("unknown-tenant") => Answer::Missing,
        401 => Answer::Unauthorized,
        409 => Answer::Conflict(text),
        503 if is("tenant-read-only") => Answer::ReadOnly,
        503 => Answer::Unknown(text),
        _ => Answer::Wrong(format!("{status} {text}")),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers about rows, {} changes of {} tenants, {} unknown outcomes",
            self.rows, self.changes, self.lives, self.unknown
        )
    }
}
