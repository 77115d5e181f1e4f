//! The jobs on the entities of a tenant.

pub use entity::{guard, shift};

#[path = "work.rs"]
pub mod work;
