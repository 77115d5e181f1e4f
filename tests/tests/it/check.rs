//! `migration check`: each planted unsafe migration is found, its safe twin is not.

mod acknowledgements;
mod command;
mod locks;
mod plan;
mod recording;
mod schemas;
