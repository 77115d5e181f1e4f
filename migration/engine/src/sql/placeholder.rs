//! Replacement of the placeholder by a tenant's schema.
//!
//! SeaORM writes every table of a tenant as `"@tenant"."guards"`. Before a statement is sent,
//! [`qualify`] replaces the quoted identifier `"@tenant"` by the quoted schema. It follows the lexical
//! rules of PostgreSQL, so that a string, a dollar quote, a comment or a longer identifier that
//! contains the placeholder stays unchanged. Values are not part of the SQL then:
//! they are bound, or become literals afterwards ([`with_literals`](super::with_literals)).

use std::borrow::Cow;

use tenantry_registry::PLACEHOLDER;

use super::{Kind, Token, foreign, tokens};

/// The placeholder as SeaORM writes it.
const QUOTED: &str = "\"@tenant\"";

/// Replaces the placeholder by `schema` (a quoted identifier), and returns an error if the statement
/// names a schema of another tenant according to `is_other`. Calls `see` for each token.
///
/// One pass, and one allocation if there is a placeholder. Only a statement with another tenant's
/// schema as a qualifier is parsed further, because the qualifier may be a table or an alias.
///
/// # Errors
/// The name of the other tenant's schema. Names in strings are not found, as in
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
    // A name that may qualify the next one, and the last qualifier that was checked.
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
                // Rare; `UESCAPE` may follow.
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

/// [`qualify`] for SQL that may name any schema, such as that of a migration.
#[must_use]
pub fn replace_placeholder<'a>(sql: &'a str, schema: &str) -> Cow<'a, str> {
    // Cannot fail without other tenants' schemas.
    qualify(sql, schema, |_| false, |_| {}).unwrap_or(Cow::Borrowed(sql))
}

#[cfg(test)]
mod tests;
