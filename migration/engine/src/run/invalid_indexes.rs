//! Indexes that a failed attempt of a non-transactional migration has left.
//!
//! A concurrent build that fails leaves an invalid index: it slows down writes, serves no query, and
//! its name blocks the next attempt (PostgreSQL manual, CREATE INDEX). Other indexes may be invalid
//! as well, such as those of partitioned tables, or one that a person tried to build. To tell them
//! apart, a comment on the migrations table lists the indexes before the first attempt.

use sea_orm::{
    ConnectionTrait, DbErr, FromQueryResult,
    sqlx::{Row, postgres::PgRow},
};

use crate::{
    DynMigrator, Target, db_error::query_error, plan::Step, provision::migrations_table_sql,
    proxy::OwnSession, sql::query::rows,
};

/// Indexes of a schema while one migration runs.
pub(super) struct InvalidIndexes {
    schema: String,
    migrations_table: String,
    /// Indexes before the first attempt; `None` if that is unknown.
    before: Option<Vec<String>>,
}

const MARK: &str = "tenantry: indexes before ";

impl InvalidIndexes {
    /// Reads or writes the comment.
    pub(super) async fn begin(
        own: &mut OwnSession,
        target: &Target,
        migrator: &DynMigrator,
        step: &Step,
    ) -> Result<Self, DbErr> {
        let (schema, table) = (target.name().to_owned(), target.migrations_table(migrator));
        own.send(&migrations_table_sql(migrator), []).await?;
        let [comment] = own
            .texts("SELECT obj_description($1::regclass, 'pg_class')", [table.clone().into()])
            .await?;
        let direction = if step.up { "up" } else { "down" };
        let mark = format!("{MARK}{} {direction}: ", step.migration.name());
        let list = comment.as_deref().and_then(|comment| comment.strip_prefix(&mark));
        let before = match (list, &comment) {
            (Some(list), _) => Some(list.split(' ').map(str::to_owned).collect()),
            // A comment of the application, which is kept.
            (None, Some(comment)) if !comment.starts_with(MARK) => None,
            (None, _) => {
                let all = "SELECT c.oid::text FROM pg_catalog.pg_class c
                     WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('i', 'I')";
                let all: Vec<String> = own.column(all, [target.quoted().into()]).await?;
                let sql = format!("COMMENT ON TABLE {table} IS $1");
                own.send(&sql, [(mark + &all.join(" ")).into()]).await?;
                Some(all)
            }
        };
        Ok(Self { schema, migrations_table: table, before })
    }

    /// Drops the indexes of failed attempts; unless `wait`, only within the lock timeout.
    pub(super) async fn clean_up(&self, own: &mut OwnSession, wait: bool) -> Result<(), DbErr> {
        for name in self.left(own).await? {
            let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
            if wait {
                own.execute_text(&sql).await?;
            } else {
                own.send(&sql, []).await?;
            }
        }
        Ok(())
    }

    /// Returns an error if an index of the migration is invalid, and removes the comment otherwise.
    pub(super) async fn end(&self, own: &mut OwnSession) -> Result<(), DbErr> {
        let left = self.left(own).await?;
        let wanted = std::mem::take(&mut own.wanted);
        let mut invalid = self.invalid(own).await?.into_iter();
        let index = invalid.find(|it| left.contains(&it.quoted) || wanted.contains(&it.name));
        if let Some(Invalid { quoted, .. }) = index {
            return Err(DbErr::Custom(format!(
                "index {quoted} is invalid. Run DROP INDEX CONCURRENTLY {quoted}, then the \
                 migration again"
            )));
        }
        if self.before.is_some() {
            own.send(&format!("COMMENT ON TABLE {} IS NULL", self.migrations_table), []).await?;
        }
        Ok(())
    }

    /// The quoted names of the invalid indexes that did not exist before.
    async fn left(&self, own: &mut OwnSession) -> Result<Vec<String>, DbErr> {
        let Some(before) = &self.before else { return Ok(Vec::new()) };
        let invalid = self.invalid(own).await?.into_iter();
        Ok(invalid.filter(|it| !before.contains(&it.oid)).map(|it| it.quoted).collect())
    }

    /// Invalid indexes of the schema's tables.
    async fn invalid(&self, own: &mut OwnSession) -> Result<Vec<Invalid>, DbErr> {
        let sql = format!("SELECT oid::text, name, quoted FROM ({INVALID}) AS i WHERE schema = $1");
        let rows = own.send(&sql, [self.schema.as_str().into()]).await?;
        rows.iter().map(Invalid::from_row).collect()
    }
}

/// Invalid indexes that no other session is building. Without those of partitioned tables, which are
/// invalid as long as a partition lacks the index, and those attached to one.
const INVALID: &str = "SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name,
        format('%I.%I', n.nspname, c.relname) AS quoted, i.indrelid AS indexed
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT c.relispartition
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
        WHERE p.index_relid = c.oid AND p.pid <> pg_backend_pid()
        AND p.datname = current_database())";

/// An invalid index of a tenant: it slows down writes and serves no query.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct InvalidIndex {
    /// Slug of the tenant; none for a spare.
    pub tenant: Option<String>,
    /// Schema of the tenant.
    pub schema: String,
    /// Name of the index, with the schema, quoted.
    pub index: String,
    /// Whether `REINDEX CONCURRENTLY` has left it beside the index that is used.
    pub left: bool,
}

/// Those whose table no other session has locked as a concurrent build does. A role without the
/// right to see the progress of others sees that.
const NOT_LOCKED: &str = "NOT EXISTS (SELECT FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = i.indexed AND l.granted
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_backend_pid())";

/// Invalid indexes of all tenants that no session is building, at most `limit` of them.
///
/// # Errors
/// The errors of the database.
pub async fn invalid_indexes(
    db: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<InvalidIndex>, DbErr> {
    let sql = format!(
        "SELECT t.slug AS tenant, t.schema, i.quoted AS index,
             i.name ~ '_cc(new|old)[0-9]*$' AS left
         FROM ({INVALID}) AS i JOIN registry.tenants t USING (schema)
         WHERE t.status NOT IN ('dropping', 'dropped') AND {NOT_LOCKED}
         ORDER BY t.id, index LIMIT $1"
    );
    let found = rows(db, sql, [limit.cast_signed().into()]).await?;
    found.iter().map(|row| InvalidIndex::from_query_result(row, "")).collect()
}

struct Invalid {
    oid: String,
    name: String,
    quoted: String,
}

impl Invalid {
    fn from_row(row: &PgRow) -> Result<Self, DbErr> {
        let text = |index: usize| row.try_get(index).map_err(query_error);
        Ok(Self { oid: text(0)?, name: text(1)?, quoted: text(2)? })
    }
}
