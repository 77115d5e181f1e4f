//! The benchmarks: `./dev bench` runs all of them, `./dev bench operations http` some. Each writes
//! its section of `docs/BENCHMARKS.md` and documents environment variables that shorten it.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::duplicate_mod,
    clippy::print_stdout,
    reason = "benchmarks, with the same work on two sets of entities"
)]

mod application;
mod common;
mod contenders;
mod distributions;
mod fairness;
mod fleet;
mod growth;
mod http;
mod interleaved;
mod limit;
mod memory;
mod micro;
mod network;
mod operations;
mod prepared_statements;
mod processes;
mod settings;
mod several_processes;
mod transfer;
mod workload;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Cli {
    /// The benchmarks to run; default: all
    benchmarks: Vec<Benchmark>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// In the order of their sections.
#[derive(Clone, Copy, ValueEnum)]
enum Benchmark {
    Operations,
    Limit,
    Application,
    Settings,
    SeveralProcesses,
    Growth,
    Network,
    Http,
    Micro,
    PreparedStatements,
    Memory,
    Fairness,
    Fleet,
    Transfer,
}

#[tokio::main]
async fn main() {
    if http::is_rival() {
        return http::serve_rival().await;
    }
    if several_processes::is_worker() {
        return several_processes::work().await;
    }
    let Cli { benchmarks, .. } = Cli::parse();
    let all = Benchmark::value_variants().to_vec();
    for benchmark in if benchmarks.is_empty() { all } else { benchmarks } {
        match benchmark {
            Benchmark::Operations => operations::run().await,
            Benchmark::Limit => limit::run().await,
            Benchmark::Application => application::run().await,
            Benchmark::Settings => settings::run().await,
            Benchmark::SeveralProcesses => several_processes::run().await,
            Benchmark::Growth => growth::run().await,
            Benchmark::Network => network::run().await,
            Benchmark::Http => http::run().await,
            Benchmark::Micro => micro::run().await,
            Benchmark::PreparedStatements => prepared_statements::run().await,
            Benchmark::Memory => memory::run().await,
            Benchmark::Fairness => fairness::run().await,
            Benchmark::Fleet => fleet::run().await,
            Benchmark::Transfer => transfer::run().await,
        }
    }
}
