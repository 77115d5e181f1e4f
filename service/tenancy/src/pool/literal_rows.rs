//! Execution of statements with literals.

use std::time::Duration;

use sea_orm::sqlx::{self, AssertSqlSafe, Executor, PgConnection, postgres::PgRow};

use super::{
    super::statement::QualifiedStatement,
    statement_choice::{Judgement, LiteralStatement, StatementChoice},
    text_rows::{in_binary, is_exact},
    timeouts::within,
};

/// The rows that a caller wants.
pub(super) struct Fetch {
    /// Only the first one.
    pub(super) is_one: bool,
    /// For the answer.
    pub(super) within: Option<Duration>,
}

impl Fetch {
    /// Sends a statement with literals. `None` if it has to be sent again, prepared.
    pub(super) async fn rows(
        self,
        connection: &mut PgConnection,
        LiteralStatement { sql, only_reads }: LiteralStatement,
        statement: &QualifiedStatement,
        choice: &StatementChoice,
    ) -> Result<Option<Vec<PgRow>>, sqlx::Error> {
        let text = sqlx::raw_sql(AssertSqlSafe(sql));
        let mut rows = match self.is_one {
            true => {
                within(self.within, connection.fetch_optional(text)).await?.into_iter().collect()
            }
            false => within(self.within, connection.fetch_all(text)).await?,
        };
        match choice.judge(&rows, statement.shape(), only_reads) {
            Judgement::Exact => Ok(Some(rows)),
            Judgement::SendAgain => Ok(None),
            Judgement::ReadAgain => {
                for row in rows.iter_mut().filter(|row| !is_exact(row)) {
                    let again = in_binary(row, connection, choice.needs_name());
                    *row = within(self.within, again).await?;
                }
                Ok(Some(rows))
            }
        }
    }
}
