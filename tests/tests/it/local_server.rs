//! `local_postgres`: the machine's own server, its owners, and what is refused.

mod owner;
mod persistent;
mod recovery;
mod refusals;
mod support;
mod temporary;

type TestResult = Result<(), Box<dyn std::error::Error>>;
