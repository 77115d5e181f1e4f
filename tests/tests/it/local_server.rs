//! `local_postgres`: its servers, their owners, and errors.

mod owner;
mod persistent;
mod recovery;
mod refusals;
mod support;
mod temporary;

type TestResult = Result<(), Box<dyn std::error::Error>>;
