//! Functions whose bodies resolve names by the `search_path` of their caller.
//!
//! A tenant's statements run without the tenant's schema in `search_path`. A `BEGIN ATOMIC` body is
//! parsed when the function is created, and a function may set its own `search_path`. Any other
//! body is parsed when it is called.

use sea_orm::{ConnectionTrait, DbErr};
use serde::Deserialize;
use tenantry_registry::SchemaName;

use crate::sql::{Kind, SqlStatement, Word, query::scalar};

/// A function that does not find its tables if a tenant's statement calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unqualified {
    /// Name and arguments.
    pub(crate) function: String,
    /// Unqualified names in its body.
    pub(crate) names: Vec<String>,
    /// Triggers, defaults, policies, indexes and so on that call it.
    pub(crate) callers: Vec<String>,
}

/// The names and functions of a schema.
#[derive(Deserialize)]
struct Catalog {
    relations: Vec<String>,
    functions: Vec<String>,
    types: Vec<String>,
    bodies: Vec<Routine>,
}

#[derive(Deserialize)]
struct Routine {
    function: String,
    source: String,
    callers: Vec<String>,
}

/// The functions of `schema` that need it in `search_path`, ordered by name.
pub(crate) async fn unqualified(
    db: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<Vec<Unqualified>, DbErr> {
    let json: Option<String> =
        scalar(db, include_str!("functions.sql"), [schema.as_str().into()]).await?;
    let json = json.unwrap_or_default();
    let catalog: Catalog =
        serde_json::from_str(&json).map_err(|error| DbErr::Json(error.to_string()))?;
    let found = catalog.bodies.iter().filter_map(|body| {
        let names = bare_names(&body.source, &catalog);
        (!names.is_empty()).then(|| Unqualified {
            function: body.function.clone(),
            names,
            callers: body.callers.clone(),
        })
    });
    Ok(found.collect())
}

/// The names in `source` that are resolved by `search_path`.
fn bare_names(source: &str, catalog: &Catalog) -> Vec<String> {
    let body = Body { statement: SqlStatement::one(source), catalog };
    let words = &body.statement.words;
    let bare = (0..words.len()).filter(|index| body.is_bare(*index) || body.is_bare_text(*index));
    let mut names: Vec<String> = bare.map(|index| words[index].text.clone()).collect();
    names.extend((0..words.len()).filter_map(|index| body.bare_format(index)));
    // Dynamic SQL.
    for index in (0..words.len()).filter(|index| body.is_statement(*index)) {
        names.extend(bare_names(&words[index].text, catalog));
    }
    names.sort();
    names.dedup();
    names
}

/// Keywords before a relation.
const BEFORE_RELATION: [&str; 13] = [
    "analyze", "copy", "exists", "from", "into", "join", "lock", "sequence", "table", "truncate",
    "update", "using", "view",
];

/// Keywords that start a statement in dynamic SQL.
const STATEMENTS: [&str; 15] = [
    "alter", "analyze", "call", "copy", "create", "delete", "drop", "insert", "lock", "merge",
    "refresh", "select", "truncate", "update", "with",
];

/// The body of a function.
struct Body<'a> {
    statement: SqlStatement,
    catalog: &'a Catalog,
}

