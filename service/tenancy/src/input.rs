//! Input that is validated before it is stored.

use validator::ValidationErrors;

/// User input that is normalised and validated before it is stored.
pub trait Input {
    /// Brings the fields into the form in which they are stored, and looks at all of them. The
    /// functions that store an input call it; who wants to know beforehand may call it, too.
    ///
    /// # Errors
    /// Every field that breaks a rule, with each rule.
    fn check(&mut self) -> Result<(), ValidationErrors>;
}
