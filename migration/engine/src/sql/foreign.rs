//! Schemas that a statement names, where they name a schema and not a table or an alias.
//!
//! In `"guards"."name"` the first part is an alias or a table of the statement, in
//! `FROM "guards"."shifts"` it is a schema. Which of the two is decided by the position, since both
//! may have the same name.

use std::borrow::Cow;

use super::{Kind, Token, tokens};

/// The longest name that PostgreSQL keeps, in bytes; what is longer is cut.
const NAME: usize = 63;

/// Statements in which a column may be qualified. In all others every qualified name is one of an
/// object.
const QUERIES: [&str; 9] =
    ["select", "insert", "update", "delete", "merge", "with", "values", "table", "explain"];

/// Words behind which another statement begins a query.
const BEFORE_QUERY: [&str; 5] = ["as", "for", "do", "instead", "also"];

/// Words behind which the name of an object comes.
const BEFORE_OBJECT: [&str; 7] =
    ["references", "copy", "lock", "truncate", "call", "collate", "as"];

/// Words behind which tables come, as do tables in parentheses.
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

/// The name that a token qualifies another one with, as PostgreSQL reads it: folded, and cut to
/// [`NAME`] bytes. None where it has characters that no schema of a tenant has.
pub(super) fn name<'a>(sql: &'a str, token: &Token) -> Option<Cow<'a, str>> {
    let text = &sql[token.at.clone()];
    let name = match token.kind {
        Kind::Word => text,
        Kind::Quoted => text.strip_prefix('"')?.strip_suffix('"')?,
        _ => return None,
    };
    let name = name.as_bytes().get(..NAME).map_or(Some(name), |cut| str::from_utf8(cut).ok())?;
    match token.kind {
        Kind::Word if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Some(name.to_ascii_lowercase().into())
        }
        _ => Some(name.into()),
    }
}

/// Whether a name is written with escapes, `U&"…"`.
pub(super) fn has_escapes(sql: &str, token: &Token) -> bool {
    token.kind == Kind::Quoted && !sql[token.at.start..].starts_with('"')
}

/// The first schema for which `is_other` holds and that the statement names.
pub(super) fn named(sql: &str, is_other: impl Fn(&str) -> bool) -> Option<String> {
    let pieces = pieces(sql);
    let mut reader = Reader::default();
    let mut at = 0;
    while at < pieces.len() {
        let (chain, end) = chain(&pieces, at);
        if chain.len() < 2 {
            reader.read(&pieces[at]);
            at += 1;
            continue;
        }
        let schemas = match reader.chain_is(pieces.get(end)) {
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

/// Whether the statement names a schema beside that of the placeholder and those of the server.
pub(crate) fn names_schema(sql: &str) -> bool {
    let own = ["@tenant", "pg_catalog", "information_schema"];
    named(sql, |name| !own.contains(&name)).is_some()
}

/// What is written, as far as it matters here.
enum Piece<'a> {
    /// A word without quotes, in lower case.
    Word(Cow<'a, str>),
    /// A name in quotes.
    Name(Cow<'a, str>),
    Text,
    Sign(&'a str),
}

fn pieces(sql: &str) -> Vec<Piece<'_>> {
    let tokens: Vec<Token> = tokens(sql).filter(|token| token.kind != Kind::Comment).collect();
    let text = |at: usize| tokens.get(at).map_or("", |token| &sql[token.at.clone()]);
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        pieces.push(match token.kind {
            Kind::Word => Piece::Word(name(sql, token).unwrap_or_default()),
            Kind::Quoted if has_escapes(sql, token) => {
                let mut escape = '\\';
                if text(at).eq_ignore_ascii_case("uescape") {
                    escape = text(at + 1).trim_matches('\'').chars().next().unwrap_or(escape);
                    at += 2;
                }
                Piece::Name(unescaped(&sql[token.at.clone()], escape).into())
            }
            Kind::Quoted => Piece::Name(name(sql, token).unwrap_or_default()),
            Kind::Text => Piece::Text,
            _ => Piece::Sign(&sql[token.at.clone()]),
        });
    }
    pieces
}

/// The name in `U&"…"` (manual, 4.1.2.3). One that is wrong is refused by PostgreSQL.
fn unescaped(text: &str, escape: char) -> String {
    let inner = text.split_once('"').map_or("", |(_, inner)| inner.trim_end_matches('"'));
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
    out.truncate((0..=NAME.min(out.len())).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0));
    out
}

/// The parts of the qualified name that begins at `at`, and where it ends. A `*` or an operator
/// behind the last dot is a part, too.
fn chain<'a>(pieces: &'a [Piece<'_>], mut at: usize) -> (Vec<&'a str>, usize) {
    let mut parts = Vec::new();
    while let Some(Piece::Word(part) | Piece::Name(part)) = pieces.get(at) {
        parts.push(part.as_ref());
        at += 1;
        if !matches!(pieces.get(at), Some(Piece::Sign("."))) {
            break;
        }
        at += 1;
        if let Some(Piece::Sign(sign)) = pieces.get(at) {
            parts.push(sign);
            at += 1;
            break;
        }
    }
    (parts, at)
}

enum Position {
    /// The last part is a table, a function, a type, …; the one before it is a schema.
    Object,
    /// The last part is a column; the one before it is a table or an alias.
    Column,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    #[default]
    Anything,
    /// A table, or tables in parentheses.
    Table,
    /// A type or another object.
    Object,
}

/// The text between two parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// It is a statement, so `FROM` does not belong to a function such as `extract`.
    is_query: bool,
    /// A comma is followed by a table.
    lists_tables: bool,
}

/// Reads a statement from left to right.
#[derive(Default)]
struct Reader {
    next: Next,
    level: Level,
    outer: Vec<Level>,
    /// Whether the statement is none of [`QUERIES`]; None before its first word.
    is_utility: Option<bool>,
    /// The last words, and whether the last piece was a sign or a text.
    before: [String; 2],
    after_sign: Option<char>,
}

impl Reader {
    /// What a qualified name is that comes now, before `next`.
    fn chain_is(&self, next: Option<&Piece<'_>>) -> Position {
        let called = matches!(next, Some(Piece::Sign("(") | Piece::Text));
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

    fn read(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Word(word) => self.read_word(word),
            Piece::Name(_) | Piece::Text => self.end_of_name(),
            Piece::Sign(sign) => self.read_sign(sign.chars().next().unwrap_or_default()),
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
                let begun = BEFORE_QUERY.contains(&last) || self.after_sign == Some('(');
                self.is_utility = Some(!begun);
            }
            Some(_) => {}
        }
        // A name of a column, whatever it is: `SELECT 1 AS from`.
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
