//! Text that names a moved object by its old schema: the source of functions, and names in strings.
//! PostgreSQL's own references follow an object, text does not.

use std::collections::HashSet;

use sea_orm::ConnectionTrait;
use tenantry_registry::SchemaName;

use super::AdoptError;
use crate::sql::{
    Kind, Token,
    query::{column, rows},
    tokens,
};

/// Number of tokens after `search_path` that may be its value.
const MAX_PATH: usize = 8;

/// Strings in strings are read up to this depth.
const MAX_DEPTH: u32 = 4;

/// The names of the relations, functions and types of the schema $1.
const OBJECTS: &str = "
    SELECT c.relname::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1
    UNION SELECT p.proname::text FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1
    UNION SELECT t.typname::text FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1";

/// Functions outside the schema $2 whose source contains $1, except those of PostgreSQL and of
/// extensions.
const FUNCTIONS: &str = "
    SELECT p.oid::regprocedure::text, p.prosrc FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE strpos(lower(p.prosrc), lower($1)) > 0 AND n.nspname <> $2
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1";

/// Returns an error if one of the `definitions` (object and text) of the schema `to`, or a function
/// elsewhere, names an object of `to` by its old schema.
pub(super) async fn refuse(
    txn: &impl ConnectionTrait,
    from: &str,
    to: &SchemaName,
    definitions: &[(String, String)],
) -> Result<(), AdoptError> {
    let moved: Vec<String> = column(txn, OBJECTS, [to.as_str().into()]).await?;
    let names = Names { schema: from, objects: moved.into_iter().collect() };
    let mut objects = Vec::new();
    for (object, text) in definitions {
        if names.are_in(text, 0) {
            let reason = format!(
                "its text names schema {from:?}; write it without the schema, or drop it before and \
                 create it again afterwards"
            );
            objects.push((object.clone(), reason));
        }
    }
    for row in rows(txn, FUNCTIONS, [from.into(), to.as_str().into()]).await? {
        let (function, source): (String, String) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if names.are_in(&source, 0) {
            let reason =
                format!("its source names schema {from:?} and would fail; change or drop it");
            objects.push((format!("function {function}"), reason));
        }
    }
    match objects.is_empty() {
        true => Ok(()),
        false => Err(AdoptError::NotMovable { schema: from.to_owned(), objects }),
    }
}

/// The moved objects by their old names.
struct Names<'a> {
    schema: &'a str,
    objects: HashSet<String>,
}

impl Names<'_> {
    /// Whether a text names one of the objects with the schema, or sets `search_path` to the schema.
    fn are_in(&self, text: &str, depth: u32) -> bool {
        let tokens: Vec<Token> = tokens(text).filter(|it| it.kind != Kind::Comment).collect();
        let is_name = |it: &Token| matches!(it.kind, Kind::Word | Kind::Quoted);
        let is = |it: &Token, name: &str| it.content(text) == name;
        let qualified = tokens.windows(3).any(|it| {
            is_name(&it[0])
                && is(&it[0], self.schema)
                && is(&it[1], ".")
                && is_name(&it[2])
                && self.objects.contains(it[2].content(text).as_ref())
        });
        let in_strings = || {
            let mut strings = tokens.iter().filter(|it| it.kind == Kind::Text);
            depth < MAX_DEPTH && strings.any(|it| self.are_in(&it.content(text), depth + 1))
        };
        qualified || self.are_in_path(text, &tokens) || in_strings()
    }

    /// Whether the schema is in the value of a `search_path`.
    fn are_in_path(&self, text: &str, tokens: &[Token]) -> bool {
        let is_schema = |it: &Token| {
            let content = it.content(text);
            let inner = || tokens_of(&content).any(|name| name == self.schema);
            content == self.schema || it.kind == Kind::Text && inner()
        };
        tokens.iter().enumerate().filter(|(_, it)| it.content(text) == "search_path").any(
            |(at, _)| {
                let value = tokens[at + 1..].iter().take(MAX_PATH);
                value.take_while(|it| it.content(text) != ";").any(is_schema)
            },
        )
    }
}

fn tokens_of(text: &str) -> impl Iterator<Item = String> {
    tokens(text).map(|it| it.content(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn finds_names_in_code_and_in_strings_but_no_other_words() {
        let names = Names { schema: "public", objects: ["guards".to_owned()].into() };
        for text in [
            "SELECT 1 FROM public.guards",
            "SELECT 1 FROM PUBLIC . Guards",
            r#"SELECT 1 FROM "public"."guards""#,
            "nextval(('public.guards'::text)::regclass)",
            "BEGIN EXECUTE 'INSERT INTO public.guards VALUES (''a'')'; END",
            "BEGIN EXECUTE format($q$SELECT 'public.guards'$q$); END",
            "BEGIN SET LOCAL search_path = public; END",
            "SELECT set_config('search_path', 'a, public', true)",
        ] {
            assert!(names.are_in(text, 0), "{text}");
        }
        for text in [
            "SELECT 1 FROM guards",
            "SELECT public.citext('a')",
            "CHECK (visibility = 'public')",
            "-- public.guards\nSELECT 1",
            "SELECT public FROM guards",
            "SELECT 'republic.guards'",
            "GRANT SELECT ON guards TO public",
            "set search_path=(own schema) as BEGIN GRANT SELECT ON guards TO public; END",
        ] {
            assert!(!names.are_in(text, 0), "{text}");
        }
    }
}
