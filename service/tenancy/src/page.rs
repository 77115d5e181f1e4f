//! Keyset pagination: the next page begins after the last key of this one. So every page has the
//! same cost, and rows that are inserted or deleted in between do not shift the others.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The page to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PageRequest {
    /// The id after which the page begins; none for the first page. Ids are UUIDs of version 7, so
    /// they are in the order of creation, as far as the clocks of the writing processes agree. Not a
    /// feed: a row that is committed later may precede an id that was read before.
    pub after: Option<Uuid>,
    /// Number of rows, clamped to 1 to 200.
    pub limit: u64,
}

impl PageRequest {
    /// Maximum number of rows on a page.
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
    /// The `after` of the next page; `None` on the last one.
    pub next: Option<Uuid>,
}

impl<T> Page<T> {
    /// Converts each row.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// Fetches one page of `select` by the column `key`; `id` returns the key of a row.
///
/// # Errors
/// Database errors.
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
    fetch_in(db, select, (key, Order::Asc), request, id).await
}

/// The same in either order: with [`Order::Desc`], a page begins before [`PageRequest::after`].
pub(crate) async fn fetch_in<E, C>(
    db: &C,
    select: Select<E>,
    (key, order): (E::Column, Order),
    request: PageRequest,
    id: impl Fn(&E::Model) -> Uuid,
) -> Result<Page<E::Model>, DbErr>
where
    E: EntityTrait,
    E::Model: Send + Sync,
    C: ConnectionTrait,
{
    let limit = request.limit.clamp(1, PageRequest::MAX_LIMIT);
    let mut select = select.order_by(key, order.clone()).limit(limit + 1);
    if let Some(after) = request.after {
        select = select.filter(match order {
            Order::Desc => key.lt(after),
            _ => key.gt(after),
        });
    }
    // One more row shows whether there is another page.
    let mut items = select.all(db).await?;
    let more = items.len() as u64 > limit;
    items.truncate(limit as usize);
    let next = if more { items.last().map(id) } else { None };
    Ok(Page { items, next })
}
