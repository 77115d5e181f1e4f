//! Looking after connections that nobody uses.

use std::{sync::Arc, time::Duration};

use super::{Lanes, request::Ask, slot_guard::Held};

/// How often unused connections are asked for a sign of life, so that no statement has to ask for
/// one, and nothing between here and the server takes them for abandoned.
const PERIOD: Duration = Duration::from_secs(30);

/// Looks until an unused connection is closed: ten minutes.
const PATIENCE: u32 = 20;

impl Lanes {
    /// Does so until it is aborted.
    pub(in super::super) async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.look().await;
        }
    }

    async fn look(self: &Arc<Self>) {
        // A service that only reads would not notice otherwise. What fails is tried below.
        let _ = self.registry().writes().await;
        for place in 0..self.places.len() {
            let looks = self.places[place].look();
            // Who is used now has no need of it.
            if looks > 0
                && let Some(held) = Held::if_free(self, place, Ask::UPKEEP)
            {
                held.look_after(looks >= PATIENCE).await;
                self.places[place].still_quiet(looks + 1);
            }
        }
    }
}
