//! Statements that begin or end a transaction.

use super::SqlStatement;

impl SqlStatement {
    /// Whether the statement begins, ends or prepares a transaction. Savepoints do not: `SAVEPOINT`,
    /// `RELEASE`, `ROLLBACK TO`.
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
    use super::SqlStatement;

    fn is_transaction_control(sql: &str) -> bool {
        SqlStatement::split(sql).iter().any(SqlStatement::is_transaction_control)
    }

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
            assert!(is_transaction_control(sql), "{sql}");
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
            assert!(!is_transaction_control(sql), "{sql}");
        }
    }
}
