//! The audit log: who changed what, and when.

mod entries;
mod events;
mod log;
