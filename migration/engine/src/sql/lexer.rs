//! Lexer for SQL by the rules of PostgreSQL (manual, 4.1, and `scan.l`).

use std::{borrow::Cow, ops::Range};

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string, in any quotes.
    Text,
    /// A parameter, a number, or any other single character.
    Other,
    /// A comment.
    Comment,
    /// White space.
    Space,
}

/// One token and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its kind.
    pub kind: Kind,
    /// Its bytes, with quotes. Both ends are character boundaries.
    pub at: Range<usize>,
}

/// Iterator over tokens, without white space. See [`tokens`].
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

/// Splits `sql` into tokens. A token without its closing delimiter extends to the end.
///
/// ```
/// use tenantry_migrate::sql::{Kind, tokens};
///
/// let sql = "SELECT 'it''s' -- done";
/// let kinds: Vec<Kind> = tokens(sql).map(|token| token.kind).collect();
/// assert_eq!(kinds, [Kind::Word, Kind::Text, Kind::Comment]);
/// ```
#[must_use]
pub fn tokens(sql: &str) -> Tokens<'_> {
    Tokens { sql, at: 0 }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let start = self.at;
            let (kind, end) = token(self.sql.as_bytes(), start)?;
            self.at = end;
            if kind != Kind::Space {
                return Some(Token { kind, at: start..end });
            }
        }
    }
}

impl Token {
    /// Its content: a word in lower case, as PostgreSQL folds it; a name or a string without quotes; a
    /// comment without delimiters.
    pub(crate) fn content<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        let text = &sql[self.at.clone()];
        match self.kind {
            Kind::Other | Kind::Space => text.into(),
            Kind::Word if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                text.to_ascii_lowercase().into()
            }
            Kind::Word => text.into(),
            Kind::Comment => match text.strip_prefix("/*") {
                Some(block) => block.strip_suffix("*/").unwrap_or(block).into(),
                None => text.trim_start_matches("--").into(),
            },
            Kind::Quoted => unquoted(text, '"'),
            Kind::Text => match text.strip_prefix('$').and_then(|rest| rest.find('$')) {
                Some(tag) => {
                    let body = &text[tag + 2..];
                    body.strip_suffix(&text[..tag + 2]).unwrap_or(body).into()
                }
                None => unquoted(text, '\''),
            },
        }
    }
}

/// The text between the first quote and the last. In a string with escapes, a backslash is removed
/// and the character after it is kept as it is.
fn unquoted(text: &str, quote: char) -> Cow<'_, str> {
    let open = text.find(quote).map_or(0, |open| open + 1);
    let escapes = text.starts_with(['e', 'E']);
    let inner = &text[open..];
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    if !inner.contains([quote, '\\']) {
        return inner.into();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && escapes {
            out.extend(chars.next());
        } else {
            out.push(c);
            if c == quote {
                chars.next_if_eq(&quote);
            }
        }
    }
    out.into()
}

/// Returns the kind and the end of the token that begins at `at`, which must be 0 or the end of a
/// token; `None` at the end of the text. Tokens and white space cover the whole text and end on
/// character boundaries: every delimiter is ASCII, and a run of other bytes is one token.
fn token(sql: &[u8], at: usize) -> Option<(Kind, usize)> {
    let next = sql.get(at + 1).copied();
    Some(match *sql.get(at)? {
        b'\'' => (Kind::Text, quoted_end(sql, at, b'\'')),
        b'"' => (Kind::Quoted, quoted_end(sql, at, b'"')),
        b'$' => dollar(sql, at),
        b'-' if next == Some(b'-') => (Kind::Comment, line_end(sql, at)),
        b'/' if next == Some(b'*') => (Kind::Comment, comment_end(sql, at)),
        byte if is_space(byte) => (Kind::Space, position(sql, at, |byte| !is_space(byte))),
        byte if byte.is_ascii_digit() => {
            (Kind::Other, position(sql, at, |byte| !is_word(byte) && byte != b'.'))
        }
        byte if is_word(byte) => word(sql, at),
        _ => (Kind::Other, at + 1),
    })
}

