//! All integration tests: one binary, against a real PostgreSQL server of its own.

mod support;

mod commands;
mod conformance;
mod http;
mod killed;
mod lifecycle;
mod local_server;
mod names;
mod races;
mod scale_out_rules;
mod second_application;
