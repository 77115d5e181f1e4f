//! Checks of a tenant's statements before they are sent: their effect on the session, and whether
//! the driver can send their values.

mod calls;
mod effect;
mod literal;
mod misuse;
mod qualified;
mod session_use;
mod values;
mod writes;

pub use misuse::Misuse;

pub use effect::Analysis;
pub(super) use effect::{Analyzer, Effect};
pub(super) use literal::{LiteralType, literal};
pub use qualified::QualifiedStatement;
pub(super) use session_use::{SessionUse, outside_transaction};
pub(super) use values::{check, encode};
pub(super) use writes::{LiteralUse, begins_with_write, sets_isolation_only};