impl Body<'_> {
    /// Whether the token is a relation, function or type of the schema, without the schema's name.
    fn is_bare(&self, at: usize) -> bool {
        let Some(name) = self.statement.name(at) else { return false };
        let contains = |names: &[String]| names.iter().any(|it| it == name);
        if self.before(at, 1, ".") {
            return false;
        }
        if self.statement.symbol(at + 1) == Some(".") {
            let type_of = self.statement.symbol(at + 3) == Some("%") // audit.id%TYPE
                && self.statement.name(at + 4) == Some("type");
            return type_of && contains(&self.catalog.relations);
        }
        if self.statement.symbol(at + 1) == Some("(") && contains(&self.catalog.functions) {
            return true;
        }
        let is_type = contains(&self.catalog.types) || contains(&self.catalog.relations);
        if is_type && self.is_in_type_position(at) {
            return true;
        }
        self.is_in_relation_position(at)
            && (contains(&self.catalog.relations)
                || self.is_written(at) && !self.is_common_table(name))
    }

    /// Whether a literal is the name of a relation of the schema: `nextval('s')`, `'t'::regclass`.
    fn is_bare_text(&self, at: usize) -> bool {
        let is_text = self.statement.words.get(at).is_some_and(|word| word.kind == Kind::Text);
        let cast = self.statement.symbol(at + 1) == Some(":")
            && self.statement.symbol(at + 2) == Some(":")
            && self.statement.word(at + 3) == Some("regclass");
        let looks_up = ["nextval", "currval", "setval", "to_regclass", "pg_get_serial_sequence"];
        let argument = self.before(at, 1, "(") && looks_up.contains(&self.word_before(at, 2));
        if !is_text || !(cast || argument) {
            return false;
        }
        let name = SqlStatement::one(&self.statement.words[at].text);
        let name = name.name(0).filter(|_| name.words.len() == 1);
        name.is_some_and(|name| self.catalog.relations.iter().any(|it| it == name))
    }

    /// `%I` or `%1$I` of `format`, where it is a relation without a schema.
    fn bare_format(&self, at: usize) -> Option<String> {
        let rest =
            self.statement.sql.get(self.statement.words[at].at.start..)?.strip_prefix('%')?;
        let number = rest.split_once('$').filter(|(number, _)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let behind = number.map_or(rest, |(_, behind)| behind).strip_prefix('I')?;
        let is_bare = self.is_in_relation_position(at) && !behind.starts_with('.');
        is_bare.then(|| "%I".to_owned())
    }

    fn is_in_relation_position(&self, at: usize) -> bool {
        let before = self.word_before(at, 1);
        let skipped = matches!(before, "only" | "concurrently");
        let before = if skipped { self.word_before(at, 2) } else { before };
        BEFORE_RELATION.contains(&before) || self.before(at, 1, ",") && self.is_in_from_list(at)
    }

    /// Whether the list that the token is in, at its depth of parentheses, follows `FROM`.
    fn is_in_from_list(&self, at: usize) -> bool {
        let words = &self.statement.words;
        let depth = words[at].depth;
        let before = words[..at].iter().rev().take_while(|it| it.depth >= depth);
        let clauses =
            ["from", "using", "select", "set", "where", "returning", "values", "by", "on"];
        before
            .filter(|it| it.depth == depth && it.kind == Kind::Word)
            .map(|it| it.text.as_str())
            .find(|word| clauses.contains(word))
            .is_some_and(|word| matches!(word, "from" | "using"))
    }

    /// Whether the statement writes to the name, which then is a relation.
    fn is_written(&self, at: usize) -> bool {
        match self.word_before(at, 1) {
            "into" => matches!(self.word_before(at, 2), "insert" | "merge"),
            "from" => self.word_before(at, 2) == "delete",
            "update" => self.statement.name(at + 1) == Some("set"),
            _ => false,
        }
    }

    /// `x::mood`, `CAST(x AS mood)`, `guards%ROWTYPE`, `DECLARE x mood;`
    fn is_in_type_position(&self, at: usize) -> bool {
        let row = self.statement.symbol(at + 1) == Some("%")
            && matches!(self.statement.name(at + 2), Some("rowtype" | "type"));
        let cast = self.before(at, 1, ":") && self.before(at, 2, ":")
            || self.word_before(at, 1) == "as"
                && matches!(self.statement.symbol(at + 1), Some(")" | "["));
        let literal = self.statement.words.get(at + 1).is_some_and(|word| word.kind == Kind::Text);
        row || cast || literal || self.is_declared(at)
    }

    /// `DECLARE x mood`, `y CONSTANT mood := 'sad'`
    fn is_declared(&self, at: usize) -> bool {
        let name = at - usize::from(self.word_before(at, 1) == "constant");
        let is_first = self.before(name, 2, ";") || self.word_before(name, 2) == "declare";
        let mut before = self.statement.words[..at].iter().rev();
        let section = before
            .find(|it| it.kind == Kind::Word && ["declare", "begin"].contains(&it.text.as_str()));
        let named = name.checked_sub(1).is_some_and(|name| self.statement.name(name).is_some());
        is_first && named && section.is_some_and(|it| it.text == "declare")
    }

    /// `WITH name AS (`
    fn is_common_table(&self, name: &str) -> bool {
        (0..self.statement.words.len()).any(|at| {
            self.statement.name(at) == Some(name)
                && self.statement.name(at + 1) == Some("as")
                && self.statement.symbol(at + 2) == Some("(")
        })
    }

    /// Whether a literal is executed as a statement, or assigned where there is dynamic SQL.
    fn is_statement(&self, at: usize) -> bool {
        let words = &self.statement.words;
        let is_sql = || {
            let literal = SqlStatement::one(&words[at].text);
            literal.word(0).is_some_and(|first| STATEMENTS.contains(&first))
        };
        let executed = |it: &Word| it.kind == Kind::Word && it.text == "execute";
        let until = if self.before(at, 1, "=") { words.len() } else { at };
        words[at].kind == Kind::Text && words[..until].iter().any(executed) && is_sql()
    }

    /// Whether `symbol` is `distance` tokens before `at`.
    fn before(&self, at: usize, distance: usize, symbol: &str) -> bool {
        at.checked_sub(distance).and_then(|at| self.statement.symbol(at)) == Some(symbol)
    }

    /// The keyword `distance` tokens before `at`, or an empty string.
    fn word_before(&self, at: usize, distance: usize) -> &str {
        at.checked_sub(distance).and_then(|at| self.statement.word(at)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalog, bare_names};

    #[test]
    fn finds_names_resolved_by_search_path() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let catalog = Catalog {
            relations: names(&["audit", "things"]),
            functions: names(&["touch"]),
            types: names(&["mood"]),
            bodies: Vec::new(),
        };
        for (source, expected) in [
            ("INSERT INTO audit (id) VALUES (1)", &["audit"][..]),
            ("SELECT 1 FROM things, audit", &["audit", "things"]),
            ("SELECT things, audit FROM one.t", &[]),
            ("INSERT INTO one.t (things, audit) SELECT 1, 2 FROM generate_series(1, 2)", &[]),
            ("SELECT 1 FROM one.t x, audit y WHERE (x.a, y.b) IN (SELECT 1, 2)", &["audit"]),
            ("SELECT a.id FROM one.audit a", &[]),
            ("SELECT count(*) INTO n FROM \"audit\"", &["audit"]),
            ("SELECT n INTO things FROM generate_series(1, 2) n", &["things"]),
            ("INSERT INTO elsewhere VALUES (1)", &["elsewhere"]),
            ("WITH gone AS (SELECT 1) DELETE FROM gone", &[]),
            ("SELECT audit FROM generate_series(1, 2) audit", &[]),
            ("SELECT id FROM t FOR UPDATE OF t", &[]),
            ("INSERT INTO a.b VALUES (1) ON CONFLICT DO UPDATE SET c = 1", &[]),
            ("PERFORM touch()", &["touch"]),
            ("PERFORM one.touch()", &[]),
            ("RETURN 'good'::mood", &["mood"]),
            ("DECLARE m mood; n integer := 1; BEGIN NULL; END", &["mood"]),
            ("EXECUTE 'DELETE FROM audit WHERE id = $1' USING x", &["audit"]),
            ("EXECUTE format('DELETE FROM %I.audit', TG_TABLE_SCHEMA)", &[]),
            ("EXECUTE format('DELETE FROM %1$I.audit_%2$I', a, b)", &[]),
            ("EXECUTE format('DELETE FROM %I WHERE %I = 1', a, b)", &["%I"]),
            ("EXECUTE format('INSERT INTO %2$I_log SELECT $1.*', a, b)", &["%I"]),
            ("EXECUTE format('UPDATE %s SET a = %I', TG_RELID::regclass, b)", &[]),
            ("NEW.id := nextval('audit'); a := '\"audit\"'::regclass", &["\"audit\"", "audit"]),
            ("NEW.id := nextval('one.audit'); a := 'audit'::text; b := nextval(things)", &[]),
            ("RAISE NOTICE 'delete from audit'", &[]),
            ("DECLARE a audit.id%TYPE; b one.audit.id%TYPE; BEGIN NULL; END", &["audit"]),
            ("DECLARE a int; m mood[]; BEGIN NULL; END", &["mood"]),
            ("DECLARE m CONSTANT mood NOT NULL := 'sad'; BEGIN NULL; END", &["mood"]),
            ("DECLARE m mood DEFAULT 'sad'; BEGIN NULL; END", &["mood"]),
            (
                "DECLARE audit int; BEGIN audit := 1; IF audit = 1 THEN RETURN audit; END IF; END",
                &[],
            ),
            ("PERFORM CAST('{sad}' AS mood[])", &["mood"]),
            ("PERFORM mood 'sad'", &["mood"]),
            ("LOCK audit IN SHARE MODE; ANALYZE things", &["audit", "things"]),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY audit", &["audit"]),
            ("DROP TABLE IF EXISTS audit; IF EXISTS (SELECT 1) THEN NULL; END IF", &["audit"]),
            ("EXECUTE 'ALTER TABLE audit DISABLE TRIGGER ALL'", &["audit"]),
            ("q := 'DELETE FROM audit'; RAISE NOTICE 'delete from things'; EXECUTE q", &["audit"]),
            ("-- FROM audit\nSELECT 'FROM audit'", &[]),
        ] {
            assert_eq!(bare_names(source, &catalog), expected, "{source}");
        }
    }
}
