//! Connections of the database that are terminated, and servers that are killed.

use std::sync::Arc;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use sea_orm::ConnectionTrait;
use tokio::time::sleep;

use super::{
    super::dice::Dice,
    stage::{Stage, launch},
};

/// Ends one connection of the servers, which may be in the middle of a statement.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY random() LIMIT 1";

impl Stage {
    /// Terminates a connection now and then.
    pub async fn terminates(self: Arc<Self>, mut dice: Dice) {
        let db = self.db.plain().await;
        while !self.is_over() {
            sleep(dice.millis(100..900)).await;
            // Not while a server starts, which would end it.
            let _started = join_all(self.servers.iter().map(|server| server.process.lock())).await;
            // It may hit its own pool, whose next statement then fails.
            let _ = db.execute_unprepared(TERMINATE).await;
        }
        let _ = db.close().await;
    }

    /// Kills a server now and then, and starts it again.
    pub async fn kills(self: Arc<Self>, mut dice: Dice) {
        while !self.is_over() {
            sleep(dice.millis(1500..6000)).await;
            let number = dice.below(self.servers.len());
            let server = &self.servers[number];
            let mut process = server.process.lock().await;
            if let Some(status) = process.has_ended() {
                let log = process.stderr();
                self.fault(format!("server {number} has ended by itself: {status} {log}"));
            }
            process.signal(Signal::SIGKILL);
            let command = self.route.serve(&self.db);
            *process = tokio::task::spawn_blocking(move || launch(command)).await.unwrap();
            *server.address.lock().unwrap() = process.address();
        }
    }
}
