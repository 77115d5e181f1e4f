//! The model of one tenant.

use std::sync::Mutex;

use super::{
    access::{Access, AccessHistory},
    rows::Rows,
};

/// The statuses between which an operator moves a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    Suspended,
    Archived,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
        }
    }
}

/// A tenant from its creation to its drop.
#[derive(Debug)]
pub struct Life {
    /// Distinguishes its rows from those of all others.
    pub serial: usize,
    pub slug: String,
    pub schema: String,
    /// Former slugs that still lead to it.
    pub aliases: Vec<String>,
    pub status: Status,
    /// The status before the tenant was archived.
    pub status_before: Status,
    pub read_only: bool,
    pub access: AccessHistory,
    /// The key of its clients.
    pub key: String,
    /// The rows of each client.
    pub rows: Vec<Mutex<Rows>>,
}

impl Life {
    pub fn new(serial: usize, slug: String, schema: String, key: String, clients: usize) -> Self {
        Self {
            serial,
            slug,
            schema,
            aliases: Vec::new(),
            status: Status::Active,
            status_before: Status::Active,
            read_only: false,
            access: AccessHistory::new(Access::Served),
            key,
            rows: (0..clients).map(|_| Mutex::default()).collect(),
        }
    }

    /// A change of the status or of `read_only` has ended.
    pub fn changed(&mut self) {
        self.access.set(match (self.status, self.read_only) {
            (Status::Active, false) => Access::Served,
            (Status::Active, true) => Access::ReadOnly,
            _ => Access::Refused,
        });
    }

    /// The prefix of the names of a client's rows.
    pub fn prefix(&self, client: usize) -> String {
        format!("{}/{client}/", self.serial)
    }

    /// Serial and client in the name of a row.
    pub fn owner(name: &str) -> Option<(usize, usize)> {
        let (serial, rest) = name.split_once('/')?;
        let (client, _) = rest.split_once('/')?;
        Some((serial.parse().ok()?, client.parse().ok()?))
    }
}
