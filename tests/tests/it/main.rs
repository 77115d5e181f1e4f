//! All integration tests: one binary, against a real PostgreSQL server of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests send SQL that the product never would")]

mod support;

mod adopt;
mod all_tenants;
mod bare_names;
mod chains;
mod coming_from;
mod commands;
mod compatibility;
mod conformance;
mod connect_options;
mod drift;
mod examples;
mod extensions;
mod fairness;
mod fleet;
mod generate;
mod guide;
mod http;
mod kill_mid_transaction;
mod large_drop;
mod lifecycle;
mod lint;
mod local_server;
mod migrate_all;
mod migrations;
mod names;
mod notifications;
mod oracle;
mod outside_schema;
mod own_users;
mod plain_axum;
mod pool;
mod poolers;
mod provision;
mod races;
mod readme;
mod recheck;
mod recording;
mod registry_ahead;
mod round_trips;
mod scale_out_rules;
mod schema_names;
mod second_application;
mod seed;
mod sessions;
mod shared;
mod sign_up;
mod spares;
mod stale_statements;
mod tenant_update;
mod test_kit;
mod version;
