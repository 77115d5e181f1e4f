//! The lexer covers the whole text, and replacing the placeholder changes nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenantry_migrate::sql::{Kind, Token, qualify, tokens};

const PLACEHOLDER: &str = "\"@tenant\"";
/// As long as the placeholder, so that positions stay the same.
const SCHEMA: &str = "\"tenant1\"";

fuzz_target!(|sql: &str| {
    let before: Vec<Token> = tokens(sql).collect();
    let mut end = 0;
    for token in &before {
        assert!(token.at.start >= end && !token.at.is_empty(), "tokens overlap: {token:?}");
        let between = &sql[end..token.at.start];
        assert!(between.bytes().all(|byte| byte.is_ascii_whitespace() || byte == 0x0b), "{between:?}");
        end = token.at.end;
    }
    let is_placeholder = |token: &Token| {
        token.kind == Kind::Quoted && &sql[token.at.clone()] == PLACEHOLDER
    };
    let qualified = qualify(sql, SCHEMA, |_| false, |_| {}).expect("no schema is another tenant's");
    let mut expected = sql.as_bytes().to_vec();
    for token in before.iter().filter(|token| is_placeholder(token)) {
        expected[token.at.clone()].copy_from_slice(SCHEMA.as_bytes());
    }
    assert_eq!(qualified.as_bytes(), expected, "other text was changed");
    // The result has the same tokens, so nothing of the text has become a statement or left one.
    let after: Vec<Token> = tokens(&qualified).collect();
    assert_eq!(before, after, "{qualified}");
    // A schema of another tenant is either found or not named.
    let _ = qualify(sql, SCHEMA, |name| name == "tenant2", |_| {});
});
