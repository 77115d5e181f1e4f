//! Puts a tenant's schema in place of the placeholder in the text of a statement.
//!
//! SeaORM writes every table of a tenant as `"@tenant"."guards"`. Just before a statement is sent,
//! [`replace`] turns the quoted identifier `"@tenant"` into the quoted schema. It follows the
//! lexical rules of PostgreSQL (manual, 4.1) so that text which only looks like it – in a string,
//! a dollar quote, a comment, or as part of another identifier – is left as it is. Values are bound
//! parameters and are not part of the text at all.

use std::borrow::Cow;

use entity::tenant::PLACEHOLDER;

/// The placeholder as SeaORM writes it.
const QUOTED: &str = "\"@tenant\"";

/// Replaces every quoted identifier that is the placeholder by `schema` (a quoted identifier).
///
/// One pass over the text, one allocation for the result; none when there is nothing to replace.
pub(crate) fn replace<'a>(sql: &'a str, schema: &str) -> Cow<'a, str> {
    debug_assert_eq!(QUOTED[1..QUOTED.len() - 1], *PLACEHOLDER);
    if !sql.contains(QUOTED) {
        return Cow::Borrowed(sql);
    }
    // Room for a handful of tables; a statement with more grows once.
    let mut out = String::with_capacity(sql.len() + 8 * schema.len());
    let (mut copied, mut at) = (0, 0);
    while at < sql.len() {
        let end = token_end(sql.as_bytes(), at);
        if &sql[at..end] == QUOTED {
            out.push_str(&sql[copied..at]);
            out.push_str(schema);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(sql);
    }
    out.push_str(&sql[copied..]);
    Cow::Owned(out)
}

/// Where the token that begins at `at` ends. A token without its closing delimiter reaches to the
/// end of the text. Always on a character boundary: every delimiter is ASCII, and a run of other
/// bytes is taken as a whole.
fn token_end(sql: &[u8], at: usize) -> usize {
    let next = sql.get(at + 1).copied();
    match sql[at] {
        b'\'' => quoted_end(sql, at, b'\''),
        b'"' => quoted_end(sql, at, b'"'),
        b'$' => dollar_end(sql, at),
        b'-' if next == Some(b'-') => line_end(sql, at),
        b'/' if next == Some(b'*') => comment_end(sql, at),
        byte if is_word(byte) => {
            let end = run_end(sql, at);
            match (&sql[at..end], sql.get(end), sql.get(end + 1)) {
                (b"e" | b"E", Some(b'\''), _) => escape_string_end(sql, end),
                // U&"…" has escapes of its own; an identifier written so is not ours.
                (b"u" | b"U", Some(b'&'), Some(b'"')) => quoted_end(sql, end + 1, b'"'),
                _ => end,
            }
        }
        _ => at + 1,
    }
}

/// A byte of a key word, name or number. A name may contain `$`, so `a$b$` opens no dollar quote.
/// Bytes from 128 are letters (manual, 4.1.1).
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn run_end(sql: &[u8], at: usize) -> usize {
    position(sql, at, |byte| !is_word(byte) && byte != b'$')
}

/// The end of `'…'` or `"…"`, in which the delimiter is written twice.
fn quoted_end(sql: &[u8], open: usize, delimiter: u8) -> usize {
    let mut at = open + 1;
    while at < sql.len() {
        if sql[at] == delimiter {
            if sql.get(at + 1) != Some(&delimiter) {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    sql.len()
}

/// The end of `E'…'`, in which a backslash protects the next byte. After a line break the string
/// may go on with another quote, under the same rule (manual, 4.1.2.1).
fn escape_string_end(sql: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < sql.len() {
        match sql[at] {
            b'\\' => at += 2,
            b'\'' if sql.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => match continuation(sql, at + 1) {
                Some(open) => at = open + 1,
                None => return at + 1,
            },
            _ => at += 1,
        }
    }
    sql.len()
}

/// The quote that continues a string: behind white space with a line break in it. Line comments
/// count as white space once a line has been broken.
fn continuation(sql: &[u8], mut at: usize) -> Option<usize> {
    let mut broken = false;
    loop {
        match sql.get(at)? {
            b'\n' | b'\r' => broken = true,
            byte if byte.is_ascii_whitespace() || *byte == 0x0b => {}
            b'-' if broken && sql.get(at + 1) == Some(&b'-') => {
                at = line_end(sql, at);
                continue;
            }
            b'\'' if broken => return Some(at),
            _ => return None,
        }
        at += 1;
    }
}

/// The end of `$tag$ … $tag$`; of a parameter `$1`; or of a lone `$`.
fn dollar_end(sql: &[u8], open: usize) -> usize {
    let tag_end = position(sql, open + 1, |byte| !is_word(byte));
    let is_tag = !sql.get(open + 1).is_some_and(u8::is_ascii_digit);
    if !is_tag || sql.get(tag_end) != Some(&b'$') {
        return tag_end;
    }
    let tag = &sql[open..=tag_end];
    let body = tag_end + 1;
    sql[body..]
        .windows(tag.len())
        .position(|window| window == tag)
        .map_or(sql.len(), |offset| body + offset + tag.len())
}

fn line_end(sql: &[u8], at: usize) -> usize {
    position(sql, at, |byte| byte == b'\n' || byte == b'\r')
}

/// The end of a block comment; these nest.
fn comment_end(sql: &[u8], open: usize) -> usize {
    let (mut at, mut depth) = (open + 2, 1);
    while at < sql.len() {
        match (sql[at], sql.get(at + 1)) {
            (b'/', Some(b'*')) => (at, depth) = (at + 2, depth + 1),
            (b'*', Some(b'/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    sql.len()
}

fn position(sql: &[u8], from: usize, stop: impl Fn(u8) -> bool) -> usize {
    sql[from..].iter().position(|byte| stop(*byte)).map_or(sql.len(), |offset| from + offset)
}

#[cfg(test)]
mod tests;
