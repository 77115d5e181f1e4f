//! Queries of the catalog on a plain connection.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

/// The first column of every row, as text.
pub async fn texts(db: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// All schemas except PostgreSQL's, sorted.
pub async fn schemas(db: &DatabaseConnection) -> Vec<String> {
    texts(
        db,
        "SELECT nspname::text FROM pg_namespace
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1",
    )
    .await
}

/// All tables of these schemas as `schema.table`, sorted.
pub async fn tables(db: &DatabaseConnection) -> Vec<String> {
    texts(
        db,
        "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
         ORDER BY 1",
    )
    .await
}

/// The schemas that have a table of this name, sorted.
pub async fn schemas_with(db: &DatabaseConnection, table: &str) -> Vec<String> {
    let suffix = format!(".{table}");
    let tables = tables(db).await;
    let with = tables.iter().filter_map(|name| name.strip_suffix(&suffix));
    with.map(str::to_owned).collect()
}

/// The columns, constraints and indexes of a schema's tables, without the schema's name.
pub async fn shape(db: &DatabaseConnection, schema: &str) -> Vec<String> {
    texts(
        db,
        &format!(
            "WITH t AS (SELECT c.oid, c.relname FROM pg_class c
                        WHERE relkind = 'r' AND relnamespace = '{schema}'::regnamespace)
             SELECT replace(line, '{schema}.', '') FROM (
                 SELECT relname || ' ' || attname || ' ' || format_type(atttypid, atttypmod)
                        || ' ' || attnotnull || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
                 FROM t JOIN pg_attribute a ON attrelid = t.oid AND attnum > 0
                 LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
                 UNION ALL
                 SELECT relname || ' ' || conname || ' ' || pg_get_constraintdef(c.oid)
                 FROM t JOIN pg_constraint c ON conrelid = t.oid
                 UNION ALL
                 SELECT pg_get_indexdef(indexrelid) FROM t JOIN pg_index ON indrelid = t.oid
             ) lines (line) ORDER BY 1"
        ),
    )
    .await
}
