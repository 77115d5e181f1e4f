use super::SqlStatement;

/// Returns the first statement of `sql` that begins, ends or prepares a transaction. Savepoints are
/// allowed: `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`.
///
/// ```
/// use tenantry_migrate::sql::transaction_control;
///
/// assert_eq!(transaction_control("SELECT 'COMMIT'; -- COMMIT"), None);
/// assert_eq!(transaction_control("SELECT 1; commit and chain").as_deref(), Some("commit and chain"));
/// ```
#[must_use]
pub fn transaction_control(sql: &str) -> Option<String> {
    let statements = SqlStatement::split(sql).into_iter();
    statements.filter(SqlStatement::is_transaction_control).map(|it| it.sql).next()
}

impl SqlStatement {
    /// See [`transaction_control`].
    pub(crate) fn is_transaction_control(&self) -> bool {
        self.word(0).is_some_and(|first| match first {
            "begin" | "commit" | "end" | "abort" => true,
            "start" | "prepare" => self.word(1) == Some("transaction"),
            "rollback" => {
                let noise = matches!(self.word(1), Some("work" | "transaction"));
                self.word(1 + usize::from(noise)) != Some("to")
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::transaction_control;

    #[test]
    fn finds_transaction_control() {
        for sql in [
            "BEGIN",
            "begin isolation level serializable",
            "START TRANSACTION",
            "COMMIT",
            "commit work and chain",
            "END",
            "END TRANSACTION",
            "ABORT",
            "ROLLBACK",
            "ROLLBACK AND NO CHAIN",
            "PREPARE TRANSACTION 'to'",
            "COMMIT PREPARED 'a'",
            "ROLLBACK PREPARED 'to'",
            "/* a; */ -- b;\n COMMIT",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT",
            "SELECT E'a'\n'b\\''; COMMIT; --'",
        ] {
            assert!(transaction_control(sql).is_some(), "{sql}");
        }
        for sql in [
            "SAVEPOINT a",
            "RELEASE SAVEPOINT a",
            "RELEASE a",
            "ROLLBACK TO a",
            "ROLLBACK WORK TO SAVEPOINT a",
            "PREPARE a AS SELECT 1",
            "SET TRANSACTION READ ONLY",
            "DO $$ BEGIN COMMIT; END $$",
            "SELECT 1 AS commit; SELECT '; COMMIT;'",
            "\"commit\"",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        ] {
            assert_eq!(transaction_control(sql), None, "{sql}");
        }
    }
}
