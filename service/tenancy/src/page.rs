//! Keyset pages: the next page begins behind the last key of this one, so a page costs the same
//! however far down the list it is, and rows that come or go in between move nothing.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Which page is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PageRequest {
    /// Begin behind this id; at the start when absent. Ids are UUIDs of version 7, so the order
    /// is that of creation, as far as the clocks of all processes that write agree. Not a feed: a
    /// row that is committed later may come before an id that was read earlier.
    pub after: Option<Uuid>,
    /// Rows on a page, 1 to 200; a number outside is moved to the nearer end.
    pub limit: u64,
}

impl PageRequest {
    /// Most rows on a page.
    pub const MAX_LIMIT: u64 = 200;
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { after: None, limit: 50 }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The rows, in the order of their ids.
    pub items: Vec<T>,
    /// What to ask for as `after` to get the next page; `None` on the last one.
    pub next: Option<Uuid>,
}

impl<T> Page<T> {
    /// The same page with each row turned into something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// Runs `select` for one page by the column `key`; `id` reads the key of a row.
///
/// # Errors
/// The errors of the database.
pub async fn fetch<E, C>(
    db: &C,
    select: Select<E>,
    key: E::Column,
    request: PageRequest,
    id: impl Fn(&E::Model) -> Uuid,
) -> Result<Page<E::Model>, DbErr>
where
    E: EntityTrait,
    E::Model: Send + Sync,
    C: ConnectionTrait,
{
    let limit = request.limit.clamp(1, PageRequest::MAX_LIMIT);
    let mut select = select.order_by_asc(key).limit(limit + 1);
    if let Some(after) = request.after {
        select = select.filter(key.gt(after));
    }
    // One row more than asked for tells whether there is another page.
    let mut items = select.all(db).await?;
    let more = items.len() as u64 > limit;
    items.truncate(limit as usize);
    let next = if more { items.last().map(id) } else { None };
    Ok(Page { items, next })
}
