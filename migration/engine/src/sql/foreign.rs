//! Schemas that a statement names, as opposed to tables and aliases.
//!
//! In `"guards"."name"` the first part is an alias or a table of the statement; in
//! `FROM "guards"."shifts"` it is a schema. The position decides, because both may have the same name.

use std::borrow::Cow;

use super::{Kind, Token, tokens};

/// Length in bytes to which PostgreSQL truncates names.
const NAME: usize = 63;

/// Statements with qualified columns. In all others, a qualified name is an object.
const QUERIES: [&str; 9] =
    ["select", "insert", "update", "delete", "merge", "with", "values", "table", "explain"];

/// Words after which a query can begin in another statement.
const BEFORE_QUERY: [&str; 5] = ["as", "for", "do", "instead", "also"];

/// Words before the name of an object.
const BEFORE_OBJECT: [&str; 7] =
    ["references", "copy", "lock", "truncate", "call", "collate", "as"];

/// Words before tables, also in parentheses.
const BEFORE_TABLE: [&str; 6] = ["join", "into", "update", "table", "only", "lateral"];

/// Words that end a list of tables.
const AFTER_TABLES: [&str; 16] = [
    "select",
    "values",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "window",
    "union",
    "intersect",
    "except",
    "set",
    "returning",
];

/// The name in a token as PostgreSQL reads it: folded, and truncated to [`NAME`] bytes. `None` if the
/// token is not a name.
pub(super) fn name<'a>(sql: &'a str, token: &Token) -> Option<Cow<'a, str>> {
    let text = &sql[token.at.clone()];
    let name = match token.kind {
        Kind::Word if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::from(text.to_ascii_lowercase())
        }
        Kind::Word => text.into(),
        Kind::Quoted => unquoted(text.strip_prefix('"')?.strip_suffix('"')?),
        _ => return None,
    };
    let kept = name.floor_char_boundary(NAME);
    Some(match name {
        Cow::Borrowed(name) => name[..kept].into(),
        Cow::Owned(mut name) => {
            name.truncate(kept);
            name.into()
        }
    })
}

/// The text between quotes, in which a quote is doubled.
fn unquoted(inner: &str) -> Cow<'_, str> {
    match inner.contains('"') {
        true => inner.replace("\"\"", "\"").into(),
        false => inner.into(),
    }
}

/// Whether a name is written with escapes, `U&"…"`.
pub(super) fn has_escapes(sql: &str, token: &Token) -> bool {
    token.kind == Kind::Quoted && !sql[token.at.start..].starts_with('"')
}

/// The first schema in the statement for which `is_other` returns `true`.
pub(super) fn named(sql: &str, is_other: impl Fn(&str) -> bool) -> Option<String> {
    let parts = parts(sql);
    let mut reader = Reader::default();
    let mut at = 0;
    while at < parts.len() {
        let (chain, end) = chain(&parts, at);
        if chain.len() < 2 {
            reader.read(&parts[at]);
            at += 1;
            continue;
        }
        let schemas = match reader.chain_is(parts.get(end)) {
            Position::Object => &chain[..chain.len() - 1],
            Position::Column => &chain[..chain.len() - 2],
        };
        if let Some(other) = schemas.iter().find(|name| is_other(name)) {
            return Some((*other).to_owned());
        }
        reader.end_of_name();
        at = end;
    }
    None
}

/// Whether the statement names a schema other than the placeholder and those of the server.
pub(crate) fn names_schema(sql: &str) -> bool {
    let own = ["@tenant", "pg_catalog", "information_schema"];
    named(sql, |name| !own.contains(&name)).is_some()
}

/// Simplified token.
enum Part<'a> {
    /// A word without quotes, in lower case.
    Word(Cow<'a, str>),
    /// A name in quotes.
    Name(Cow<'a, str>),
    Text,
    Sign(&'a str),
}

fn parts(sql: &str) -> Vec<Part<'_>> {
    let tokens: Vec<Token> = tokens(sql).filter(|token| token.kind != Kind::Comment).collect();
    let text = |at: usize| tokens.get(at).map_or("", |token| &sql[token.at.clone()]);
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        parts.push(match token.kind {
            Kind::Word => Part::Word(name(sql, token).unwrap_or_default()),
            Kind::Quoted if has_escapes(sql, token) => {
                let mut escape = '\\';
                if text(at).eq_ignore_ascii_case("uescape") {
                    escape = text(at + 1).trim_matches('\'').chars().next().unwrap_or(escape);
                    at += 2;
                }
                Part::Name(unescaped(&sql[token.at.clone()], escape).into())
            }
            Kind::Quoted => Part::Name(name(sql, token).unwrap_or_default()),
            Kind::Text => Part::Text,
            _ => Part::Sign(&sql[token.at.clone()]),
        });
    }
    parts
}

/// The name in `U&"…"` (manual, 4.1.2.3). PostgreSQL refuses invalid escapes.
fn unescaped(text: &str, escape: char) -> String {
    let inner = text.split_once('"').map_or("", |(_, inner)| inner);
    let inner = unquoted(inner.strip_suffix('"').unwrap_or(inner));
    let mut out = String::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != escape {
            out.push(c);
            continue;
        }
        let escaped = rest.as_str();
        let (skip, digits) = match escaped.chars().next() {
            Some('+') => (1, 6),
            Some(c) if c == escape => {
                out.push(c);
                rest.next();
                continue;
            }
            _ => (0, 4),
        };
        let code =
            escaped.get(skip..skip + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        out.extend(code.and_then(char::from_u32));
        rest = escaped.get(skip + digits..).unwrap_or_default().chars();
    }
    out.truncate(out.floor_char_boundary(NAME));
    out
}

