//! The clients of a tenant: each creates, reads, changes and deletes rows of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    super::dice::Dice,
    access::Access,
    life::Life,
    stage::{Answer, Stage},
};

/// Rows of one client, at most.
const MAX_ROWS: usize = 30;

/// What a client does next.
enum Job {
    Create(String),
    Rename(Uuid, String),
    Delete(Uuid),
    Show(Uuid),
    List,
}

impl Stage {
    /// Uses a tenant by both servers.
    pub async fn uses(self: Arc<Self>, tenant: usize, client: usize, mut dice: Dice) {
        let mut number = 0;
        while !self.is_over() {
            sleep(dice.millis(10..120)).await;
            let life = self.tenants[tenant].read().await;
            number += 1;
            let name = format!("{}{number}", life.prefix(client));
            let job = {
                let rows = life.rows[client].lock().unwrap();
                let any = rows.id(dice.below(rows.len().max(1)));
                match (dice.below(10), any) {
                    (0..=3, _) if rows.len() < MAX_ROWS => Job::Create(name),
                    (4..=5, Some(id)) => Job::Rename(id, name),
                    (6, Some(id)) => Job::Delete(id),
                    (7..=8, Some(id)) => Job::Show(id),
                    _ => Job::List,
                }
            };
            self.does(&life, client, dice.below(2), job, &mut dice).await;
        }
    }

    async fn does(&self, life: &Life, client: usize, server: usize, job: Job, dice: &mut Dice) {
        let names: Vec<&String> = life.aliases.iter().chain([&life.slug]).collect();
        let slug = names[dice.below(names.len())];
        let started = Instant::now();
        let row = |method, id: &Uuid| {
            self.request(server, method, slug, &format!("/guards/{id}"), &life.key)
        };
        let guards = |method| self.request(server, method, slug, "/guards", &life.key);
        let named = |name: &String| json!({ "name": name, "position": "Guard" });
        let (request, writes) = match &job {
            Job::Create(name) => (guards(Method::POST).json(&named(name)), true),
            Job::Rename(id, name) => (row(Method::PATCH, id).json(&named(name)), true),
            Job::Delete(id) => (row(Method::DELETE, id), true),
            Job::Show(id) => (row(Method::GET, id), false),
            Job::List => (guards(Method::GET).header("accept", "application/x-ndjson"), false),
        };
        let answer = self.send(request).await;
        let about = || format!("server {server} for {slug} of life {}", life.serial);
        let allows = |access| life.access.allows(access, started);
        let served = allows(Access::Served) || (!writes && allows(Access::ReadOnly));
        self.rows.fetch_add(1, Ordering::Relaxed);
        let mut rows = life.rows[client].lock().unwrap();
        match answer {
            Answer::Refused if allows(Access::Refused) => {}
            Answer::ReadOnly if writes && allows(Access::ReadOnly) => {}
            Answer::Unknown(_) => match job {
                Job::Create(name) => rows.may_exist(name),
                Job::Rename(id, name) => rows.may_be(id, Some(name)),
                Job::Delete(id) => rows.may_be(id, None),
                Job::Show(_) | Job::List => {}
            },
            Answer::Missing if served => match job {
                // A deleted row is neither changed nor found.
                Job::Rename(id, _) | Job::Delete(id) | Job::Show(id) => {
                    if !rows.found(id, None) {
                        self.fault(format!("{} has lost row {id}: {rows:?}", about()));
                    }
                }
                Job::Create(_) | Job::List => self.fault(format!("{} has no /guards", about())),
            },
            Answer::Done(body) if served => match job {
                Job::Create(name) => rows.set(guard(&body.0).0, Some(name)),
                Job::Rename(id, name) => rows.set(id, Some(name)),
                Job::Delete(id) => rows.set(id, None),
                Job::Show(id) => {
                    let (_, name) = guard(&body.0);
                    if !rows.found(id, Some(name.clone())) {
                        self.fault(format!("{} shows {name:?} as row {id}: {rows:?}", about()));
                    }
                }
                Job::List => {
                    drop(rows);
                    self.compare_list(life, &body.0, Some(client), &about());
                }
            },
            answer => {
                let writes = if writes { "a write" } else { "a read" };
                self.fault(format!("{} answers {writes}: {answer:?}, {life:?}", about()));
            }
        }
    }

    /// Compares all rows of a tenant that is served.
    pub async fn compare(&self, life: &Life, server: usize) {
        self.compare_named(life, &life.slug, &life.key, server).await;
    }

    /// Compares the rows of a tenant, or of its copy.
    pub async fn compare_named(&self, life: &Life, slug: &str, key: &str, server: usize) {
        let started = Instant::now();
        loop {
            let request = self.request(server, Method::GET, slug, "/guards", key);
            match self.send(request.header("accept", "application/x-ndjson")).await {
                Answer::Done(body) => {
                    let about = format!("server {server} for {slug}, life {},", life.serial);
                    return self.compare_list(life, &body.0, None, &about);
                }
                // Killed, or it has not learned of the tenant yet.
                Answer::Unknown(_) | Answer::Refused | Answer::Unauthorized
                    if started.elapsed() < Duration::from_secs(20) =>
                {
                    sleep(Duration::from_millis(50)).await;
                }
                answer => return self.fault(format!("{slug} is not read: {answer:?}")),
            }
        }
    }

    /// Compares a list with the rows of one client, or of all while none of them does anything.
    fn compare_list(&self, life: &Life, body: &[u8], client: Option<usize>, about: &str) {
        let mut found: Vec<BTreeMap<Uuid, String>> = vec![BTreeMap::new(); life.rows.len()];
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (id, name) = guard(line);
            match Life::owner(&name) {
                Some((serial, owner)) if serial == life.serial => {
                    found[owner].insert(id, name);
                }
                _ => self.fault(format!("{about} shows a row of another tenant: {name:?}")),
            }
        }
        for (owner, found) in found.iter().enumerate() {
            if client.is_none_or(|client| client == owner) {
                for fault in life.rows[owner].lock().unwrap().found_all(found) {
                    self.fault(format!("{about} lists {fault}"));
                }
            }
        }
    }
}

/// Id and name in a guard's JSON.
fn guard(body: &[u8]) -> (Uuid, String) {
    let guard: Value = serde_json::from_slice(body).unwrap();
    (guard["id"].as_str().unwrap().parse().unwrap(), guard["name"].as_str().unwrap().to_owned())
}
