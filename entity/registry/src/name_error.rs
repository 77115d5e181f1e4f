use thiserror::Error;

/// An invalid slug, schema name, host name, origin, display name, tag or reason, with the rule that
/// it violates.
///
/// The message shows at most 80 characters of the input, as a Rust string literal (`{:?}`), so that
/// hostile input cannot disturb a terminal or a log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} {text:?} is refused: {rule}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    rule: String,
}

impl NameError {
    const SHOWN: usize = 80;

    pub(super) fn new(kind: &'static str, text: &str, rule: impl Into<String>) -> Self {
        let mut shown: String = text.chars().take(Self::SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { kind, text: shown, rule: rule.into() }
    }

    /// The violated rule, without the input.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}
