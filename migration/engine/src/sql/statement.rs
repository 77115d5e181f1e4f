//! Statements as lists of tokens.

use super::{Kind, tokens};

/// One statement.
#[derive(Debug, Clone)]
pub(crate) struct SqlStatement {
    pub(crate) sql: String,
    /// Its tokens, without comments.
    pub(crate) words: Vec<Word>,
    /// Its comments, without their delimiters.
    pub(crate) comments: Vec<String>,
}

/// One token of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) kind: Kind,
    /// Its content: see [`Token::content`](super::Token).
    pub(crate) text: String,
    pub(crate) at: std::ops::Range<usize>,
    /// Number of open parentheses and brackets around it.
    pub(crate) depth: usize,
}

impl SqlStatement {
    /// Splits `sql` at semicolons. A comment belongs to the statement after it.
    pub(crate) fn split(sql: &str) -> Vec<Self> {
        let mut statements = Vec::new();
        let (mut begin, mut depth, mut body) = (0, 0_usize, Body::default());
        for token in tokens(sql) {
            let text = &sql[token.at.clone()];
            match (token.kind, text) {
                (Kind::Other, "(" | "[") => depth += 1,
                (Kind::Other, ")" | "]") => depth = depth.saturating_sub(1),
                (Kind::Other, ";") if depth == 0 && !body.is_open() => {
                    statements.push(Self::one(&sql[begin..token.at.start]));
                    (begin, body) = (token.at.end, Body::default());
                    continue;
                }
                (Kind::Comment, _) => continue,
                _ => {}
            }
            body.read(token.kind, text);
        }
        statements.push(Self::one(&sql[begin..]));
        statements
            .retain(|statement| !statement.words.is_empty() || !statement.comments.is_empty());
        statements
    }

    /// `sql` as one statement, semicolons included.
    pub(crate) fn one(sql: &str) -> Self {
        let sql = sql.trim_ascii();
        let (mut words, mut comments, mut depth) = (Vec::new(), Vec::new(), 0_usize);
        for token in tokens(sql) {
            let text = token.content(sql).into_owned();
            if token.kind == Kind::Comment {
                comments.push(text);
                continue;
            }
            if token.kind == Kind::Other && [")", "]"].contains(&text.as_str()) {
                depth = depth.saturating_sub(1);
            }
            let opens = token.kind == Kind::Other && ["(", "["].contains(&text.as_str());
            words.push(Word { kind: token.kind, text, at: token.at, depth });
            depth += usize::from(opens);
        }
        Self { sql: sql.to_owned(), words, comments }
    }

    /// Whether it consists of comments.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The keyword or unquoted name at `index`.
    pub(crate) fn word(&self, index: usize) -> Option<&str> {
        let word = self.words.get(index).filter(|word| word.kind == Kind::Word)?;
        Some(word.text.as_str())
    }

    /// Whether it starts with these words.
    pub(crate) fn starts_with(&self, words: &[&str]) -> bool {
        self.at(0, words)
    }

    /// Index of the first occurrence of these consecutive words.
    pub(crate) fn find(&self, words: &[&str]) -> Option<usize> {
        (0..self.words.len()).find(|index| self.at(*index, words))
    }

    /// Whether the word occurs outside of parentheses.
    pub(crate) fn has_top_level(&self, word: &str) -> bool {
        let stands = |it: &Word| (it.kind, it.text.as_str()) == (Kind::Word, word);
        self.words.iter().any(|it| it.depth == 0 && stands(it))
    }

    fn at(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(index + n) == Some(word))
    }

    /// Index of a `CONCURRENTLY` that cannot run in a transaction.
    pub(crate) fn concurrently(&self) -> Option<usize> {
        let applies = ["create", "drop", "reindex", "alter"].contains(&self.word(0)?);
        self.find(&["concurrently"]).filter(|_| applies)
    }

    /// The symbol at `index`.
    pub(crate) fn symbol(&self, index: usize) -> Option<&str> {
        let word = self.words.get(index).filter(|word| word.kind == Kind::Other)?;
        Some(word.text.as_str())
    }

    /// The name at `index`, quoted or not.
    pub(crate) fn name(&self, index: usize) -> Option<&str> {
        let is_name = |word: &&Word| matches!(word.kind, Kind::Word | Kind::Quoted);
        Some(self.words.get(index).filter(is_name)?.text.as_str())
    }

    /// The statement without the token at `index`.
    pub(crate) fn remove_token(&self, index: usize) -> String {
        let at = &self.words[index].at;
        format!("{}{}", &self.sql[..at.start], &self.sql[at.end..])
    }
}

