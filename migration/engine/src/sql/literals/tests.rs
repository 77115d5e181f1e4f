use proptest::prelude::*;

use super::{Literal, MAX_STATEMENT, with_literals};
use crate::sql::{Kind, tokens};

fn text(text: &str) -> Literal {
    Literal { text: Some(text.to_owned()), of: "text" }
}

fn written(sql: &str, texts: &[&str]) -> Option<String> {
    with_literals(sql, &texts.iter().map(|it| text(it)).collect::<Vec<_>>())
}

fn with_schema(expected: &str) -> String {
    expected.replace("::text)", "::pg_catalog.text)")
}

#[test]
fn every_parameter_is_replaced_and_nothing_else() {
    for (sql, texts, expected) in [
        ("SELECT $1", &["a"][..], "SELECT ('a'::text)"),
        ("$2,$1,$2", &["a", "b"], "('b'::text),('a'::text),('b'::text)"),
        ("a=$1AND b", &["a"], ""),
        ("a=$1 AND b=-$2::int", &["a", "1"], "a=('a'::text) AND b=-('1'::text)::int"),
        ("LIMIT $1;", &["1"], "LIMIT ('1'::text);"),
        ("SELECT '$1', $1", &["a"], "SELECT '$1', ('a'::text)"),
        ("SELECT E'\\'$1', $1", &["a"], "SELECT E'\\'$1', ('a'::text)"),
        ("SELECT $$ $1 $$, $1", &["a"], "SELECT $$ $1 $$, ('a'::text)"),
        ("SELECT \"$1\", a$1, $1 -- $1", &["a"], "SELECT \"$1\", a$1, ('a'::text) -- $1"),
        ("SELECT /* $1 /* $1 */ $1 */ $1", &["a"], "SELECT /* $1 /* $1 */ $1 */ ('a'::text)"),
        ("SELECT 1", &[], "SELECT 1"),
    ] {
        let expected = Some(with_schema(expected)).filter(|it| !it.is_empty());
        assert_eq!(written(sql, texts), expected, "{sql}");
    }
    let null = Literal { text: None, of: "int4" };
    assert_eq!(with_literals("$1", &[null]).as_deref(), Some("(NULL::pg_catalog.int4)"));
}

#[test]
fn values_that_look_like_sql_stay_values() {
    for (value, expected) in [
        ("", "(''::text)"),
        ("'", "(''''::text)"),
        ("''; DROP TABLE x; --", "('''''; DROP TABLE x; --'::text)"),
        ("$1 $2 $$ $tag$", "('$1 $2 $$ $tag$'::text)"),
        ("/* -- */", "('/* -- */'::text)"),
        ("\\", "($$\\$$::text)"),
        ("\\'; DROP", "($$\\'; DROP$$::text)"),
        ("a\nb", "('a\nb'::text)"),
        ("é\u{ffff}💂", "('é\u{ffff}💂'::text)"),
    ] {
        assert_eq!(written("$1", &[value]), Some(with_schema(expected)), "{value}");
    }
}

#[test]
fn refuses_what_cannot_be_written() {
    for (sql, texts) in [
        ("$1", &[][..]),
        ("$2", &["a"]),
        ("$0", &["a"]),
        ("$1", &["a", "b"]),
        ("SELECT '$1'", &["a"]),
        ("$99999999999999999999999", &["a"]),
        ("$1_0", &["a"]),
        ("$1é", &["a"]),
        ("$1", &["a\0"]),
        ("$1", &["\\$"]),
    ] {
        assert_eq!(written(sql, texts), None, "{sql} {texts:?}");
    }
    assert!(written("$1", &[&"a".repeat(Literal::MAX_TEXT)]).is_some());
    assert_eq!(written("$1", &[&"a".repeat(Literal::MAX_TEXT + 1)]), None);
    let many = "$1,".repeat(MAX_STATEMENT / Literal::MAX_TEXT + 1);
    assert_eq!(written(&many, &[&"a".repeat(Literal::MAX_TEXT)]), None);
    let long = format!("$1 {}", " ".repeat(MAX_STATEMENT));
    assert_eq!(written(&long, &["a"]), None);
}

proptest! {
    /// The written statement has the tokens of the statement, with a literal for each parameter.
    #[test]
    fn each_literal_is_one_string_with_its_type(
        sql in r#"([$][12] |'|"|E|\\|--|/\*|\*/|[$]|[a-z]| |\n|,){0,20}"#,
        one in r"(['\\$a-]|--|\PC|\n){0,12}",
        two in r"(['\\$a-]|--|\PC|\n){0,12}",
    ) {
        let values = [&*one, &*two];
        if let Some(written) = written(&sql, &values) {
            prop_assert_eq!(restored(&written), expected(&sql, &values));
        }
    }
}

/// The tokens by kind and content.
fn restored(sql: &str) -> Vec<(Kind, String)> {
    tokens(sql).map(|token| (token.kind, token.content(sql).into_owned())).collect()
}

fn expected(sql: &str, values: &[&str]) -> Vec<(Kind, String)> {
    let other = |text: &str| (Kind::Other, text.to_owned());
    let mut all = Vec::new();
    for token in tokens(sql) {
        let text = &sql[token.at.clone()];
        match text.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()) {
            Some(number) if token.kind == Kind::Other => all.extend([
                other("("),
                (Kind::Text, values[number - 1].to_owned()),
                other(":"),
                other(":"),
                (Kind::Word, "pg_catalog".to_owned()),
                other("."),
                (Kind::Word, "text".to_owned()),
                other(")"),
            ]),
            _ => all.push((token.kind, token.content(sql).into_owned())),
        }
    }
    all
}
