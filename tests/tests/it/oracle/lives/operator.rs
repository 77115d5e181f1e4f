//! The operator of a tenant.

use std::sync::{Arc, atomic::Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    super::dice::Dice,
    life::{Life, Status},
    stage::{Answer, Stage},
};

impl Stage {
    /// Changes a tenant now and then.
    pub async fn operates(self: Arc<Self>, tenant: usize, mut dice: Dice) {
        while !self.is_over() {
            sleep(dice.millis(200..2500)).await;
            let mut life = self.tenants[tenant].write().await;
            self.changes.fetch_add(1, Ordering::Relaxed);
            match dice.below(12) {
                0 | 1 => self.moves(&mut life, "suspend", &mut dice).await,
                2 | 3 => self.moves(&mut life, "resume", &mut dice).await,
                4 => self.moves(&mut life, "archive", &mut dice).await,
                5 => self.moves(&mut life, "restore", &mut dice).await,
                6 => self.renames(&mut life, &mut dice).await,
                7 => self.makes_read_only(&mut life, &mut dice).await,
                8 => self.clones(&life, &mut dice).await,
                9 => self.exports(&life, &mut dice).await,
                10 => self.revokes(&life, &mut dice).await,
                _ => self.begins_again(&mut life, &mut dice).await,
            }
        }
    }

    /// Repeats a change of a tenant until its outcome is known.
    pub async fn change(&self, slug: &str, action: &str, body: &Value, dice: &mut Dice) -> Answer {
        let path = format!("/tenants/{slug}/{action}");
        self.persist(dice, |server| self.admin(server, Method::POST, &path).json(body)).await
    }

    /// A change of the status: done where the model allows it, else refused.
    async fn moves(&self, life: &mut Life, action: &str, dice: &mut Dice) {
        let body = match action {
            "suspend" => json!({ "reason": "a test" }),
            _ => json!({}),
        };
        let answer = self.change(&life.slug, action, &body, dice).await;
        let next = match (action, life.status) {
            (_, Status::Archived) => match action {
                "archive" => Some(Status::Archived),
                "restore" => Some(life.status_before),
                _ => None,
            },
            ("suspend", _) => Some(Status::Suspended),
            ("resume", _) => Some(Status::Active),
            ("archive", _) => Some(Status::Archived),
            // Nothing is changed.
            (_, status) => Some(status),
        };
        match (answer, next) {
            (Answer::Done(_), Some(next)) => {
                if next == Status::Archived && life.status != next {
                    life.status_before = life.status;
                }
                life.status = next;
                life.changed();
            }
            // The state is named.
            (Answer::Conflict(text), None) if text.contains(life.status.as_str()) => {}
            (answer, _) => {
                self.fault(format!("{action} of a {:?} tenant: {answer:?}", life.status));
            }
        }
    }

    /// Clients then use all slugs that the tenant has had.
    async fn renames(&self, life: &mut Life, dice: &mut Dice) {
        let new = format!("life-{}-{}", life.serial, life.aliases.len() + 1);
        let body = json!({ "slug": new, "alias": true });
        match self.change(&life.slug, "rename", &body, dice).await {
            Answer::Done(_) => life.aliases.push(std::mem::replace(&mut life.slug, new)),
            answer => self.fault(format!("{} is not renamed: {answer:?}", life.slug)),
        }
    }

    async fn makes_read_only(&self, life: &mut Life, dice: &mut Dice) {
        let wanted = !life.read_only;
        let body = json!({ "read_only": wanted });
        match self.change(&life.slug, "read-only", &body, dice).await {
            Answer::Done(_) => {
                life.read_only = wanted;
                life.changed();
            }
            answer => self.fault(format!("{} is not made read-only: {answer:?}", life.slug)),
        }
    }

    /// Drops the tenant, or archives and purges it, and creates another.
    async fn begins_again(&self, life: &mut Life, dice: &mut Dice) {
        let slug = &life.slug;
        let answer = if life.status != Status::Archived && dice.below(2) == 0 {
            self.drop_tenant(slug, dice).await
        } else {
            let archived = self.change(slug, "archive", &json!({}), dice).await;
            if !matches!(archived, Answer::Done(_)) {
                self.fault(format!("{slug} is not archived: {archived:?}"));
            }
            self.change(slug, "purge", &json!({ "force": true }), dice).await
        };
        // Missing: an attempt whose outcome was unknown has done it.
        if !matches!(answer, Answer::Done(_) | Answer::Missing) {
            self.fault(format!("{slug} is not dropped: {answer:?}"));
        }
        *life = self.create(dice).await;
    }

    pub async fn drop_tenant(&self, slug: &str, dice: &mut Dice) -> Answer {
        let path = format!("/tenants/{slug}");
        self.persist(dice, |server| self.admin(server, Method::DELETE, &path)).await
    }

    /// Makes a tenant active and writable.
    pub async fn bring_back(&self, life: &mut Life, dice: &mut Dice) {
        if life.status == Status::Archived {
            self.moves(life, "restore", dice).await;
        }
        if life.status == Status::Suspended {
            self.moves(life, "resume", dice).await;
        }
        if life.read_only {
            self.makes_read_only(life, dice).await;
        }
    }
}
