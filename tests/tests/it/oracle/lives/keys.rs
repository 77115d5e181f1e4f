//! Keys that are used, revoked and used again.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::{
    super::dice::Dice,
    access::{Access, LAG},
    life::Life,
    stage::{Answer, Stage},
};

impl Stage {
    /// Id and text of a new key of a tenant. If an outcome is unknown, another one is created.
    pub async fn create_key(&self, slug: &str, dice: &mut Dice) -> (String, String) {
        let body = json!({ "tenant": slug, "name": "a test", "scopes": ["read", "write"] });
        let create = |server| self.admin(server, Method::POST, "/keys").json(&body);
        let answer = self.persist(dice, create).await;
        let record = self.record(&answer);
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        (text("id"), text("key"))
    }

    /// A revoked key is refused by both servers.
    pub async fn revokes(&self, life: &Life, dice: &mut Dice) {
        let (id, key) = self.create_key(&life.slug, dice).await;
        // Both servers have cached it, unless the tenant is not served.
        for server in 0..self.servers.len() {
            let started = Instant::now();
            let answer = self.asks(life, server, &key).await;
            let served = [Access::Served, Access::ReadOnly];
            match answer {
                Answer::Done(_) if served.iter().any(|it| life.access.allows(*it, started)) => {}
                Answer::Refused if life.access.allows(Access::Refused, started) => {}
                Answer::Unknown(_) => {}
                answer => self.fault(format!("the new key {id} is answered {answer:?}")),
            }
        }
        let path = format!("/keys/{id}");
        let revoked = self.persist(dice, |server| self.admin(server, Method::DELETE, &path)).await;
        if !matches!(revoked, Answer::Done(_) | Answer::Missing) {
            return self.fault(format!("the key {id} is not revoked: {revoked:?}"));
        }
        // The server that has revoked it refuses it at once, the other one when it has learned of it.
        let revoked = Instant::now();
        for server in 0..self.servers.len() {
            loop {
                let started = Instant::now();
                match self.asks(life, server, &key).await {
                    Answer::Unauthorized | Answer::Refused => break,
                    Answer::Unknown(_) if revoked.elapsed() < Duration::from_secs(20) => {}
                    Answer::Done(_) if started < revoked + LAG => {}
                    answer => {
                        self.fault(format!("the revoked key {id} is answered {answer:?}"));
                        break;
                    }
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn asks(&self, life: &Life, server: usize, key: &str) -> Answer {
        self.send(self.request(server, Method::GET, &life.slug, "/guards?limit=1", key)).await
    }
}
