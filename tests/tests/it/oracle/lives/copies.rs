//! Copies of a tenant have its rows, and are dropped again.

use reqwest::Method;
use serde_json::json;

use super::{
    super::dice::Dice,
    life::Life,
    stage::{Answer, Stage},
};

impl Stage {
    pub async fn clones(&self, life: &Life, dice: &mut Dice) {
        let slug = format!("copy-{}", life.serial);
        let answer = self.change(&life.slug, "clone", &json!({ "slug": slug }), dice).await;
        self.compares_copy(life, &slug, answer, dice).await;
    }

    pub async fn exports(&self, life: &Life, dice: &mut Dice) {
        let path = format!("/tenants/{}/export", life.slug);
        let exported = self.persist(dice, |server| self.admin(server, Method::GET, &path)).await;
        let Answer::Done(file) = exported else {
            return self.fault(format!("{} is not exported: {exported:?}", life.slug));
        };
        let slug = format!("copy-{}", life.serial);
        let path = format!("/imports?as={slug}");
        let import = |server| {
            let request = self.admin(server, Method::POST, &path);
            request.header("content-type", "application/x-tar").body(file.0.clone())
        };
        let answer = self.persist(dice, import).await;
        self.compares_copy(life, &slug, answer, dice).await;
    }

    /// Compares the rows of a copy with the model, and drops it.
    async fn compares_copy(&self, life: &Life, slug: &str, answer: Answer, dice: &mut Dice) {
        // The slug is taken if an attempt whose outcome was unknown has succeeded.
        let taken = |text: &str| text.contains("slug-taken");
        match answer {
            Answer::Done(_) => {}
            Answer::Conflict(text) if taken(&text) => {}
            answer => return self.fault(format!("{} is not copied: {answer:?}", life.slug)),
        }
        let (_, key) = self.create_key(slug, dice).await;
        self.compare_named(life, slug, &key, dice.below(2)).await;
        let dropped = self.drop_tenant(slug, dice).await;
        if !matches!(dropped, Answer::Done(_) | Answer::Missing) {
            self.fault(format!("{slug} is not dropped: {dropped:?}"));
        }
    }
}
