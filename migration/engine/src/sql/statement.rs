use super::{Kind, tokens};

/// One statement out of a text that may hold several.
#[derive(Debug, Clone)]
pub(crate) struct SqlStatement {
    pub(crate) sql: String,
    /// Without comments. Positions are those in `sql`.
    pub(crate) words: Vec<Word>,
    /// Its comments, without their delimiters.
    pub(crate) comments: Vec<String>,
}

/// One token of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) kind: Kind,
    /// What it says: see [`Token::content`](super::Token).
    pub(crate) text: String,
    pub(crate) at: std::ops::Range<usize>,
    /// How many parentheses and brackets are open around it.
    pub(crate) depth: usize,
}

impl SqlStatement {
    /// The statements of `sql`: what is between semicolons, comments before it included.
    pub(crate) fn split(sql: &str) -> Vec<Self> {
        let mut pieces = Vec::new();
        let (mut begin, mut depth, mut body) = (0, 0_usize, Body::default());
        for token in tokens(sql) {
            let text = &sql[token.at.clone()];
            match (token.kind, text) {
                (Kind::Other, "(" | "[") => depth += 1,
                (Kind::Other, ")" | "]") => depth = depth.saturating_sub(1),
                (Kind::Other, ";") if depth == 0 && !body.is_open() => {
                    pieces.push(Self::one(&sql[begin..token.at.start]));
                    (begin, body) = (token.at.end, Body::default());
                    continue;
                }
                (Kind::Comment, _) => continue,
                _ => {}
            }
            body.read(token.kind, text);
        }
        pieces.push(Self::one(&sql[begin..]));
        pieces.retain(|piece| !piece.words.is_empty() || !piece.comments.is_empty());
        pieces
    }

    /// The whole of `sql`, semicolons included.
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

    /// Whether it has nothing but comments.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The key word or name without quotes at `index`.
    pub(crate) fn word(&self, index: usize) -> Option<&str> {
        let word = self.words.get(index).filter(|word| word.kind == Kind::Word)?;
        Some(word.text.as_str())
    }

    /// Whether it begins with these words.
    pub(crate) fn starts_with(&self, words: &[&str]) -> bool {
        self.at(0, words)
    }

    /// Where these words follow each other for the first time.
    pub(crate) fn find(&self, words: &[&str]) -> Option<usize> {
        (0..self.words.len()).find(|index| self.at(*index, words))
    }

    /// Whether the word stands somewhere outside all parentheses.
    pub(crate) fn has_top_level(&self, word: &str) -> bool {
        let stands = |it: &Word| (it.kind, it.text.as_str()) == (Kind::Word, word);
        self.words.iter().any(|it| it.depth == 0 && stands(it))
    }

    fn at(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(index + n) == Some(word))
    }

    /// Where the `CONCURRENTLY` is that a transaction refuses.
    pub(crate) fn concurrently(&self) -> Option<usize> {
        let applies = ["create", "drop", "reindex", "alter"].contains(&self.word(0)?);
        self.find(&["concurrently"]).filter(|_| applies)
    }

    /// The character at `index`.
    pub(crate) fn symbol(&self, index: usize) -> Option<&str> {
        let word = self.words.get(index).filter(|word| word.kind == Kind::Other)?;
        Some(word.text.as_str())
    }

    /// The name at `index`, in quotes or not.
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

/// The body of a function between `BEGIN ATOMIC` and its `END`, whose semicolons end no statement.
#[derive(Debug, Default)]
struct Body {
    /// The words that a statement begins with, as far as they may be `CREATE OR REPLACE FUNCTION`.
    start: Vec<String>,
    before: String,
    /// How many `END` it takes: that of the body and one for each `CASE`.
    open: usize,
}

impl Body {
    fn is_open(&self) -> bool {
        self.open > 0
    }

    fn read(&mut self, kind: Kind, text: &str) {
        let word = if kind == Kind::Word { text.to_ascii_lowercase() } else { text.to_owned() };
        // Behind these a reserved word is a name: t.end, AS end.
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
        SqlStatement::split(sql).into_iter().map(|piece| piece.sql).collect()
    }

    #[test]
    fn statements_are_told_apart() {
        assert_eq!(texts("SELECT 1; SELECT ';' ;"), ["SELECT 1", "SELECT ';'"]);
        assert_eq!(texts("DO $$ BEGIN a; END $$;"), ["DO $$ BEGIN a; END $$"]);
        assert_eq!(texts("CREATE RULE r AS ON UPDATE TO t DO (a; b)").len(), 1);
        assert_eq!(texts("SELECT E'a'\n'b\\'; c'; d"), ["SELECT E'a'\n'b\\'; c'", "d"]);
        assert_eq!(texts(" ; \n;"), [""; 0]);
    }

    #[test]
    fn the_body_of_a_function_ends_at_its_own_end() {
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
        // These words open nothing elsewhere.
        assert_eq!(texts("SELECT begin atomic; SELECT 2").len(), 2);
        assert_eq!(texts("BEGIN; SELECT CASE WHEN a THEN b END; END").len(), 3);
    }

    #[test]
    fn a_comment_belongs_to_the_statement_behind_it() {
        let pieces = SqlStatement::split("a; /* check: allow rename because x */ b");
        assert_eq!([pieces[0].comments.len(), pieces[1].comments.len()], [0, 1]);
        let alone = &SqlStatement::split("/* check: allow rename because x */")[0];
        assert!(alone.is_empty());
    }

    #[test]
    fn depth_is_that_around_the_token() {
        let depths = SqlStatement::split("a(b[1])c")[0]
            .words
            .iter()
            .map(|word| word.depth)
            .collect::<Vec<_>>();
        assert_eq!(depths, [0, 0, 1, 1, 2, 1, 0, 0]);
    }
}