/// White space of PostgreSQL (`scan.l`, `space`). A no-break space is a letter.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// A byte of a keyword, name or number. Bytes from 128 are letters (manual, 4.1.1).
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// A name may contain `$`, so `a$b$` does not begin a dollar quote. Some words begin a string.
fn word(sql: &[u8], at: usize) -> (Kind, usize) {
    let end = position(sql, at, |byte| !is_word(byte) && byte != b'$');
    match (&sql[at..end], sql.get(end), sql.get(end + 1)) {
        (b"e" | b"E", Some(b'\''), _) => (Kind::Text, escape_string_end(sql, end)),
        (b"b" | b"B" | b"x" | b"X" | b"n" | b"N", Some(b'\''), _) => {
            (Kind::Text, quoted_end(sql, end, b'\''))
        }
        (b"u" | b"U", Some(b'&'), Some(b'\'')) => (Kind::Text, quoted_end(sql, end + 1, b'\'')),
        (b"u" | b"U", Some(b'&'), Some(b'"')) => (Kind::Quoted, quoted_end(sql, end + 1, b'"')),
        _ => (Kind::Word, end),
    }
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

/// The end of `E'…'`, in which a backslash escapes the next byte. After a line break another quote
/// continues the string, with the same rule (manual, 4.1.2.1).
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

/// The quote that continues a string, after white space with a line break. Line comments are white
/// space (`scan.l`, `whitespace_with_newline`).
fn continuation(sql: &[u8], mut at: usize) -> Option<usize> {
    let mut broken = false;
    loop {
        match sql.get(at)? {
            b'\n' | b'\r' => broken = true,
            byte if is_space(*byte) => {}
            b'-' if sql.get(at + 1) == Some(&b'-') => {
                at = line_end(sql, at);
                continue;
            }
            b'\'' if broken => return Some(at),
            _ => return None,
        }
        at += 1;
    }
}

/// `$tag$ … $tag$`, a parameter `$1`, or a lone `$`.
fn dollar(sql: &[u8], open: usize) -> (Kind, usize) {
    if sql.get(open + 1).is_some_and(u8::is_ascii_digit) {
        return (Kind::Other, position(sql, open + 1, |byte| !byte.is_ascii_digit()));
    }
    let tag_end = position(sql, open + 1, |byte| !is_word(byte));
    if sql.get(tag_end) != Some(&b'$') {
        return (Kind::Other, open + 1);
    }
    let tag = &sql[open..=tag_end];
    let body = tag_end + 1;
    let end = sql[body..]
        .windows(tag.len())
        .position(|window| window == tag)
        .map_or(sql.len(), |offset| body + offset + tag.len());
    (Kind::Text, end)
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
mod tests {
    use super::{Kind, tokens};

    fn read(sql: &str) -> Vec<(Kind, String)> {
        tokens(sql).map(|token| (token.kind, token.content(sql).into_owned())).collect()
    }

    fn one(kind: Kind, text: &str) -> Vec<(Kind, String)> {
        vec![(kind, text.to_owned())]
    }

    #[test]
    fn reads_each_kind() {
        for (sql, kind, content) in [
            ("GuArDs", Kind::Word, "guards"),
            (r#""Gu""ards""#, Kind::Quoted, "Gu\"ards"),
            ("'it''s; --'", Kind::Text, "it's; --"),
            (r"E'it\'s'", Kind::Text, "it's"),
            (r"'it\'", Kind::Text, r"it\"),
            (r#"U&"d""#, Kind::Quoted, "d"),
            ("U&'d'", Kind::Text, "d"),
            ("$$a; $b$ ;$$", Kind::Text, "a; $b$ ;"),
            ("$b$ $$ $b$", Kind::Text, " $$ "),
            ("/* a /* b */ c */", Kind::Comment, " a /* b */ c "),
            ("-- a 'b", Kind::Comment, " a 'b"),
            ("1.5e3", Kind::Other, "1.5e3"),
            ("$12", Kind::Other, "$12"),
            ("a$b$", Kind::Word, "a$b$"),
            // A no-break space is a letter.
            ("a\u{a0}b", Kind::Word, "a\u{a0}b"),
        ] {
            assert_eq!(read(sql), one(kind, content), "{sql}");
        }
    }

    #[test]
    fn string_with_escapes_continues_after_line_break() {
        for sql in ["E'a'\n'b\\''", "E'a' -- c\n 'b\\''", "E'a'\r\n-- c\n\t'b\\''"] {
            let kinds: Vec<Kind> = tokens(sql).map(|token| token.kind).collect();
            assert_eq!(kinds, [Kind::Text], "{sql}");
        }
        for sql in ["E'a' 'b\\'", "E'a' /* c */\n'b\\'"] {
            assert_eq!(tokens(sql).filter(|token| token.kind == Kind::Text).count(), 2, "{sql}");
        }
    }

    #[test]
    fn lone_dollar_is_a_symbol() {
        let texts = |sql| read(sql).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts("$1 = $2"), ["$1", "=", "$2"]);
        assert_eq!(texts(r"$E'\' $'"), ["$", "' $"]);
    }

    #[test]
    fn unclosed_token_extends_to_the_end() {
        for sql in ["'a", "\"a", "$$a", "/* a", "E'a\\", "ä'", "U&'", "é", "$"] {
            let end = tokens(sql).last().map(|token| token.at.end);
            assert_eq!(end, Some(sql.len()), "{sql}");
        }
    }
}
