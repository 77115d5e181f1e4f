//! Puts a tenant's schema in place of the placeholder in the text of a statement.
//!
//! SeaORM writes every table of a tenant as `"@tenant"."guards"`. Just before a statement is sent,
//! [`replace`] turns the quoted identifier `"@tenant"` into the quoted schema. It follows the
//! lexical rules of PostgreSQL so that text which only looks like it – in a string, a dollar
//! quote, a comment, or as part of another identifier – is left as it is. Values are bound
//! parameters and are not part of the text at all.

use std::borrow::Cow;

use entity::tenant::PLACEHOLDER;

use super::{Kind, Token, tokens};

/// The placeholder as SeaORM writes it.
const QUOTED: &str = "\"@tenant\"";

/// Replaces every quoted identifier that is the placeholder by `schema` (a quoted identifier), and
/// shows `see` every token of `sql`.
///
/// One pass over the text, one allocation for the result; none when there is nothing to replace.
///
/// ```
/// let sql = r#"SELECT '"@tenant"' FROM "@tenant"."guards""#;
/// let replaced = migration::sql::replace_placeholder(sql, "\"city\"", |_| {});
/// assert_eq!(replaced, r#"SELECT '"@tenant"' FROM "city"."guards""#);
/// ```
#[must_use]
pub fn replace<'a>(sql: &'a str, schema: &str, mut see: impl FnMut(&Token)) -> Cow<'a, str> {
    debug_assert_eq!(QUOTED[1..QUOTED.len() - 1], *PLACEHOLDER);
    let mut out = String::new();
    let mut copied = 0;
    for token in tokens(sql) {
        see(&token);
        if token.kind == Kind::Quoted && &sql[token.at.clone()] == QUOTED {
            if copied == 0 {
                // Room for a handful of tables; a statement with more grows once.
                out.reserve_exact(sql.len() + 8 * schema.len());
            }
            out.push_str(&sql[copied..token.at.start]);
            out.push_str(schema);
            copied = token.at.end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(sql);
    }
    out.push_str(&sql[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
