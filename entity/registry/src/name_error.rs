use thiserror::Error;

/// Why a text is not a slug, a schema name or a host name: the text and the rule that it broke.
///
/// The text is shown as a Rust string literal (`{:?}`), so control characters and quotes in
/// hostile input cannot disturb a terminal or a log line, and it is cut after 80 characters.
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

    /// The rule that was broken, as a sentence without the text that broke it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}
