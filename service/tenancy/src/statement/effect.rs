//! The effect of a statement on the session, derived from its SQL.
//!
//! Connections are shared by all tenants, so a session that a statement may have changed must not
//! serve another tenant as it is. The check is an allowlist: statements that read and write rows and
//! call only known functions do not change the session; all others may.

use tenantry_migrate::sql::{self, Kind, tokens};

use super::{
    SessionUse,
    calls::{self, Name},
};

/// What has to be done with the session before it serves another tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it is unchanged.
    #[default]
    None,
    /// A reset, although it changes only what ends with its transaction, or nothing of the session:
    /// the allowlist is short on purpose. Behind a pooler nothing is done.
    Local,
    /// A reset: settings, roles, temporary tables, cursors or session locks may have changed.
    Reset,
    /// The connection is closed: the statement may have changed what a reset does not undo, such as
    /// prepared statements or the state of a loaded library.
    Replace,
}

impl Effect {
    /// The effect of any number of statements.
    pub(crate) fn of(sql: &str) -> Self {
        let mut analyzer = Analyzer::new(sql);
        tokens(sql).for_each(|token| analyzer.push(&token));
        analyzer.effect
    }
}

/// What is known of one or more statements before they are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Analysis {
    /// The effect on the session.
    pub(crate) effect: Effect,
    /// The first use of the session that outlives the transaction.
    pub(crate) session: Option<SessionUse>,
}

/// Analyzes the tokens of one or more statements in order.
pub(crate) struct Analyzer<'a> {
    sql: &'a [u8],
    verb: Verb,
    /// Open parentheses.
    depth: u32,
    /// Open `BEGIN ATOMIC` and `CASE` of a function body, in which `;` does not end the statement.
    bodies: u32,
    /// Between `CREATE … INDEX` and its columns.
    index: bool,
    last: Option<Token>,
    /// The last name, and the one that qualifies it.
    name: Option<Token>,
    qualifier: Option<Token>,
    /// The token before that name and its qualifiers.
    before: Option<Token>,
    /// After `SELECT … INTO`.
    into: bool,
    effect: Effect,
    session: Option<SessionUse>,
    control: Option<&'static str>,
}

#[derive(Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

/// The kind of statement, by its first word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// No word was read.
    Missing,
    /// A statement about rows.
    Rows,
    Explain,
    Create,
    Declare,
    /// `SET`, whose next word decides.
    Set,
    /// `SET LOCAL`, `SET TRANSACTION`, `SET CONSTRAINTS`: unless that is the name of a setting.
    SetLocal,
    /// `PREPARE`, whose next word decides.
    Prepare,
    Other,
}

