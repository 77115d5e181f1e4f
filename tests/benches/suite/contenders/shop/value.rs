//! Values of the statements.

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::contenders::{job::Job, raw, sql::Time};

#[derive(Clone, Copy)]
pub enum Parameter {
    /// The key of the row that the job reads or changes; it is the same in all tables.
    Row,
    /// A new key.
    New,
    /// The name of the tenant.
    Tenant,
    Now,
    Text(&'static str),
    Int(i32),
    Bool(bool),
}

impl Parameter {
    pub fn value(self, job: &Job) -> Value {
        match self {
            Self::Row => Value::Uuid(job.id()),
            Self::New => Value::Uuid(Uuid::now_v7()),
            Self::Tenant => Value::Text(job.tenant.slug.to_string()),
            Self::Now => Value::Time(tenantry_registry::now()),
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Int(number) => Value::Int(number),
            Self::Bool(is) => Value::Bool(is),
        }
    }
}

pub enum Value {
    Uuid(Uuid),
    Text(String),
    Int(i32),
    Bool(bool),
    Time(Time),
}

impl Value {
    pub fn parameter(&self) -> raw::Parameter<'_> {
        match self {
            Self::Uuid(id) => (id, Type::UUID),
            Self::Text(text) => (text, Type::TEXT),
            Self::Int(number) => (number, Type::INT4),
            Self::Bool(is) => (is, Type::BOOL),
            Self::Time(time) => (time, Type::TIMESTAMPTZ),
        }
    }
}

impl From<Value> for sea_orm::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Uuid(id) => id.into(),
            Value::Text(text) => text.into(),
            Value::Int(number) => number.into(),
            Value::Bool(is) => is.into(),
            Value::Time(time) => time.into(),
        }
    }
}
