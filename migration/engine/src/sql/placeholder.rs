//! Puts a tenant's schema in place of the placeholder in the text of a statement.
//!
//! SeaORM writes every table of a tenant as `"@tenant"."guards"`. Just before a statement is sent,
//! [`qualify`] turns the quoted identifier `"@tenant"` into the quoted schema. It follows the
//! lexical rules of PostgreSQL so that text which only looks like it – in a string, a dollar
//! quote, a comment, or as part of another identifier – is left as it is. Values are bound
//! parameters and are not part of the text at all.

use std::borrow::Cow;

use tenantry_registry::PLACEHOLDER;

use super::{Kind, Token, foreign, tokens};

/// The placeholder as SeaORM writes it.
const QUOTED: &str = "\"@tenant\"";

/// Replaces every quoted identifier that is the placeholder by `schema` (a quoted identifier), and
/// refuses a text that names the schema of another tenant: `is_other` says which names are such.
/// Every token is shown to `see`.
///
/// One pass over the text, one allocation for the result; none when there is nothing to replace.
/// Only a text that qualifies something with the name of another schema is read more closely: it
/// may be that of a table or of an alias.
///
/// # Errors
/// The name of the other tenant's schema. Names in strings are not found, such as that in
/// `nextval('tenant_1.numbers')`.
///
/// ```
/// use tenantry_migrate::sql::qualify;
///
/// let is_other = |name: &str| name == "guards";
/// let sql = r#"SELECT "guards"."id" FROM "@tenant"."guards""#;
/// let qualified = r#"SELECT "guards"."id" FROM "city"."guards""#;
/// assert_eq!(qualify(sql, "\"city\"", is_other, |_| {}).as_deref(), Ok(qualified));
/// let sql = r#"SELECT "shifts"."id" FROM "guards"."shifts""#;
/// assert_eq!(qualify(sql, "\"city\"", is_other, |_| {}), Err("guards".to_owned()));
/// ```
pub fn qualify<'a>(
    sql: &'a str,
    schema: &str,
    is_other: impl Fn(&str) -> bool,
    mut see: impl FnMut(&Token),
) -> Result<Cow<'a, str>, String> {
    debug_assert_eq!(QUOTED[1..QUOTED.len() - 1], *PLACEHOLDER);
    let mut out = String::new();
    let (mut copied, mut may_name_other) = (0, false);
    // What may qualify the next name, and the last one that does.
    let (mut before, mut seen): (Option<Token>, &str) = (None, "");
    for token in tokens(sql) {
        see(&token);
        let text = &sql[token.at.clone()];
        match token.kind {
            Kind::Quoted if text == QUOTED => {
                if copied == 0 {
                    // Room for a handful of tables; a statement with more grows once.
                    out.reserve_exact(sql.len() + 8 * schema.len());
                }
                out.push_str(&sql[copied..token.at.start]);
                out.push_str(schema);
                copied = token.at.end;
                before = None;
            }
            Kind::Word | Kind::Quoted => {
                // Rare, and what belongs to it may follow.
                may_name_other |= foreign::has_escapes(sql, &token);
                before = Some(token);
            }
            Kind::Comment => {}
            Kind::Other if text == "." => {
                let Some(name) = before.take() else { continue };
                let text = &sql[name.at.clone()];
                if text != seen && !may_name_other {
                    may_name_other = foreign::name(sql, &name).is_some_and(|name| is_other(&name));
                    seen = text;
                }
            }
            _ => before = None,
        }
    }
    if may_name_other && let Some(other) = foreign::named(sql, is_other) {
        return Err(other);
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(sql));
    }
    out.push_str(&sql[copied..]);
    Ok(Cow::Owned(out))
}

/// [`qualify`] for a text that may name any schema, such as that of a migration.
#[must_use]
pub fn replace_placeholder<'a>(sql: &'a str, schema: &str) -> Cow<'a, str> {
    // Without names of other tenants' schemas there is no error.
    qualify(sql, schema, |_| false, |_| {}).unwrap_or(Cow::Borrowed(sql))
}

#[cfg(test)]
mod tests;
