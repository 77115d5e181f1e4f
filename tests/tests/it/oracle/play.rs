//! The clients that use the servers, change the tenants and stop a server from time to time.

mod lives;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use reqwest::{Client, Method, RequestBuilder};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tenantry::Tenancy;
use tokio::{task::JoinSet, time::sleep};

use super::{
    dice::Dice,
    history::{Answer, At, History, Pause, Place, Read, Span, Write},
};
use crate::support::{
    TestDb,
    catalog::schemas,
    http_server::{HttpServer, TOKEN},
    route::Route,
    slug,
};

/// Tenants that are never dropped. Each domain belongs to one of them at a time.
const CALM: [&str; 3] = ["calm-0", "calm-1", "calm-2"];
const DOMAINS: [&str; 2] = ["zero.example.org", "one.example.org"];
/// Tenants that are dropped and created again.
const CYCLED: [&str; 3] = ["cycle-0", "cycle-1", "cycle-2"];
/// The tenant that is flooded, and the number of clients.
const NOISY: &str = "noisy";
const FLOOD: usize = 24;
/// The server that is stopped from time to time; the other one never is.
const PAUSED: usize = 0;
/// Longer than any answer may take, including the time that a server is stopped.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Number of rows that are sent to a place without a pause; lists are read completely.
const MANY: usize = 1500;

pub struct Play {
    seed: u64,
    stage: Arc<Stage>,
    // Dropped in this order: the servers have connections to the database.
    route: Route,
    db: TestDb,
}

struct Stage {
    servers: [HttpServer; 2],
    client: Client,
    tenancy: Tenancy,
    started: Instant,
    history: Mutex<History>,
    over: AtomicBool,
}

