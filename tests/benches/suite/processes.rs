//! Time and memory of processes, as Linux reports it; NaN elsewhere.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use local_postgres::Server;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::common::pool;

/// Finds the server's processes by the `application_name` of their clients.
pub struct Memory(DatabaseConnection);

impl Memory {
    pub async fn new(server: &Server) -> Self {
        Self(pool(server, 1).await)
    }

    /// Private memory of all processes that serve clients with this name, in MiB.
    pub async fn of(&self, name: &str) -> f64 {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
        let values = [name.into()];
        let rows = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let rows = self.0.query_all_raw(rows).await.unwrap();
        let pids = rows.iter().map(|row| row.try_get_by_index::<i32>(0).unwrap());
        let private = |pid| {
            let file = format!("/proc/{pid}/smaps_rollup");
            mebibytes(&file, "Private_Clean:") + mebibytes(&file, "Private_Dirty:")
        };
        pids.map(private).sum()
    }

    /// `max_connections` of the server.
    pub async fn connections(&self) -> String {
        let sql = Statement::from_string(DbBackend::Postgres, "SHOW max_connections");
        self.0.query_one_raw(sql).await.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    pub async fn close(self) {
        self.0.close().await.unwrap();
    }
}

/// The time that a process took, and its peak memory.
pub struct Took {
    pub seconds: f64,
    pub mebibytes: f64,
}

impl Took {
    /// Runs a command to its end, which must be a success.
    pub fn by(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = f64::NAN;
        let ended = loop {
            // Gone once the process has ended.
            let found = mebibytes(&status, "VmHWM:");
            peak = if found.is_nan() { peak } else { found };
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(ended.success(), "{command:?}");
        Self { seconds: started.elapsed().as_secs_f64(), mebibytes: peak }
    }
}

/// Resident memory of this process, in MiB.
pub fn own() -> f64 {
    mebibytes("/proc/self/status", "VmRSS:")
}

fn mebibytes(file: &str, field: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = value.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |kibibytes| kibibytes / 1024.0)
}
