use sea_orm::Statement;

/// A statement as it is sent, and the same for all tenants.
#[derive(Debug, Clone)]
pub struct QualifiedStatement {
    pub(crate) statement: Statement,
    /// Its SQL with the placeholder; `None` if that is the SQL of the statement.
    pub(crate) shape: Option<String>,
}

impl QualifiedStatement {
    /// The SQL with the placeholder.
    pub(crate) fn shape(&self) -> &str {
        self.shape.as_deref().unwrap_or(&self.statement.sql)
    }
}

impl From<Statement> for QualifiedStatement {
    fn from(statement: Statement) -> Self {
        Self { statement, shape: None }
    }
}
