//! Tenants that are dropped and created again, and domains that move between tenants.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    super::{
        dice::Dice,
        history::{Answer, Lead, Life},
    },
    CALM, Patience, Stage, TOKEN, ask, slug,
};

impl Stage {
    /// Repeatedly drops a tenant and creates another of the same slug.
    pub(super) async fn cycles(self: Arc<Self>, slug: &str, mut dice: Dice) {
        while !self.is_over() {
            sleep(dice.millis(200..3000)).await;
            self.end(slug, &mut dice).await;
            sleep(dice.millis(0..400)).await;
            self.create(slug, &mut dice).await;
        }
    }

    fn operator(&self, server: usize, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}/admin/tenants{path}", self.servers[server].address());
        self.client.request(method, url).header("host", "localhost").bearer_auth(TOKEN)
    }

    pub(super) async fn create(&self, slug: &str, dice: &mut Dice) {
        let started = self.now();
        let server = dice.below(2);
        let mut answer = Err(Answer::Unknown);
        for first in [true].into_iter().chain(std::iter::repeat(false)) {
            let request = self.operator(server, Method::POST, "").json(&json!({ "slug": slug }));
            answer = ask(request).await;
            match &answer {
                Ok((201, _)) => break,
                // An earlier attempt has succeeded after all.
                Ok((409, _)) if !first => {
                    answer = ask(self.operator(server, Method::GET, &format!("/{slug}"))).await;
                    break;
                }
                Ok((503, _)) | Err(Answer::Unknown) => sleep(Duration::from_millis(50)).await,
                _ => break,
            }
        }
        let record = match &answer {
            Ok((200 | 201, text)) => serde_json::from_str::<Value>(text).unwrap(),
            _ => {
                self.history().faults.push(format!("{slug} is not created: {answer:?}"));
                return;
            }
        };
        let schema = record["schema"].as_str().unwrap().to_owned();
        let created = self.since(started);
        let life = Life { slug: slug.to_owned(), schema, created, dropped: None };
        self.history().lives.push(life);
    }

    async fn end(&self, slug: &str, dice: &mut Dice) {
        let started = self.now();
        let server = dice.below(2);
        let mut first = true;
        let answer = loop {
            let path = format!("/{slug}");
            match ask(self.operator(server, Method::DELETE, &path)).await {
                Ok((503, _)) | Err(Answer::Unknown) => sleep(Duration::from_millis(50)).await,
                answer => break answer,
            }
            first = false;
        };
        let is_done = matches!(&answer, Ok((204, _))) || matches!(&answer, Ok((404, _)) if !first);
        let dropped = self.since(started);
        let mut history = self.history();
        if !is_done {
            history.faults.push(format!("{slug} is not dropped: {answer:?}"));
        }
        let mut lives = history.lives.iter_mut();
        if let Some(life) = lives.rfind(|life| life.slug == slug && life.dropped.is_none()) {
            life.dropped = Some(dropped);
        }
    }

    /// Repeatedly moves a domain from one permanent tenant to another.
    pub(super) async fn moves(self: Arc<Self>, domain: &str, mut dice: Dice) {
        while !self.is_over() {
            sleep(dice.millis(500..3000)).await;
            let started = self.now();
            let from = {
                let history = self.history();
                let lead = history.leads.iter().rev().find(|lead| lead.domain == domain).unwrap();
                history.lives[lead.life].slug.clone()
            };
            let (from, host) = (slug(&from), domain.parse().unwrap());
            let patience = Patience::new();
            while let Err(error) = self.tenancy.domain_remove(&from, &host).await {
                patience.wait(&error).await;
            }
            let removed = self.since(started);
            {
                let mut history = self.history();
                let mut leads = history.leads.iter_mut();
                let lead = leads.rfind(|lead| lead.domain == domain).unwrap();
                lead.removed = Some(removed);
            }
            sleep(dice.millis(0..200)).await;
            self.lead(domain, &mut dice).await;
        }
    }

    /// Adds an unused domain to a permanent tenant.
    pub(super) async fn lead(&self, domain: &str, dice: &mut Dice) {
        let started = self.now();
        let to = CALM[dice.below(CALM.len())];
        let (name, host) = (slug(to), domain.parse().unwrap());
        let patience = Patience::new();
        while let Err(error) = self.tenancy.domain_add(&name, &host).await {
            patience.wait(&error).await;
        }
        let added = self.since(started);
        let mut history = self.history();
        let life = history.lives.iter().position(|life| life.slug == to).unwrap();
        history.leads.push(Lead { domain: domain.to_owned(), life, added, removed: None });
    }
}
