//! All integration tests: one binary, against a real PostgreSQL server of its own.

mod support;

mod conformance;
mod lifecycle;
mod local_server;
