//! Citus: what makes the product work on it, tested on plain PostgreSQL, and a suite for a real
//! cluster.
//!
//! Citus is in no package registry, so these tests use a stand-in ([`stand_in`]) where they need its
//! catalog. The real thing is tested by [`cluster`] when `CITUS_URL` is set.

mod cluster;
mod creation;
mod locks;
mod moves;
pub mod nodes_down;
mod once;
pub mod stand_in;
mod statements;
