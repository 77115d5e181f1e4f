//! How a statement is sent: prepared and kept, prepared for one use, or with literals.

use std::sync::Arc;

use sea_orm::{
    Value, Values,
    sqlx::{
        Column, Row,
        postgres::{PgColumn, PgRow},
    },
};
use tenantry_migrate::sql::with_literals;

use super::{
    super::statement::{LiteralType, QualifiedStatement, literal},
    statement_admission::StatementAdmission,
    statement_shapes::{StatementShapes, Way},
    text_rows::Columns,
};

/// Decides how the statements of a connection are sent.
pub(super) struct StatementChoice {
    admission: StatementAdmission,
    /// `None` if no statement is sent with literals.
    shapes: Option<Arc<StatementShapes>>,
    /// Whether the session is as it was opened, so that texts have the form that the driver expects.
    is_unchanged: bool,
    needs_name: bool,
}

/// How to send a statement.
pub(super) enum Sending {
    /// With its values beside it.
    Prepared { is_kept: bool, lesson: Option<Lesson> },
    /// By the simple query protocol, with its values in this text.
    Literals(String),
}

/// A shape to be learned when it was executed.
pub(super) struct Lesson {
    shape: String,
    parameters: Vec<LiteralType>,
}

impl StatementChoice {
    pub(super) fn new(capacity: usize, shapes: Option<Arc<StatementShapes>>) -> Self {
        let admission = StatementAdmission::new(capacity);
        Self { admission, shapes, is_unchanged: true, needs_name: false }
    }

    /// Sets what the next statements find: whether the session is unchanged, and whether a prepared
    /// statement needs a name. A pooler in transaction mode may execute an unnamed statement that
    /// another client has prepared, since the driver prepares it in one trip and executes it in the
    /// next; in a transaction they reach the same session.
    pub(super) fn set_session(&mut self, is_unchanged: bool, needs_name: bool) {
        (self.is_unchanged, self.needs_name) = (is_unchanged, needs_name);
    }

    /// Number of statements so far that were not among the recent ones.
    pub(super) fn new_statements(&self) -> u64 {
        self.admission.new_statements()
    }

    /// Counts SQL that is not prepared, if it is new.
    pub(super) fn count_batch(&mut self, sql: &str) {
        self.admission.admits(sql);
    }

    /// Whether to prepare a statement with a name.
    pub(super) fn keeps(&mut self, sql: &str) -> bool {
        self.admission.admits(sql) || self.needs_name
    }

    /// How to send this statement, whose rows are read or ignored.
    pub(super) fn choose(&mut self, statement: &QualifiedStatement, reads_rows: bool) -> Sending {
        let is_admitted = self.admission.admits(&statement.statement.sql);
        let is_kept = is_admitted || self.needs_name;
        match &self.shapes {
            Some(shapes) if !is_admitted && self.is_unchanged => {
                choose_cold(shapes, statement, reads_rows, is_kept)
            }
            _ => Sending::Prepared { is_kept, lesson: None },
        }
    }

    /// Learns the shape of a statement that was executed, and the columns of its first row.
    pub(super) fn learn(&self, lesson: Lesson, row: Option<&PgRow>) {
        let Lesson { shape, parameters } = lesson;
        // A column that is only a parameter has this name; one that is a literal, that of its type.
        let is_unnamed = |column: &PgColumn| column.name() == "?column?";
        let Some(shapes) = &self.shapes else { return };
        let columns = row.map(|row| match row.columns().iter().any(is_unnamed) {
            true if !parameters.is_empty() => Columns::Inexact,
            _ => shapes.columns(row),
        });
        shapes.learn(&shape, parameters, columns);
    }

    /// Whether the rows of a statement that was sent with literals are those that it would have
    /// returned if prepared. If not, it has to be sent again.
    ///
    /// The columns are those of this tenant. They may have other types than those of the tenant of
    /// which the shape was learned, while tenants are being migrated.
    pub(super) fn is_exact(&self, rows: &[PgRow], shape: &str) -> bool {
        self.shapes.as_ref().is_some_and(|shapes| shapes.are_exact(rows, shape))
    }

    /// Whether a statement that is prepared now needs a name.
    pub(super) fn needs_name(&self) -> bool {
        self.needs_name
    }
}

