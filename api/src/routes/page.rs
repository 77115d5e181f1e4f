//! What the lists of all nouns share.

use serde::{Deserialize, Serialize};
use service::page::Page;

/// Whether the answer to a list is to say how many rows there are in all, which costs a count.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    pub(super) count: bool,
}

/// A page, and how many rows there are on all pages if that was asked for.
#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    #[serde(flatten)]
    pub(super) page: Page<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
}