impl<'a> Analyzer<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        Self {
            sql: sql.as_bytes(),
            verb: Verb::Missing,
            depth: 0,
            bodies: 0,
            index: false,
            last: None,
            name: None,
            qualifier: None,
            before: None,
            into: false,
            effect: Effect::None,
            session: None,
            control: None,
        }
    }

    /// What the statements so far do to the session.
    pub(crate) fn analysis(&self) -> Analysis {
        Analysis { effect: self.effect, session: self.session }
    }

    /// The first keyword that begins or ends a transaction.
    pub(crate) fn control(&self) -> Option<&'static str> {
        self.control
    }

    /// Analyzes the next token.
    pub(crate) fn push(&mut self, token: &sql::Token) {
        let (kind, start, end) = (token.kind, token.at.start, token.at.end);
        if kind == Kind::Comment {
            return;
        }
        let token = Token { kind, start, end };
        match (kind, self.sql[start]) {
            (Kind::Other, b';') if self.depth == 0 && self.bodies == 0 => {
                self.verb = Verb::Missing;
                (self.index, self.into) = (false, false);
            }
            _ if matches!(self.verb, Verb::Set | Verb::SetLocal) => self.token_of_set(token),
            (Kind::Other, b'(') => {
                self.open();
                self.depth += 1;
            }
            (Kind::Other, b')') => self.depth = self.depth.saturating_sub(1),
            (Kind::Word, _) if self.verb == Verb::Missing => self.begin(token),
            (Kind::Word, _) => self.word(token),
            // No statement begins with another token: PostgreSQL will report a syntax error.
            _ if self.verb == Verb::Missing => {
                self.verb = Verb::Other;
                self.changes(Effect::Replace);
            }
            _ => {}
        }
        if matches!(kind, Kind::Word | Kind::Quoted) {
            if self.is_temporary_schema(token) {
                self.uses(SessionUse::Temporary, Effect::Reset);
            }
            if self.last.is_some_and(|last| self.is_symbol(last, b'.')) {
                self.qualifier = self.name;
            } else {
                (self.before, self.qualifier) = (self.last, None);
            }
            self.name = Some(token);
        }
        self.last = Some(token);
    }

    /// The first word of a statement.
    fn begin(&mut self, first: Token) {
        let mut lower = [0; LONGEST];
        let word = lowered(&self.sql[first.start..first.end], &mut lower);
        if let Some(control) = control(word) {
            self.control = self.control.or(Some(control));
        }
        use SessionUse as Use;
        match word {
            b"reset" | b"discard" => self.uses(Use::Setting, Effect::Reset),
            b"listen" | b"unlisten" => self.uses(Use::Listen, Effect::Reset),
            b"prepare" | b"execute" | b"deallocate" => self.uses(Use::Prepared, Effect::Replace),
            b"load" => self.uses(Use::Library, Effect::Replace),
            _ => {}
        }
        let (verb, effect) = match word {
            b"select" | b"insert" | b"update" | b"delete" | b"merge" | b"with" | b"values"
            | b"table" => (Verb::Rows, Effect::None),
            b"explain" => (Verb::Explain, Effect::None),
            b"create" => (Verb::Create, Effect::Local),
            b"prepare" => (Verb::Prepare, Effect::Replace),
            b"set" => (Verb::Set, Effect::Local),
            b"declare" => (Verb::Declare, Effect::Local),
            b"reset" | b"listen" | b"unlisten" => (Verb::Other, Effect::Reset),
            b"alter" | b"analyze" | b"close" | b"cluster" | b"comment" | b"copy" | b"drop"
            | b"fetch" | b"grant" | b"lock" | b"move" | b"notify" | b"refresh" | b"reindex"
            | b"revoke" | b"show" | b"truncate" | b"vacuum" => (Verb::Other, Effect::Local),
            // A tenant handle refuses them, so they are sent by this crate.
            _ if control(word).is_some() => (Verb::Other, Effect::None),
            _ => (Verb::Other, Effect::Replace),
        };
        self.verb = verb;
        self.changes(effect);
    }

    /// A word within a statement.
    fn word(&mut self, token: Token) {
        match self.verb {
            Verb::Rows => {
                // SELECT … INTO creates a table.
                let inserts = |last| self.is(last, "insert") || self.is(last, "merge");
                if self.is(token, "into") && !self.last.is_some_and(inserts) {
                    self.into = true;
                    self.changes(Effect::Local);
                }
                self.find_temporary(token);
            }
            Verb::Explain => {
                // With ANALYZE the statement is executed.
                if self.is(token, "execute") {
                    self.uses(SessionUse::Prepared, Effect::Replace);
                } else if ["create", "declare", "refresh", "into"]
                    .iter()
                    .any(|it| self.is(token, it))
                {
                    self.into |= self.is(token, "into");
                    self.changes(Effect::Local);
                }
                self.find_temporary(token);
            }
            Verb::Create if self.depth == 0 => {
                self.find_temporary(token);
                self.word_of_create(token);
            }
            Verb::Declare => {
                let with = self.last.is_some_and(|last| self.is(last, "with"));
                if with && self.is(token, "hold") {
                    self.uses(SessionUse::Cursor, Effect::Reset);
                }
            }
            Verb::Prepare => {
                if self.is(token, "transaction") {
                    self.control = self.control.or(Some("PREPARE TRANSACTION"));
                }
                self.verb = Verb::Other;
            }
            _ => {}
        }
    }

    /// A token after `SET`. Settings may have the names of keywords, as in `SET local.x = 1`.
    fn token_of_set(&mut self, token: Token) {
        let is_local = ["local", "transaction", "constraints"].iter().any(|it| self.is(token, it));
        self.verb = match self.verb {
            Verb::Set if is_local => Verb::SetLocal,
            Verb::SetLocal if !self.is_symbol(token, b'.') => Verb::Other,
            _ => {
                self.uses(SessionUse::Setting, Effect::Reset);
                Verb::Other
            }
        };
    }

    /// Detects `CREATE TEMP`, `SELECT … INTO LOCAL TEMPORARY` and the like.
    fn find_temporary(&mut self, token: Token) {
        let Some(last) = self.last else { return };
        let is_after = |words: &[&str]| words.iter().any(|word| self.is(last, word));
        let follows = match self.verb {
            Verb::Rows => self.into && is_after(&["into", "local", "global"]),
            _ => {
                is_after(&["create", "replace", "local", "global"])
                    || self.into && is_after(&["into"])
            }
        };
        let is_temporary = self.is(token, "temp") || self.is(token, "temporary");
        if is_temporary && follows {
            self.uses(SessionUse::Temporary, Effect::Reset);
        }
    }

    /// Whether a name is that of the schema of temporary tables, or may be that of a session.
    fn is_temporary_schema(&self, name: Token) -> bool {
        let text = &self.sql[name.start..name.end];
        let text = if name.kind == Kind::Quoted { text.get(1..).unwrap_or_default() } else { text };
        text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"pg_temp"))
            && matches!(text.get(7), None | Some(b'_' | b'"'))
    }

    /// The body of an SQL function consists of statements. Nesting is counted as in psql.
    fn word_of_create(&mut self, token: Token) {
        if self.is(token, "index") {
            self.index = true;
        } else if self.is(token, "atomic") && self.last.is_some_and(|last| self.is(last, "begin"))
            || self.bodies > 0 && self.is(token, "case")
        {
            self.bodies += 1;
        } else if self.bodies > 0 && self.is(token, "end") {
            self.bodies -= 1;
        }
    }

    /// An opening parenthesis, which may begin the arguments of a call.
    fn open(&mut self) {
        let Some(name) = self.last.filter(|last| matches!(last.kind, Kind::Word | Kind::Quoted))
        else {
            return;
        };
        if self.names_columns() {
            self.index = false;
            return;
        }
        let text = &self.sql[name.start..name.end];
        let text = match (name.kind, self.qualifier) {
            (Kind::Quoted, None) => Name::Quoted(text),
            (_, None) => Name::Bare(text),
            (_, Some(qualifier)) if self.is(qualifier, "pg_catalog") && name.kind == Kind::Word => {
                Name::Function(text)
            }
            _ => return self.changes(Effect::Replace),
        };
        let Analysis { effect, session } = calls::effect(&text);
        self.changes(effect);
        self.session = self.session.or(session);
    }

    /// Whether the last name is that of a table, a type or a function to be created, and not that of
    /// a call.
    fn names_columns(&self) -> bool {
        let Some(before) = self.before else { return false };
        match before.kind {
            // A cast: x::numeric(10, 2).
            Kind::Other => self.is_symbol(before, b':') && self.sql[..before.start].ends_with(b":"),
            Kind::Word => {
                let mut lower = [0; LONGEST];
                match lowered(&self.sql[before.start..before.end], &mut lower) {
                    b"into" | b"as" | b"with" | b"recursive" | b"table" | b"exists"
                    | b"references" | b"view" | b"function" | b"procedure" | b"aggregate"
                    | b"routine" => true,
                    b"copy" | b"analyze" => self.verb == Verb::Other,
                    b"using" => matches!(self.verb, Verb::Create | Verb::Other),
                    b"on" | b"only" => self.index,
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn uses(&mut self, session: SessionUse, effect: Effect) {
        self.session = self.session.or(Some(session));
        self.changes(effect);
    }

    fn changes(&mut self, effect: Effect) {
        self.effect = self.effect.max(effect);
    }

    /// Whether a token is a certain word, given in lower case. A quoted name is not.
    fn is(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word
            && self.sql[token.start..token.end].eq_ignore_ascii_case(word.as_bytes())
    }

    fn is_symbol(&self, token: Token, symbol: u8) -> bool {
        token.kind == Kind::Other && self.sql[token.start] == symbol
    }
}

/// The keyword, if a statement that begins with this word begins or ends a transaction or savepoint.
fn control(word: &[u8]) -> Option<&'static str> {
    Some(match word {
        b"begin" => "BEGIN",
        b"start" => "START TRANSACTION",
        b"commit" => "COMMIT",
        b"end" => "END",
        b"rollback" => "ROLLBACK",
        b"abort" => "ABORT",
        b"savepoint" => "SAVEPOINT",
        b"release" => "RELEASE",
        _ => return None,
    })
}

/// Length of the longest known word.
pub(super) const LONGEST: usize = 32;

/// A word in lower case; empty if it is too long.
pub(super) fn lowered<'b>(word: &[u8], buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
    let Some(lower) = buffer.get_mut(..word.len()) else { return &[] };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    lower
}

#[cfg(test)]
mod tests;