/// How to send a statement that is not kept.
fn choose_cold(
    shapes: &StatementShapes,
    statement: &QualifiedStatement,
    reads_rows: bool,
    is_kept: bool,
) -> Sending {
    let prepared = |lesson| Sending::Prepared { is_kept, lesson };
    let values = statement.statement.values.as_ref();
    let values: &[Value] = values.map_or(&[], |Values(values)| values);
    let Some(parameters) = values.iter().map(LiteralType::of).collect::<Option<Vec<_>>>() else {
        return prepared(None);
    };
    let shape = statement.shape();
    match shapes.way(shape, &parameters, reads_rows) {
        Way::Prepare => prepared(None),
        Way::Learn => prepared(Some(Lesson { shape: shape.to_owned(), parameters })),
        Way::Literals => {
            let literals = values.iter().map(literal).collect::<Option<Vec<_>>>();
            match literals.and_then(|them| with_literals(&statement.statement.sql, &them)) {
                Some(sql) => Sending::Literals(sql),
                None => prepared(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{DbBackend, Statement};

    use super::*;
    use crate::ColdStatements;

    fn statement(number: u32) -> QualifiedStatement {
        let sql = format!(r#"SELECT name FROM "tenant_{number}".guards WHERE id = $1"#);
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [1.into()]);
        let shape = r#"SELECT name FROM "@tenant".guards WHERE id = $1"#.to_owned();
        QualifiedStatement { statement, shape: Some(shape) }
    }

    fn choice(capacity: usize, cold: ColdStatements) -> StatementChoice {
        StatementChoice::new(capacity, StatementShapes::new(cold, false).map(Arc::new))
    }

    /// Sends a statement. Returns whether it was prepared, and whether that one was kept.
    fn send(choice: &mut StatementChoice, number: u32) -> (bool, bool) {
        match choice.choose(&statement(number), false) {
            Sending::Prepared { is_kept, lesson } => {
                if let Some(lesson) = lesson {
                    choice.learn(lesson, None);
                }
                (true, is_kept)
            }
            Sending::Literals(_) => (false, false),
        }
    }

    #[test]
    fn a_shape_that_is_known_is_sent_with_literals_for_all_tenants() {
        let mut choice = choice(0, ColdStatements::Literal);
        assert_eq!(send(&mut choice, 1), (true, false));
        let Sending::Literals(sql) = choice.choose(&statement(2), false) else {
            panic!("it is prepared");
        };
        assert_eq!(sql, r#"SELECT name FROM "tenant_2".guards WHERE id = ('1'::pg_catalog.int4)"#);
    }

    #[test]
    fn a_statement_that_is_kept_is_prepared() {
        let mut choice = choice(10, ColdStatements::Literal);
        assert!((0..10).all(|number| send(&mut choice, number) == (true, true)));
        assert_eq!(send(&mut choice, 10), (true, false), "the shape was not known");
        assert_eq!(send(&mut choice, 11), (false, false));
        assert_eq!(send(&mut choice, 11), (true, true), "it has recurred");
    }

    #[test]
    fn a_session_that_was_changed_gets_no_literals() {
        let mut choice = choice(0, ColdStatements::Literal);
        send(&mut choice, 1);
        choice.set_session(false, false);
        assert_eq!(send(&mut choice, 2), (true, false));
        choice.set_session(true, false);
        assert_eq!(send(&mut choice, 2), (false, false));
    }

    #[test]
    fn without_literals_every_statement_is_prepared() {
        let mut choice = choice(0, ColdStatements::Prepared);
        assert!((0..10).all(|number| send(&mut choice, number) == (true, false)));
    }

    #[test]
    fn a_statement_that_needs_a_name_is_kept_unless_it_has_literals() {
        let mut prepared = choice(1, ColdStatements::Prepared);
        prepared.set_session(true, true);
        assert!((0..10).all(|number| send(&mut prepared, number) == (true, true)));
        assert!(prepared.keeps("SELECT 1"));
        let mut literals = choice(1, ColdStatements::Literal);
        literals.set_session(true, true);
        let sent: Vec<_> = (0..4).map(|number| send(&mut literals, number)).collect();
        assert_eq!(sent, [(true, true), (true, true), (false, false), (false, false)]);
    }
}
