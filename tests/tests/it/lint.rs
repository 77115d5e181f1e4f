//! `migration check`: each planted unsafe migration is found, its safe twin is not.

mod allow;
mod command;
mod functions;
mod locks;
mod plan;
mod profiles;
mod recording;
mod schemas;
mod second_schema;
