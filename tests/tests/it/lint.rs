//! `migration check`: finds unsafe migrations, and passes their safe variants.

mod allow;
mod command;
mod functions;
mod locks;
mod plan;
mod profiles;
mod recording;
mod schemas;
mod second_schema;
