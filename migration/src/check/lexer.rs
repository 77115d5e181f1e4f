//! The words of SQL text, by the lexical rules of PostgreSQL (manual, 4.1).

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key word or a name without quotes, in lower case as PostgreSQL folds it.
    Word,
    /// A name in double quotes, without them.
    Quoted,
    /// What a string says, in whichever quotes.
    Text,
    /// Any other character, or a number.
    Other,
    /// A comment, without its delimiters.
    Comment,
}

/// One token, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) at: Range<usize>,
    /// How many parentheses and brackets are open around it.
    pub(super) depth: usize,
}

/// All tokens. What has no closing delimiter reaches to the end.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(first) = sql[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, text, end) = token(sql, at);
        match text.as_str() {
            ")" | "]" if kind == Kind::Other => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token { kind, depth, at: at..end, text });
        if let (Kind::Other, "(" | "[") = (kind, &sql[at..end]) {
            depth += 1;
        }
        at = end;
    }
    tokens
}

fn token(sql: &str, at: usize) -> (Kind, String, usize) {
    let rest = &sql[at..];
    let lower = rest.get(..3).unwrap_or(rest).to_ascii_lowercase();
    if let Some(comment) = rest.strip_prefix("--") {
        let len = comment.find(['\n', '\r']).unwrap_or(comment.len());
        return (Kind::Comment, comment[..len].to_owned(), at + 2 + len);
    }
    if rest.starts_with("/*") {
        let end = block_comment_end(sql, at);
        let text = sql[at + 2..end].strip_suffix("*/").unwrap_or(&sql[at + 2..end]);
        return (Kind::Comment, text.to_owned(), end);
    }
    if rest.starts_with('\'') {
        return quoted(sql, at, '\'', false);
    }
    if rest.starts_with('"') {
        return quoted(sql, at, '"', false);
    }
    if lower.starts_with("e'") {
        return quoted(sql, at + 1, '\'', true);
    }
    if lower.starts_with("b'") || lower.starts_with("x'") || lower.starts_with("n'") {
        return quoted(sql, at + 1, '\'', false);
    }
    if lower == "u&'" || lower == "u&\"" {
        return quoted(sql, at + 2, if lower.ends_with('"') { '"' } else { '\'' }, false);
    }
    if let Some(token) = dollar_quoted(sql, at) {
        return token;
    }
    let len = |more: fn(char) -> bool| rest.find(|c| !more(c)).unwrap_or(rest.len());
    match rest.chars().next() {
        Some(c) if is_word_start(c) => {
            let end = len(|c| is_word_start(c) || c.is_ascii_digit() || c == '$');
            (Kind::Word, rest[..end].to_ascii_lowercase(), at + end)
        }
        Some(c) if c.is_ascii_digit() => {
            let end = len(|c| is_word_start(c) || c.is_ascii_digit() || c == '.');
            (Kind::Other, rest[..end].to_owned(), at + end)
        }
        Some(c) => (Kind::Other, c.to_string(), at + c.len_utf8()),
        None => (Kind::Other, String::new(), at),
    }
}

/// Characters from 128 on are letters (manual, 4.1.1).
fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// A string or a name whose delimiter is at `open`; written twice it means itself.
fn quoted(sql: &str, open: usize, delimiter: char, escapes: bool) -> (Kind, String, usize) {
    let kind = if delimiter == '"' { Kind::Quoted } else { Kind::Text };
    let mut text = String::new();
    let mut chars = sql[open + 1..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            text.extend(chars.next().map(|next| next.1));
        } else if c != delimiter || chars.next_if(|next| next.1 == delimiter).is_some() {
            text.push(c);
        } else {
            return (kind, text, open + 1 + at + 1);
        }
    }
    (kind, text, sql.len())
}

/// `$tag$…$tag$`, or None when the dollar begins something else (a parameter).
fn dollar_quoted(sql: &str, at: usize) -> Option<(Kind, String, usize)> {
    let rest = sql[at..].strip_prefix('$')?;
    let tag = &rest[..rest.find('$')?];
    let is_tag = tag.chars().all(|c| is_word_start(c) || c.is_ascii_digit())
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    let delimiter = &sql[at..at + tag.len() + 2];
    let body = &sql[at + delimiter.len()..];
    let (len, end) = match body.find(delimiter) {
        Some(len) => (len, at + 2 * delimiter.len() + len),
        None => (body.len(), sql.len()),
    };
    Some((Kind::Text, body[..len].to_owned(), end))
}

/// Comments are nested.
fn block_comment_end(sql: &str, mut at: usize) -> usize {
    let mut depth = 0;
    while at < sql.len() {
        match sql.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::{Kind, tokens};

    fn read(sql: &str) -> Vec<(Kind, String)> {
        tokens(sql).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    fn one(kind: Kind, text: &str) -> Vec<(Kind, String)> {
        vec![(kind, text.to_owned())]
    }

    #[test]
    fn each_kind_is_read() {
        assert_eq!(read("GuArDs"), one(Kind::Word, "guards"));
        assert_eq!(read(r#""Gu""ards""#), one(Kind::Quoted, "Gu\"ards"));
        assert_eq!(read("'it''s; --'"), one(Kind::Text, "it's; --"));
        assert_eq!(read(r"E'it\'s'"), one(Kind::Text, "it's"));
        assert_eq!(read(r"'it\'"), one(Kind::Text, r"it\"));
        assert_eq!(read(r#"U&"d""#), one(Kind::Quoted, "d"));
        assert_eq!(read("$$a; $b$ ;$$"), one(Kind::Text, "a; $b$ ;"));
        assert_eq!(read("$b$ $$ $b$"), one(Kind::Text, " $$ "));
        assert_eq!(read("/* a /* b */ c */"), one(Kind::Comment, " a /* b */ c "));
        assert_eq!(read("-- a 'b"), one(Kind::Comment, " a 'b"));
        assert_eq!(read("1.5e3"), one(Kind::Other, "1.5e3"));
    }

    #[test]
    fn a_parameter_is_no_dollar_quote() {
        let texts = tokens("$1 = $2").into_iter().map(|token| token.text);
        assert_eq!(texts.collect::<Vec<_>>(), ["$", "1", "=", "$", "2"]);
        assert_eq!(read("a$b$"), one(Kind::Word, "a$b$"));
    }

    #[test]
    fn depth_is_that_around_the_token() {
        let depths = tokens("a(b[1])c").into_iter().map(|token| token.depth);
        assert_eq!(depths.collect::<Vec<_>>(), [0, 0, 1, 1, 2, 1, 0, 0]);
    }

    #[test]
    fn what_is_not_closed_reaches_to_the_end() {
        for sql in ["'a", "\"a", "$$a", "/* a", "E'a\\", "ä'", "U&'", "é", "$"] {
            let end = tokens(sql).last().map(|token| token.at.end);
            assert_eq!(end, Some(sql.len()), "{sql}");
        }
    }
}
