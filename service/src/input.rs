//! Rules that several inputs share.

use std::borrow::Cow;

use validator::{ValidationError, ValidationErrors};

/// Maximum length of a line, in characters.
pub(crate) const MAX_CHARS: usize = 200;

/// Rule for a trimmed line: not empty, at most 200 characters, no control characters.
pub(crate) fn line(text: &str) -> Result<(), ValidationError> {
    if text.is_empty() {
        return Err(failure("required", "must not be empty"));
    }
    if text.chars().count() > MAX_CHARS {
        return Err(failure("length", "must have at most 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(failure("control", "must not contain control characters"));
    }
    Ok(())
}

/// Removes white space from both ends.
pub(crate) fn trim(text: &mut Option<String>) {
    if let Some(text) = text {
        let trimmed = text.trim();
        if trimmed.len() < text.len() {
            *text = trimmed.to_owned();
        }
    }
}

/// A violated rule, with its code and message.
pub(crate) fn failure(code: &'static str, message: &'static str) -> ValidationError {
    ValidationError::new(code).with_message(Cow::Borrowed(message))
}

/// All invalid fields on one line.
pub(crate) fn summary(errors: &ValidationErrors) -> String {
    let mut fields: Vec<String> = errors
        .field_errors()
        .into_iter()
        .flat_map(|(field, errors)| errors.iter().map(move |error| format!("{field} {error}")))
        .collect();
    fields.sort_unstable();
    fields.join("; ")
}

/// Distinguishes an absent field, which stays as it is, from `null`, an empty value that the rules
/// reject.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: serde::Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    use serde::Deserialize;
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}
