//! Every family of SeaORM operation through a tenant handle reads and writes only its tenant.
//!
//! All of these tests start from [`TwoTenants`]: two tenants with different rows under the same keys,
//! so that an operation in the wrong schema is detected.

mod fail_closed;
mod find;
mod interleaved;
mod nested;
mod other_schema;
mod query_results;
mod relations;
mod search_path;
mod sql;
mod streams;
mod timestamps;
mod transactions;
mod two_tenants;
mod values;
mod write;

use two_tenants::{TwoTenants, guard_id, on_day, shift_id, sqlstate};
