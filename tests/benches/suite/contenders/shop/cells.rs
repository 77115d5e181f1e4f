//! Decoding of rows, whose every column is read.

use std::hint::black_box;

use sea_orm::{QueryResult, TryGetable};
use tokio_postgres::{Row, types::FromSqlOwned};
use uuid::Uuid;

use crate::contenders::{job::Job, sql::Time};

#[derive(Clone, Copy)]
pub enum Column {
    Uuid,
    Text,
    /// The name of the tenant, so that a row of another tenant is detected.
    Tenant,
    Int,
    BigInt,
    Bool,
    Time,
}

/// A row of SeaORM or of tokio-postgres.
pub trait Cells {
    fn cell<T: TryGetable + FromSqlOwned>(&self, index: usize) -> T;
}

impl Cells for QueryResult {
    fn cell<T: TryGetable + FromSqlOwned>(&self, index: usize) -> T {
        self.try_get_by_index(index).unwrap()
    }
}

impl Cells for Row {
    fn cell<T: TryGetable + FromSqlOwned>(&self, index: usize) -> T {
        self.get(index)
    }
}

/// Decodes all rows; every statement returns some.
pub fn decode<R: Cells>(rows: &[R], columns: &[Column], job: &Job) {
    assert!(!rows.is_empty(), "a statement without rows");
    for row in rows {
        for (index, column) in columns.iter().enumerate() {
            match column {
                Column::Uuid => drop(black_box(row.cell::<Uuid>(index))),
                Column::Text => drop(black_box(row.cell::<String>(index))),
                Column::Tenant => job.found(&row.cell::<String>(index)),
                Column::Int => drop(black_box(row.cell::<i32>(index))),
                Column::BigInt => drop(black_box(row.cell::<i64>(index))),
                Column::Bool => drop(black_box(row.cell::<bool>(index))),
                Column::Time => drop(black_box(row.cell::<Time>(index))),
            }
        }
    }
}