/// Body of a function between `BEGIN ATOMIC` and its `END`, whose semicolons do not end the
/// statement.
#[derive(Debug, Default)]
struct Body {
    /// The first four words of the statement, for `CREATE OR REPLACE FUNCTION`.
    start: Vec<String>,
    before: String,
    /// Number of missing `END`: one for the body, and one for each `CASE`.
    open: usize,
}

impl Body {
    fn is_open(&self) -> bool {
        self.open > 0
    }

    fn read(&mut self, kind: Kind, text: &str) {
        let word = if kind == Kind::Word { text.to_ascii_lowercase() } else { text.to_owned() };
        // After these a reserved word is a name: t.end, AS end.
        let is_name = kind != Kind::Word || [".", "as"].contains(&self.before.as_str());
        match word.as_str() {
            "atomic" if self.before == "begin" && self.makes_function() => {
                self.open = self.open.max(1);
            }
            "case" if self.is_open() && !is_name => self.open += 1,
            "end" if !is_name => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        if self.start.len() < 4 {
            self.start.push(word.clone());
        }
        self.before = word;
    }

    fn makes_function(&self) -> bool {
        let start: Vec<&str> = self.start.iter().map(String::as_str).collect();
        matches!(
            start[..],
            ["create", "function" | "procedure", ..]
                | ["create", "or", "replace", "function" | "procedure"]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::SqlStatement;

    fn texts(sql: &str) -> Vec<String> {
        SqlStatement::split(sql).into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn splits_statements() {
        assert_eq!(texts("SELECT 1; SELECT ';' ;"), ["SELECT 1", "SELECT ';'"]);
        assert_eq!(texts("DO $$ BEGIN a; END $$;"), ["DO $$ BEGIN a; END $$"]);
        assert_eq!(texts("CREATE RULE r AS ON UPDATE TO t DO (a; b)").len(), 1);
        assert_eq!(texts("SELECT E'a'\n'b\\'; c'; d"), ["SELECT E'a'\n'b\\'; c'", "d"]);
        assert_eq!(texts(" ; \n;"), [""; 0]);
    }

    #[test]
    fn does_not_split_function_bodies() {
        for body in [
            "SELECT 1; SELECT 2;",
            "SELECT CASE a WHEN 1 THEN 2 ELSE CASE WHEN b THEN 3 END END; SELECT 2;",
            "SELECT a AS end, t.case FROM t; SELECT b AS \"end\", 'end' /* end; */ -- end;\n;",
            "INSERT INTO t SELECT (SELECT CASE WHEN a THEN (1) END);",
            "",
        ] {
            for kind in ["FUNCTION", "OR REPLACE FUNCTION", "procedure"] {
                let function = format!(
                    "CREATE {kind} f(begin int) LANGUAGE sql\n/* a; b */ BEGIN ATOMIC {body} END"
                );
                let sql = format!("SELECT 1; {function} ; COMMIT; SELECT 2");
                assert_eq!(texts(&sql), ["SELECT 1", &function, "COMMIT", "SELECT 2"]);
            }
        }
        // Elsewhere these words do not begin a body.
        assert_eq!(texts("SELECT begin atomic; SELECT 2").len(), 2);
        assert_eq!(texts("BEGIN; SELECT CASE WHEN a THEN b END; END").len(), 3);
    }

    #[test]
    fn comment_belongs_to_the_next_statement() {
        let statements = SqlStatement::split("a; /* check: allow rename because x */ b");
        assert_eq!([statements[0].comments.len(), statements[1].comments.len()], [0, 1]);
        let comment = &SqlStatement::split("/* check: allow rename because x */")[0];
        assert!(comment.is_empty());
    }

    #[test]
    fn depth_counts_enclosing_parentheses() {
        let depths = SqlStatement::split("a(b[1])c")[0]
            .words
            .iter()
            .map(|word| word.depth)
            .collect::<Vec<_>>();
        assert_eq!(depths, [0, 0, 1, 1, 2, 1, 0, 0]);
    }
}
