//! One of the processes: this program, started again.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{self, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::contenders::{handle, job::Named, raw_prepared, set_local, setup::tenancy};
use crate::distributions::{Distribution, warm};
use crate::interleaved::{number, rate};
use crate::workload::Workload;

pub const CONNECTIONS: u32 = 50;
pub const CLIENTS: usize = 50;
pub const LENGTH: Duration = Duration::from_secs(2);

/// Environment variable that makes this program a worker; the name of its contender.
const RIVAL: &str = "WORKER";
/// Environment variables with the number of the worker and the URL of its database.
const NUMBER: &str = "WORKER_NUMBER";
const URL: &str = "WORKER_DATABASE_URL";

#[derive(Clone, Copy)]
pub enum Rival {
    Raw,
    Handle,
    SetLocal,
}

impl Rival {
    pub const ALL: [Self; 3] = [Self::Raw, Self::Handle, Self::SetLocal];

    /// The `application_name` of its connections.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw_prepared",
            Self::Handle => "handle",
            Self::SetLocal => "set_local",
        }
    }
}

pub fn tenants() -> usize {
    number("TENANTS", 10_000)
}

pub fn passes() -> usize {
    number("WARM", 1)
}

/// A process that ends when it is dropped.
pub struct Worker {
    child: process::Child,
    lines: BufReader<process::ChildStdout>,
}

impl Worker {
    pub fn start(rival: Rival, process: usize, url: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(RIVAL, rival.name()).env(NUMBER, process.to_string()).env(URL, url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until the worker has been in every tenant.
    pub fn ready(&mut self) {
        assert_eq!(self.line(), "ready");
    }

    pub fn begin(&mut self, distribution: Distribution) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", distribution.name()).unwrap();
    }

    /// Waits for the end; returns reads per second.
    pub fn rate(&mut self) -> f64 {
        self.line().parse().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // At the end of its input, the worker closes its connections and ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Whether this process is a worker.
pub fn is_worker() -> bool {
    std::env::var_os(RIVAL).is_some()
}

/// Measures as often as a line asks for it, until the end of the input.
pub async fn work() {
    let tenants: Vec<_> = (0..tenants()).map(|number| Arc::new(Named::new(number))).collect();
    let url = std::env::var(URL).unwrap();
    let name = std::env::var(RIVAL).unwrap();
    let rival = Rival::ALL.into_iter().find(|rival| rival.name() == name).unwrap();
    let (contender, tenancy) = match rival {
        Rival::Raw => (raw_prepared(&url, CONNECTIONS).await, None),
        Rival::SetLocal => (set_local(&url, CONNECTIONS).await, None),
        Rival::Handle => {
            let tenancy = tenancy(&url, "handle", CONNECTIONS).await;
            (handle(&tenancy), Some(tenancy))
        }
    };
    warm(&contender, &tenants, passes(), Workload::Reads).await;
    println!("ready");
    // The processes begin at different places of the same order.
    let first = number(NUMBER, 0) * 50_000;
    for line in io::stdin().lines() {
        let distribution = match line.unwrap().as_str() {
            "uniform" => Distribution::Uniform,
            "Zipf" => Distribution::Zipf,
            line => unreachable!("{line}"),
        };
        let work = distribution.work_from(first, &contender, &tenants, Workload::Reads);
        println!("{}", rate(&work, CLIENTS, LENGTH).await);
    }
    contender.close().await;
    if let Some(tenancy) = tenancy {
        tenancy.close().await;
    }
}
