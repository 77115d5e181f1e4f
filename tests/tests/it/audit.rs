//! The audit log: who changed what, and when.

mod entries;
