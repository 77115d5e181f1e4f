//! A statement with literals has the tokens of the statement, with one string for each parameter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenantry_migrate::sql::{Kind, Literal, tokens, with_literals};

fuzz_target!(|input: (&str, Vec<Option<&str>>)| {
    let (sql, values) = input;
    let literal = |text: &Option<&str>| Literal { text: text.map(str::to_owned), of: "text" };
    let literals: Vec<Literal> = values.iter().map(literal).collect();
    let Some(written) = with_literals(sql, &literals) else { return };
    let mut written_tokens = tokens(&written).map(|token| (token.kind, &written[token.at]));
    let mut next = || written_tokens.next().expect("a token is missing");
    for token in tokens(sql) {
        let text = &sql[token.at.clone()];
        let number = text.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let (Kind::Other, Some(number)) = (token.kind, number) else {
            assert_eq!(next(), (token.kind, text), "{written}");
            continue;
        };
        assert_eq!(next(), (Kind::Other, "("), "{written}");
        match values[number - 1] {
            Some(value) => {
                let (kind, quoted) = next();
                assert_eq!(kind, Kind::Text, "{written}");
                assert_eq!(unquoted(quoted), value, "{written}");
            }
            None => assert_eq!(next(), (Kind::Word, "NULL"), "{written}"),
        }
        for expected in [":", ":"] {
            assert_eq!(next(), (Kind::Other, expected), "{written}");
        }
        assert_eq!(next(), (Kind::Word, "pg_catalog"), "{written}");
        assert_eq!(next(), (Kind::Other, "."), "{written}");
        assert_eq!(next(), (Kind::Word, "text"), "{written}");
        assert_eq!(next(), (Kind::Other, ")"), "{written}");
    }
    assert!(written_tokens.next().is_none(), "there are more tokens: {written}");
});

/// By the rules of PostgreSQL (manual, 4.1.2.1 and 4.1.2.4).
fn unquoted(quoted: &str) -> String {
    match quoted.strip_prefix("$$") {
        Some(rest) => rest.strip_suffix("$$").expect("it is not closed").to_owned(),
        None => {
            let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            inner.expect("it is not a string").replace("''", "'")
        }
    }
}
