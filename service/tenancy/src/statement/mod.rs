//! Checks of a tenant's statements before they are sent: their effect on the session, and whether
//! the driver can send their values.

mod calls;
mod effect;
mod misuse;
mod values;

pub use misuse::Misuse;

pub(super) use effect::{Analyzer, Effect};
pub(super) use values::{check, encode};
