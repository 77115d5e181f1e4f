use validator::ValidationErrors;

/// User input that is normalised and validated before it is stored.
pub trait Input {
    /// Normalizes the fields and validates all of them. The functions that store an input call it; a
    /// caller may call it earlier.
    ///
    /// # Errors
    /// Every field that breaks a rule, with each rule.
    fn check(&mut self) -> Result<(), ValidationErrors>;
}
