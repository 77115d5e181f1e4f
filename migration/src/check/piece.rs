use super::{
    allow::Allowance,
    lexer::{Kind, Token, tokens},
};

/// One statement out of a text that may hold several.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) sql: String,
    /// Without comments. Positions are those in `sql`.
    pub(super) tokens: Vec<Token>,
    /// Acknowledgements in its comments.
    pub(super) allowances: Vec<Allowance>,
}

impl Piece {
    /// The statements of `sql`: what is between semicolons, comments before it included.
    pub(crate) fn all(sql: &str) -> Vec<Self> {
        let all = tokens(sql);
        let ends = all.iter().enumerate().filter(|(index, token)| {
            token.kind == Kind::Other
                && token.text == ";"
                && token.depth == 0
                && !in_function_body(&all[..*index])
        });
        let mut pieces = Vec::new();
        let mut begin = 0;
        for end in ends.map(|(_, token)| token.at.clone()) {
            pieces.push(Self::one(&sql[begin..end.start]));
            begin = end.end;
        }
        pieces.push(Self::one(&sql[begin..]));
        pieces.retain(|piece| !piece.tokens.is_empty() || !piece.allowances.is_empty());
        pieces
    }

    fn one(sql: &str) -> Self {
        let sql = sql.trim();
        let (comments, tokens): (Vec<Token>, Vec<Token>) =
            tokens(sql).into_iter().partition(|token| token.kind == Kind::Comment);
        let allowances = comments.iter().filter_map(|token| Allowance::read(&token.text)).collect();
        Self { sql: sql.to_owned(), tokens, allowances }
    }

    /// Whether it has nothing but comments.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The key word or name without quotes at `index`.
    pub(crate) fn word(&self, index: usize) -> Option<&str> {
        let token = self.tokens.get(index).filter(|token| token.kind == Kind::Word)?;
        Some(token.text.as_str())
    }

    /// Whether it begins with these words.
    pub(crate) fn begins(&self, words: &[&str]) -> bool {
        self.at(0, words)
    }

    /// Where these words follow each other for the first time.
    pub(crate) fn find(&self, words: &[&str]) -> Option<usize> {
        (0..self.tokens.len()).find(|index| self.at(*index, words))
    }

    /// Whether the word stands somewhere outside all parentheses.
    pub(crate) fn outside_parentheses(&self, word: &str) -> bool {
        let stands = |token: &Token| (token.kind, token.text.as_str()) == (Kind::Word, word);
        self.tokens.iter().any(|token| token.depth == 0 && stands(token))
    }

    fn at(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(index + n) == Some(word))
    }

    /// The character at `index`.
    pub(crate) fn symbol(&self, index: usize) -> Option<&str> {
        let token = self.tokens.get(index).filter(|token| token.kind == Kind::Other)?;
        Some(token.text.as_str())
    }

    /// The name at `index`, in quotes or not.
    pub(super) fn name(&self, index: usize) -> Option<&str> {
        let is_name = |token: &&Token| matches!(token.kind, Kind::Word | Kind::Quoted);
        Some(self.tokens.get(index).filter(is_name)?.text.as_str())
    }

    /// The statement without the token at `index`.
    pub(super) fn without(&self, index: usize) -> String {
        let at = &self.tokens[index].at;
        format!("{}{}", &self.sql[..at.start], &self.sql[at.end..])
    }
}

/// `CREATE FUNCTION … BEGIN ATOMIC …; END` is one statement.
fn in_function_body(before: &[Token]) -> bool {
    before.windows(2).any(|pair| pair[0].text == "begin" && pair[1].text == "atomic")
}

#[cfg(test)]
mod tests {
    use super::Piece;

    fn texts(sql: &str) -> Vec<String> {
        Piece::all(sql).into_iter().map(|piece| piece.sql).collect()
    }

    #[test]
    fn statements_are_told_apart() {
        assert_eq!(texts("SELECT 1; SELECT ';' ;"), ["SELECT 1", "SELECT ';'"]);
        assert_eq!(texts("DO $$ BEGIN a; END $$;"), ["DO $$ BEGIN a; END $$"]);
        assert_eq!(texts("CREATE RULE r AS ON UPDATE TO t DO (a; b)").len(), 1);
        assert_eq!(texts("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT 2; END").len(), 1);
        assert_eq!(texts(" ; -- nothing; at all\n"), [""; 0]);
    }

    #[test]
    fn a_comment_belongs_to_the_statement_behind_it() {
        let pieces = Piece::all("a; /* check: allow rename because x */ b");
        assert_eq!([pieces[0].allowances.len(), pieces[1].allowances.len()], [0, 1]);
        let alone = &Piece::all("/* check: allow rename because x */")[0];
        assert!(alone.is_empty());
    }
}
