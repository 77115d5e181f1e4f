//! Every family of SeaORM operation through a tenant handle reads and writes only its tenant.
//!
//! [`Neighbours`] is what all of these tests start from: two tenants that hold different rows
//! under the same keys, so that an operation which strays into the wrong schema is seen at once.

mod fail_closed;
mod find;
mod interleaved;
mod neighbours;
mod nested;
mod other_schema;
mod relations;
mod search_path;
mod shapes;
mod sql;
mod streams;
mod timestamps;
mod transactions;
mod values;
mod write;

use neighbours::{Neighbours, guard_id, on_day, shift_id, sqlstate};
