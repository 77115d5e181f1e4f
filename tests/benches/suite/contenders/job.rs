//! An operation and the tenant in which it is performed.

use std::sync::Arc;

use tenantry_registry::Slug;
use uuid::Uuid;

use super::shop;

/// Number of bosses in each tenant, the rows of the filtered list.
pub const BOSSES: u64 = 20;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Read,
    List,
    Join,
    Update,
    Insert,
    /// Each of those above once.
    Transaction,
    /// A statement of the shop, by its number.
    Shape(usize),
    /// A transaction of the shop, by its number.
    Write(usize),
}

impl Operation {
    pub const SINGLE: [Self; 5] = [Self::Read, Self::List, Self::Join, Self::Update, Self::Insert];

    /// The statements of a transaction.
    pub fn transaction(self) -> Option<&'static [Self]> {
        match self {
            Self::Transaction => Some(&Self::SINGLE),
            Self::Write(number) => Some(&shop::TRANSACTIONS[number]),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read by primary key",
            Self::List => "filtered list of 20",
            Self::Join => "join, 20 rows",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Transaction => "transaction of these 5",
            Self::Shape(_) => "statement of the shop",
            Self::Write(_) => "transaction of the shop",
        }
    }
}

/// A tenant by all its names.
pub struct Named {
    pub number: usize,
    pub slug: Slug,
    pub schema: String,
}

impl Named {
    pub fn new(number: usize) -> Self {
        let slug = format!("tenant-{number}").parse().unwrap();
        Self { number, slug, schema: format!("tenant_{number}") }
    }
}

#[derive(Clone)]
pub struct Job {
    pub operation: Operation,
    pub tenant: Arc<Named>,
    /// Number of the row that is read or changed.
    pub row: usize,
    /// Number of the client.
    pub client: usize,
}

impl Job {
    pub fn id(&self) -> Uuid {
        Uuid::from_u128(self.row as u128)
    }

    /// Rows have the name of their tenant, so that a row of another tenant is detected.
    pub fn found(&self, name: &str) {
        assert_eq!(name, self.tenant.slug.as_str(), "a row of another tenant");
    }
}
