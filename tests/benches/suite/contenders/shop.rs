//! The workload of an application: a shop with six tables, 25 statements and three transactions.
//! With thousands of tenants no cache of statements holds a share of it that matters.

mod cells;
mod shapes;
pub mod tables;
mod value;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{
    job::{Job, Operation},
    raw::{Key, Turn},
};
use cells::{Column, decode};
pub use shapes::READS;
use shapes::SHAPES;
use value::{Parameter, Value};

/// Each of the shop's transactions. Customers are locked before orders.
pub const TRANSACTIONS: [[Operation; 3]; 3] = [
    // An order with its line, and less stock.
    [Operation::Shape(19), Operation::Shape(20), Operation::Shape(21)],
    // An invoice to a customer whose row is locked.
    [Operation::Shape(17), Operation::Shape(22), Operation::Shape(24)],
    // A payment, which changes the customer's credit and the state of the order.
    [Operation::Shape(23), Operation::Shape(18), Operation::Shape(24)],
];

/// A statement without its values.
struct Shape {
    /// Names of tables have the prefix `@.` here.
    sql: &'static str,
    parameters: &'static [Parameter],
    columns: &'static [Column],
}

impl Shape {
    fn values(&self, job: &Job) -> Vec<Value> {
        self.parameters.iter().map(|parameter| parameter.value(job)).collect()
    }
}

/// The statement with this number; its tables' names have this prefix.
pub fn text(shape: usize, prefix: &str) -> String {
    SHAPES[shape].sql.replace("@.", prefix)
}

/// All statements.
pub fn texts(prefix: &str) -> Vec<String> {
    (0..SHAPES.len()).map(|shape| text(shape, prefix)).collect()
}

/// Executes a statement by SeaORM.
pub async fn by_sea_orm<C: ConnectionTrait>(db: &C, texts: &[String], shape: usize, job: &Job) {
    let values = SHAPES[shape].values(job).into_iter().map(sea_orm::Value::from);
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, texts[shape].as_str(), values);
    let rows = db.query_all_raw(statement).await.unwrap();
    decode(&rows, SHAPES[shape].columns, job);
}

/// Executes a statement by tokio-postgres.
pub async fn by_raw<L>(
    db: &Turn<'_, L>,
    key: Key,
    text: impl FnOnce() -> String,
    shape: usize,
    job: &Job,
) {
    let values = SHAPES[shape].values(job);
    let parameters: Vec<_> = values.iter().map(Value::parameter).collect();
    decode(&db.query(key, text, &parameters).await, SHAPES[shape].columns, job);
}
