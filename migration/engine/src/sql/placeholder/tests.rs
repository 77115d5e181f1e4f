use std::borrow::Cow;

use proptest::prelude::*;

use super::{QUOTED, qualify};

const SCHEMA: &str = "\"tenant_1\"";

fn replaced(sql: &str) -> String {
    qualify(sql, SCHEMA, |_| false, |_| {}).unwrap().into_owned()
}

#[test]
fn quoted_placeholders_are_replaced() {
    assert_eq!(
        replaced(r#"SELECT "a"."id" FROM "@tenant"."guards" AS "a", "@tenant"."shifts""#),
        r#"SELECT "a"."id" FROM "tenant_1"."guards" AS "a", "tenant_1"."shifts""#
    );
    assert_eq!(replaced(QUOTED), SCHEMA);
    assert_eq!(replaced("x\"@tenant\"é\"@tenant\""), "x\"tenant_1\"é\"tenant_1\"");
}

#[test]
fn a_statement_without_the_placeholder_is_not_copied() {
    for sql in ["", "SELECT 1", r#"SELECT '"tenant"'"#, "SELECT '@tenant'"] {
        let qualified = qualify(sql, SCHEMA, |_| false, |_| {});
        assert!(matches!(qualified, Ok(Cow::Borrowed(same)) if same == sql));
    }
}

/// The placeholder occurs in each text, but not as an identifier.
#[test]
fn text_that_only_looks_like_it_is_left_alone() {
    for sql in [
        r#"SELECT '"@tenant"'"#,
        r#"SELECT 'it''s "@tenant"'"#,
        // Without E a backslash is an ordinary character, so the string ends where it seems to.
        r#"SELECT 'a\', ' "@tenant"'"#,
        r#"SELECT E'a\' "@tenant"'"#,
        r#"SELECT e'a'' "@tenant"'"#,
        "SELECT E'a'\n  'b\\' \"@tenant\"'",
        "SELECT E'a' -- a comment is white space\n 'b\\' \"@tenant\"'",
        "SELECT E'a'\n -- comment\n 'b\\' \"@tenant\"'",
        r#"SELECT $$ "@tenant" $$"#,
        r#"SELECT $a$ $$ "@tenant" $b$ "@tenant" $a$"#,
        r#"SELECT $é$ "@tenant" $é$"#,
        "SELECT 1 -- \"@tenant\"\n",
        r#"SELECT 1 /* "@tenant" */"#,
        r#"SELECT 1 /* /* */ "@tenant" */"#,
        r#"SELECT """@tenant""" "#,
        r#"SELECT "a""@tenant""b""#,
        r#"SELECT U&"@tenant""#,
        r#"SELECT "@Tenant", "@tenant ", "x@tenant""#,
        // Not closed: PostgreSQL will refuse it; we must not touch it.
        r#"SELECT '"@tenant""#,
        r#"SELECT $$ "@tenant""#,
        r#"SELECT /* "@tenant""#,
    ] {
        assert_eq!(replaced(sql), sql);
    }
}

#[test]
fn what_follows_such_text_is_replaced_again() {
    for before in [
        r"'\'",
        r"E'\\'",
        r"E'\''",
        "E'a' 'b\\'",
        "'a'\n'b\\'",
        "$$'$$",
        "$1 $2",
        "a$b$",
        "$",
        "-- '\n",
        "--\r",
        "/* ' */",
        "/*/**/*/",
        "\"'\"",
        "U&\"'\"",
        "U&'\\'",
        "n'\\'",
        "1e'\\'",
        "- / * -",
        "é'",
    ] {
        // The last one opens a string: there the placeholder is inside.
        let inside = before == "é'";
        let sql = format!("{before} {QUOTED}");
        let expected = format!("{before} {}", if inside { QUOTED } else { SCHEMA });
        assert_eq!(replaced(&sql), expected, "{sql}");
    }
}

/// A piece of SQL text: as it is sent, and as it must come out.
fn piece() -> impl Strategy<Value = (String, String)> {
    let inert = prop_oneof![
        "[a-z ]{0,6}".prop_map(|text| format!("'{text}\"@tenant\"''{text}'")),
        "[a-z ]{0,6}".prop_map(|text| format!("E'{text}\\'\"@tenant\"\\\\'")),
        "[a-z]{0,3}".prop_map(|tag| format!("${tag}$ ' \"@tenant\" /* ${tag}$")),
        "[a-z'$]{0,6}".prop_map(|text| format!("--{text}\"@tenant\"\n")),
        "[a-z'$]{0,6}".prop_map(|text| format!("/*{text}/*\"@tenant\"*/ ' */")),
        "[a-z'$/-]{0,6}".prop_map(|text| format!("\"{text}\"\"@tenant\"\"\"")),
        "[a-zé0-9_(),.=<>+* ]{0,9}".prop_map(|text| text),
    ];
    prop_oneof![
        inert.prop_map(|text| (text.clone(), text)),
        Just((QUOTED.to_owned(), SCHEMA.to_owned())),
    ]
}

proptest! {
    #[test]
    fn only_identifiers_are_replaced_however_text_is_put_together(
        pieces in proptest::collection::vec(piece(), 0..12)
    ) {
        // A blank keeps neighbours from becoming one token.
        let sent: Vec<&str> = pieces.iter().map(|piece| piece.0.as_str()).collect();
        let wanted: Vec<&str> = pieces.iter().map(|piece| piece.1.as_str()).collect();
        prop_assert_eq!(replaced(&sent.join(" , ")), wanted.join(" , "));
    }

    #[test]
    fn any_text_at_all_goes_through(text in any::<String>(), more in "[\"'$@tenantEeUu&/*\\\\\n -]{0,40}") {
        let sql = format!("{text}{QUOTED}{more}{QUOTED}");
        let out = replaced(&sql);
        // Undoing the replacement gives the text back: nothing else was touched.
        if !sql.contains(SCHEMA) {
            prop_assert_eq!(out.replace(SCHEMA, QUOTED), sql);
        }
    }
}

#[test]
fn a_schema_of_another_tenant_is_refused_and_a_table_of_its_name_is_not() {
    let is_other = |name: &str| name == "guards" || name == "tenant_2";
    let other = |sql| qualify(sql, SCHEMA, is_other, |_| {});
    for sql in [
        r#"SELECT "a"."id" FROM "tenant_2"."shifts" AS "a""#,
        r#"SELECT "a"."id" FROM "@tenant"."guards" AS "a", "tenant_2"."shifts""#,
        r#"SELECT * FROM U&"tenant!005f2" UESCAPE '!' . guards"#,
        "SELECT * FROM Tenant_2 /* c */ .\n guards",
    ] {
        assert_eq!(other(sql), Err("tenant_2".to_owned()), "{sql}");
    }
    for (sql, qualified) in [
        (
            r#"SELECT "guards"."id" FROM "@tenant"."guards""#,
            r#"SELECT "guards"."id" FROM "tenant_1"."guards""#,
        ),
        (r#"SELECT "tenant_1"."guards"."id""#, r#"SELECT "tenant_1"."guards"."id""#),
        ("SELECT U&\"guards\".id FROM a guards", "SELECT U&\"guards\".id FROM a guards"),
    ] {
        assert_eq!(other(sql).as_deref(), Ok(qualified), "{sql}");
    }
}
