//! The statements of a tenant, looked at before they are sent: what their text does to the session,
//! and whether the driver can send their values.

mod calls;
mod effect;
mod misuse;
mod values;

pub use misuse::Misuse;

pub(super) use effect::{Analyzer, Effect};
pub(super) use values::{check, encode};