impl Play {
    /// Starts the servers on this route and creates the tenants.
    pub async fn begin(route: Route, seed: u64) -> Self {
        let db = TestDb::new().await;
        let serve = || {
            let mut command = route.serve(&db);
            command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_MAX_CONNECTIONS", "10");
            HttpServer::launch(&mut command)
        };
        let client = Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            // Shorter than the idle timeout of the server.
            .pool_idle_timeout(Duration::from_secs(10))
            .build();
        let stage = Arc::new(Stage {
            servers: [serve(), serve()],
            client: client.unwrap(),
            tenancy: db.tenancy().await,
            started: Instant::now(),
            history: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let mut dice = Dice::new(seed, 0);
        for slug in CALM.iter().chain(&CYCLED).chain(&[NOISY]) {
            stage.create(slug, &mut dice).await;
        }
        for domain in DOMAINS {
            stage.lead(domain, &mut dice).await;
        }
        let rows = "INSERT INTO noisy.guards
            SELECT gen_random_uuid(), 'row ' || n, md5(n::text), now(), now()
            FROM generate_series(1, 20000) n";
        db.plain().await.execute_unprepared(rows).await.unwrap();
        Self { seed, stage, route, db }
    }

    /// Runs for this time, and until all requests have ended.
    pub async fn run(self, time: Duration) -> History {
        let Self { seed, stage, route, db } = self;
        let mut players = JoinSet::new();
        let mut number = 0;
        let mut dice = || {
            number += 1;
            Dice::new(seed, number)
        };
        for server in 0..stage.servers.len() {
            let slugs = CALM.iter().chain(&CYCLED).map(|slug| Place::Slug((*slug).to_owned()));
            let domains = DOMAINS.iter().map(|domain| Place::Domain((*domain).to_owned()));
            for place in slugs.chain(domains) {
                players.spawn(Arc::clone(&stage).uses(server, place, dice()));
            }
        }
        for slug in CYCLED {
            players.spawn(Arc::clone(&stage).cycles(slug, dice()));
        }
        for domain in DOMAINS {
            players.spawn(Arc::clone(&stage).moves(domain, dice()));
        }
        for client in 0..FLOOD {
            players.spawn(Arc::clone(&stage).floods(client % stage.servers.len()));
        }
        let longest = if time < Duration::from_secs(30) { 3000 } else { 8000 };
        players.spawn(Arc::clone(&stage).pauses(1000..longest, dice()));
        sleep(time).await;
        stage.over.store(true, Ordering::Relaxed);
        while let Some(ended) = players.join_next().await {
            ended.unwrap();
        }
        stage.look_at_all().await;
        let found = schemas(&db.plain().await).await;
        stage.tenancy.close().await;
        let mut history = std::mem::take(&mut *stage.history());
        let mut wanted = vec!["public".to_owned(), "registry".to_owned()];
        let living = history.lives.iter().filter(|life| life.dropped.is_none());
        wanted.extend(living.map(|life| life.schema.clone()));
        wanted.sort_unstable();
        if found != wanted {
            history.faults.push(format!("the schemas are {found:?}, should be {wanted:?}"));
        }
        drop(stage);
        route.assert_shared();
        history
    }
}

impl Stage {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    fn now(&self) -> At {
        self.started.elapsed()
    }

    fn since(&self, started: At) -> Span {
        Span { started, ended: self.now() }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn request(&self, server: usize, method: Method, place: &Place, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.servers[server].address());
        let host = match place {
            Place::Slug(slug) => format!("{slug}.localhost"),
            Place::Domain(domain) => domain.clone(),
        };
        self.client.request(method, url).header("host", host)
    }

    /// Writes and reads rows of a place by one server.
    async fn uses(self: Arc<Self>, server: usize, place: Place, mut dice: Dice) {
        let mut sent = 0;
        while !self.is_over() {
            if dice.below(if sent < MANY { 4 } else { 40 }) < 3 {
                self.write(server, &place).await;
                sent += 1;
            } else {
                self.read(server, &place).await;
            }
            sleep(dice.millis(10..100)).await;
        }
    }

    async fn write(&self, server: usize, place: &Place) {
        let started = self.now();
        let row = {
            let mut history = self.history();
            let span = Span { started, ended: At::MAX };
            let place = place.clone();
            history.writes.push(Write { place, server, span, answer: Answer::Unknown });
            history.writes.len() - 1
        };
        let body = json!({ "name": format!("row {row}"), "position": "Guard" });
        let request = self.request(server, Method::POST, place, "/guards").json(&body);
        let answer = match ask(request).await {
            Ok((201, _)) => Answer::Stored,
            Ok((status, text)) => refusal(status, &text),
            Err(answer) => answer,
        };
        let span = self.since(started);
        let mut history = self.history();
        history.writes[row].span = span;
        history.writes[row].answer = answer;
    }

    async fn read(&self, server: usize, place: &Place) -> bool {
        let started = self.now();
        let request = self.request(server, Method::GET, place, "/guards");
        let rows = match ask(request.header("accept", "application/x-ndjson")).await {
            Ok((200, text)) => Ok(text.lines().map(row).collect()),
            Ok((status, text)) => Err(refusal(status, &text)),
            Err(answer) => Err(answer),
        };
        let is_answered = rows.is_ok();
        let read = Read { place: place.clone(), server, span: self.since(started), rows };
        self.history().reads.push(read);
        is_answered
    }

    /// Sends slow requests without a pause.
    async fn floods(self: Arc<Self>, server: usize) {
        let place = Place::Slug(NOISY.to_owned());
        while !self.is_over() {
            let path = "/guards?count=true&search=nowhere&limit=1";
            match ask(self.request(server, Method::GET, &place, path)).await {
                Ok((200, _)) => {}
                // A shorter pause than the answer requests.
                Ok((503, _)) => sleep(Duration::from_millis(100)).await,
                answer => {
                    let fault = format!("the flood of server {server} was answered {answer:?}");
                    self.history().faults.push(fault);
                }
            }
        }
    }

    /// Stops a server from time to time.
    async fn pauses(self: Arc<Self>, length: Range<usize>, mut dice: Dice) {
        while !self.is_over() {
            sleep(dice.millis(500..2500)).await;
            let started = self.now();
            self.servers[PAUSED].signal(Signal::SIGSTOP);
            sleep(dice.millis(length.clone())).await;
            self.servers[PAUSED].signal(Signal::SIGCONT);
            self.history().pauses.push(Pause { server: PAUSED, span: self.since(started) });
        }
    }

    /// Reads every tenant and domain by both servers after the last write.
    async fn look_at_all(&self) {
        let slugs = CALM.iter().chain(&CYCLED).map(|slug| Place::Slug((*slug).to_owned()));
        let domains = DOMAINS.iter().map(|domain| Place::Domain((*domain).to_owned()));
        for place in slugs.chain(domains) {
            for server in 0..self.servers.len() {
                let started = Instant::now();
                while !self.read(server, &place).await {
                    if started.elapsed() > Duration::from_secs(20) {
                        let fault =
                            format!("{place:?} is not served by server {server} at the end");
                        self.history().faults.push(fault);
                        break;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The number in the name of a row.
fn row(line: &str) -> usize {
    let guard: Value = serde_json::from_str(line).unwrap();
    let name = guard["name"].as_str().unwrap();
    name.strip_prefix("row ").and_then(|row| row.parse().ok()).unwrap_or(usize::MAX)
}

/// Status and body, or the error.
async fn ask(request: RequestBuilder) -> Result<(u16, String), Answer> {
    let response = request.send().await.map_err(|error| Answer::Wrong(format!("{error:?}")))?;
    let status = response.status().as_u16();
    match response.text().await {
        Ok(text) => Ok((status, text)),
        Err(error) if error.is_timeout() => Err(Answer::Wrong(format!("{error:?}"))),
        // A list that fails in between is cut off.
        Err(_) => Err(Answer::Unknown),
    }
}

/// The meaning of an answer that is not a success.
fn refusal(status: u16, text: &str) -> Answer {
    let unknown = text.contains("problem:unknown-host") || text.contains("problem:unknown-tenant");
    match status {
        404 if unknown => Answer::NotFound,
        503 => Answer::Unknown,
        _ => Answer::Wrong(format!("{status} {text}")),
    }
}

/// Retries until it succeeds, for a bounded time.
struct Patience(Instant);

impl Patience {
    fn new() -> Self {
        Self(Instant::now())
    }

    async fn wait(&self, error: &tenantry::Error) {
        assert!(self.0.elapsed() < Duration::from_secs(60), "a domain cannot be changed: {error}");
        sleep(Duration::from_millis(50)).await;
    }
}
