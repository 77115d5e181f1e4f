//! Indexes that a failed attempt of a migration outside a transaction has left.
//!
//! A concurrent build that fails leaves an index behind that is not valid: it costs writes, answers
//! nothing, and stands in the way of the next try (PostgreSQL manual, CREATE INDEX). To tell it from
//! others that are not valid – one on a partitioned table, one that a person has tried to build –
//! the indexes that there are before the first try are noted in a comment on the migrations table.

use sea_orm::{
    DbErr,
    sqlx::{self, Row, postgres::PgRow},
};

use crate::{
    DynMigrator, Target, plan::Step, provision::recorder::record_install, proxy::OwnSession,
};

/// The indexes of a schema while one migration runs.
pub(crate) struct Indexes {
    schema: String,
    /// The migrations table.
    table: String,
    /// The indexes that there were before the first try; none if that could not be noted.
    before: Option<Vec<String>>,
}

const MARK: &str = "tenantry: indexes before ";

impl Indexes {
    /// Finds or writes the note.
    pub(crate) async fn begin(
        own: &mut OwnSession,
        target: &Target,
        migrator: &DynMigrator,
        step: &Step,
    ) -> Result<Self, DbErr> {
        let (schema, table) = (target.name().to_owned(), target.table(migrator));
        own.send(&record_install(migrator), []).await?;
        let comment = "SELECT obj_description($1::regclass, 'pg_class')";
        let comment = text(own, comment, &table).await?;
        let way = if step.up { "up" } else { "down" };
        let mark = format!("{MARK}{} {way}: ", step.migration.name());
        let noted = comment.as_deref().and_then(|comment| comment.strip_prefix(&mark));
        let before = match (noted, &comment) {
            (Some(noted), _) => Some(noted.split(' ').map(str::to_owned).collect()),
            // A comment of the application's own, which is kept.
            (None, Some(comment)) if !comment.starts_with(MARK) => None,
            (None, _) => {
                let all = "SELECT string_agg(c.oid::text, ' ') FROM pg_catalog.pg_class c
                     WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('i', 'I')";
                let all = text(own, all, &target.quoted()).await?.unwrap_or_default();
                let note = format!("COMMENT ON TABLE {table} IS $1");
                own.send(&note, [(mark + &all).into()]).await?;
                Some(all.split(' ').map(str::to_owned).collect())
            }
        };
        Ok(Self { schema, table, before })
    }

    /// Drops what failed tries have left, however long other transactions are to be waited for, or
    /// only if they are not in the way.
    pub(crate) async fn clean_up(&self, own: &mut OwnSession, patient: bool) -> Result<(), DbErr> {
        for name in self.left(own).await? {
            let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
            if patient {
                own.execute_text(&sql).await?;
            } else {
                own.send(&sql, []).await?;
            }
        }
        Ok(())
    }

    /// Refuses when an index of the migration is not valid, and removes the note.
    pub(crate) async fn end(&self, own: &mut OwnSession) -> Result<(), DbErr> {
        let left = self.left(own).await?;
        let wanted = std::mem::take(&mut own.wanted);
        let invalid = self.invalid(own).await?.into_iter();
        let invalid = invalid.filter(|it| left.contains(&it.quoted) || wanted.contains(&it.name));
        if let Some(index) = invalid.map(|it| it.quoted).next() {
            return Err(DbErr::Custom(format!(
                "the index {index} is not valid; DROP INDEX CONCURRENTLY {index}, and run the \
                 migration again"
            )));
        }
        if self.before.is_some() {
            own.send(&format!("COMMENT ON TABLE {} IS NULL", self.table), []).await?;
        }
        Ok(())
    }

    /// The quoted names of the indexes that are not valid and were not there before.
    async fn left(&self, own: &mut OwnSession) -> Result<Vec<String>, DbErr> {
        let Some(before) = &self.before else { return Ok(Vec::new()) };
        let invalid = self.invalid(own).await?.into_iter();
        Ok(invalid.filter(|it| !before.contains(&it.oid)).map(|it| it.quoted).collect())
    }

    /// Indexes of the schema's tables that are not valid and that no other session is building.
    /// Neither those of partitioned tables, which are not valid as long as one of a partition is
    /// missing, nor those attached to one.
    async fn invalid(&self, own: &mut OwnSession) -> Result<Vec<Invalid>, DbErr> {
        let sql = "SELECT c.oid::text, c.relname::text, format('%I.%I', n.nspname, c.relname)
             FROM pg_catalog.pg_index i
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND NOT i.indisvalid AND c.relkind = 'i'
             AND NOT c.relispartition
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                 WHERE p.index_relid = c.oid AND p.pid <> pg_backend_pid()
                 AND p.datname = current_database())";
        let rows = own.send(sql, [self.schema.as_str().into()]).await?;
        rows.iter().map(Invalid::from_row).collect()
    }
}

async fn text(own: &mut OwnSession, sql: &str, value: &str) -> Result<Option<String>, DbErr> {
    let rows = own.send(sql, [value.into()]).await?;
    let text = |row: &PgRow| row.try_get(0).map_err(|error| unreadable(&error));
    rows.first().map(text).transpose().map(Option::flatten)
}

fn unreadable(error: &sqlx::Error) -> DbErr {
    DbErr::Type(error.to_string())
}

struct Invalid {
    oid: String,
    name: String,
    quoted: String,
}

impl Invalid {
    fn from_row(row: &PgRow) -> Result<Self, DbErr> {
        let text = |index: usize| row.try_get(index).map_err(|error| unreadable(&error));
        Ok(Self { oid: text(0)?, name: text(1)?, quoted: text(2)? })
    }
}
