//! Values in the text of a statement, in place of its parameters.

use super::{Kind, tokens};

/// Largest text of a statement with literals, in bytes.
const MAX_STATEMENT: usize = 64 * 1024;

/// A value as a typed literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// The text from which PostgreSQL reads the value; `None` for NULL.
    pub text: Option<String>,
    /// The type, a name in `pg_catalog` without quotes.
    pub of: &'static str,
}

impl Literal {
    /// Largest text, in bytes.
    pub const MAX_TEXT: usize = 8 * 1024;
}

/// Returns the statement with literals in place of its parameters, the first for `$1`. Each is one
/// string with its type, in parentheses. The type has its schema, since one of the same name in
/// `pg_temp` would precede it.
///
/// Nothing in the quotes of a string has a meaning but their end: they are `'…'` with quotes doubled if
/// the text has no backslash, and `$$…$$` if it has one and no `$`. So the result depends neither on
/// `standard_conforming_strings` nor on the encoding of the client: in every encoding of PostgreSQL,
/// neither `'` nor `$` is a later byte of a character, as `\` is in some (CVE-2006-2314).
///
/// `None` if the parameters of the SQL are not exactly those of the literals, if a text has NUL, both a
/// backslash and `$`, or more than 8 KiB, or if the result has more than 64 KiB.
///
/// ```
/// use tenantry_migrate::sql::{Literal, with_literals};
///
/// let name = Literal { text: Some("O'Neill".to_owned()), of: "text" };
/// let sql = "SELECT 1 FROM guards WHERE name=$1 AND note <> 'no $1'";
/// let expected = "SELECT 1 FROM guards WHERE name=('O''Neill'::pg_catalog.text) AND note <> 'no $1'";
/// assert_eq!(with_literals(sql, &[name]).as_deref(), Some(expected));
/// ```
#[must_use]
pub fn with_literals(sql: &str, literals: &[Literal]) -> Option<String> {
    let mut out = String::with_capacity(sql.len() + 48 * literals.len());
    let (mut copied, mut found) = (0, vec![false; literals.len()]);
    for token in tokens(sql) {
        let text = &sql[token.at.clone()];
        let is_parameter = token.kind == Kind::Other && text.len() > 1 && text.starts_with('$');
        if !is_parameter {
            continue;
        }
        let index = text[1..].parse::<usize>().ok()?.checked_sub(1)?;
        // Where a word follows at once, versions of PostgreSQL differ in what they read.
        if sql[token.at.end..].starts_with(is_letter) {
            return None;
        }
        let literal = literals.get(index)?;
        found[index] = true;
        out.push_str(&sql[copied..token.at.start]);
        copied = token.at.end;
        out.push('(');
        match &literal.text {
            Some(text) => quote(&mut out, text)?,
            None => out.push_str("NULL"),
        }
        out.push_str("::pg_catalog.");
        out.push_str(literal.of);
        out.push(')');
        if out.len() > MAX_STATEMENT {
            return None;
        }
    }
    out.push_str(&sql[copied..]);
    (out.len() <= MAX_STATEMENT && found.iter().all(|found| *found)).then_some(out)
}

/// Whether a character may be part of a word for PostgreSQL.
fn is_letter(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}

/// Appends a text in quotes.
fn quote(out: &mut String, text: &str) -> Option<()> {
    if text.len() > Literal::MAX_TEXT || text.contains('\0') {
        return None;
    }
    if !text.contains('\\') {
        out.push('\'');
        for (index, part) in text.split('\'').enumerate() {
            if index > 0 {
                out.push_str("''");
            }
            out.push_str(part);
        }
        out.push('\'');
    } else if !text.contains('$') {
        out.push_str("$$");
        out.push_str(text);
        out.push_str("$$");
    } else {
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests;
