//! The jobs on the entities of a tenant.

use std::sync::LazyLock;

pub use entity::{guard, shift};

use super::shop;

/// The statements of the shop.
pub static SHOP: LazyLock<Vec<String>> = LazyLock::new(|| shop::texts(r#""@tenant"."#));

#[path = "work.rs"]
pub mod work;
