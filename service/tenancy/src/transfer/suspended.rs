//! Rules of tables that do not apply while the rows are loaded.

use sea_orm::{ConnectionTrait, DbErr};
use tenantry_registry::SchemaName;

use super::tables::{Table, qualified, rows};

/// Statements to be sent before and after the rows are loaded into an otherwise unused schema.
///
/// Foreign keys between its tables are checked at once at the end, so that they may form cycles,
/// and since that is faster. Constraints that are marked as not valid hold for none of the rows.
/// Triggers do not fire: what they have done before is in the rows.
#[derive(Default)]
pub(super) struct Suspended {
    pub(super) before: String,
    pub(super) after: String,
}

impl Suspended {
    /// For a schema that is first in `search_path`.
    pub(super) async fn of(
        db: &impl ConnectionTrait,
        schema: &SchemaName,
        tables: &[Table],
    ) -> Result<Self, DbErr> {
        let mut found = Self::default();
        let add = |statement: String, text: &mut String| {
            text.push_str(&statement);
            text.push_str(";\n");
        };
        for sql in [CONSTRAINTS, TRIGGERS] {
            for row in rows(db, sql, [schema.as_str().into()]).await? {
                add(row.try_get_by_index(0)?, &mut found.before);
                add(row.try_get_by_index(1)?, &mut found.after);
            }
        }
        // Rows that migrations have inserted are among those of the tenant.
        let names: Vec<String> = tables.iter().map(|it| qualified(schema, &it.name)).collect();
        if !names.is_empty() {
            add(format!("TRUNCATE {}", names.join(", ")), &mut found.before);
        }
        for row in rows(db, VIEWS, [schema.as_str().into()]).await? {
            add(row.try_get_by_index(0)?, &mut found.after);
        }
        Ok(found)
    }
}

/// Not foreign keys to other schemas: creating them again would lock those tables.
const CONSTRAINTS: &str = "\
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', k.conrelid::regclass, k.conname,
        pg_get_constraintdef(k.oid),
        format(E';\\nCOMMENT ON CONSTRAINT %I ON %s IS ', k.conname, k.conrelid::regclass)
            || quote_literal(obj_description(k.oid, 'pg_constraint')))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
WHERE n.nspname = $1 AND k.conparentid = 0 AND k.coninhcount = 0
AND CASE k.contype WHEN 'f' THEN r.relnamespace = c.relnamespace ELSE NOT k.convalidated END
ORDER BY k.oid";

const TRIGGERS: &str = "\
SELECT format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
    format('ALTER TABLE ONLY %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
        CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE '' END, t.tgname)
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT t.tgisinternal
AND t.tgenabled IN ('O', 'A') ORDER BY t.oid";

/// In the order in which they were created, as a view may read another one.
const VIEWS: &str = "\
SELECT format('REFRESH MATERIALIZED VIEW %s', c.oid::regclass)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'm' AND c.relispopulated ORDER BY c.oid";