/// The parts of the qualified name that begins at `at`, and its end. A `*` or an operator after the
/// last dot is a part, too.
fn chain<'a>(parts: &'a [Part<'_>], mut at: usize) -> (Vec<&'a str>, usize) {
    let mut names = Vec::new();
    while let Some(Part::Word(part) | Part::Name(part)) = parts.get(at) {
        names.push(part.as_ref());
        at += 1;
        if !matches!(parts.get(at), Some(Part::Sign("."))) {
            break;
        }
        at += 1;
        if let Some(Part::Sign(sign)) = parts.get(at) {
            names.push(sign);
            at += 1;
            break;
        }
    }
    (names, at)
}

enum Position {
    /// The last part is a table, a function, a type, …; the one before it is a schema.
    Object,
    /// The last part is a column; the one before it is a table or an alias.
    Column,
}

/// Expected name.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    #[default]
    Anything,
    /// A table, or tables in parentheses.
    Table,
    /// A type or another object.
    Object,
}

/// Tokens between two parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// A query, so that `FROM` is not part of a function call such as `extract`.
    is_query: bool,
    /// Tables follow commas.
    lists_tables: bool,
}

/// Reads a statement from left to right.
#[derive(Default)]
struct Reader {
    next: Next,
    level: Level,
    outer: Vec<Level>,
    /// Whether the statement is none of [`QUERIES`]; `None` before its first word.
    is_utility: Option<bool>,
    /// The last two words, and the sign after them.
    before: [String; 2],
    after_sign: Option<char>,
}

impl Reader {
    /// The meaning of a qualified name that is followed by `next`.
    fn chain_is(&self, next: Option<&Part<'_>>) -> Position {
        let called = matches!(next, Some(Part::Sign("(") | Part::Text));
        match self.is_utility == Some(true) || self.next != Next::Anything || called {
            true => Position::Object,
            false => Position::Column,
        }
    }

    fn end_of_name(&mut self) {
        self.next = Next::Anything;
        self.word("");
    }

    fn word(&mut self, word: &str) {
        self.before.swap(0, 1);
        self.before[1].clear();
        self.before[1].push_str(word);
        self.after_sign = None;
    }

    fn read(&mut self, part: &Part<'_>) {
        match part {
            Part::Word(word) => self.read_word(word),
            Part::Name(_) | Part::Text => self.end_of_name(),
            Part::Sign(sign) => self.read_sign(sign.chars().next().unwrap_or_default()),
        }
    }

    fn read_sign(&mut self, sign: char) {
        let next = match sign {
            '(' => {
                let is_list = self.next == Next::Table;
                let is_operator = self.before[1] == "operator";
                self.outer.push(self.level);
                self.level = Level { is_query: false, lists_tables: is_list };
                match (is_list, is_operator) {
                    (true, _) => Next::Table,
                    (false, true) => Next::Object,
                    (false, false) => Next::Anything,
                }
            }
            ')' => {
                self.level = self.outer.pop().unwrap_or_default();
                Next::Anything
            }
            ',' if self.level.lists_tables => Next::Table,
            ':' if self.after_sign == Some(':') => Next::Object,
            ';' => {
                *self = Self::default();
                return;
            }
            _ => Next::Anything,
        };
        self.word("");
        (self.next, self.after_sign) = (next, Some(sign));
    }

    fn read_word(&mut self, word: &str) {
        let begins_query = QUERIES.contains(&word);
        match self.is_utility {
            None => self.is_utility = Some(!begins_query),
            Some(true) if begins_query => {
                let last = self.before[1].as_str();
                let begins = BEFORE_QUERY.contains(&last) || self.after_sign == Some('(');
                self.is_utility = Some(!begins);
            }
            Some(_) => {}
        }
        // A label may be any word: `SELECT 1 AS from`.
        let is_label = self.before[1] == "as" && !begins_query;
        if !is_label {
            self.read_keyword(word);
        } else {
            self.next = Next::Anything;
        }
        self.word(word);
    }

    fn read_keyword(&mut self, word: &str) {
        if AFTER_TABLES.contains(&word) {
            self.level.lists_tables = false;
        }
        if ["select", "insert", "update", "delete", "merge"].contains(&word) {
            self.level.is_query = true;
        }
        let [last_but_one, last] = [0, 1].map(|at| self.before[at].as_str());
        let compares = last == "distinct" && ["is", "not"].contains(&last_but_one);
        let lists = match word {
            "from" => (self.level.is_query || last == "rows") && !compares,
            "using" | "join" => true,
            _ => false,
        };
        self.level.lists_tables |= lists;
        self.next = if lists || BEFORE_TABLE.contains(&word) {
            Next::Table
        } else if BEFORE_OBJECT.contains(&word) {
            Next::Object
        } else {
            Next::Anything
        };
    }
}

#[cfg(test)]
mod tests;
