use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::structure::{CatalogEntry, Structure};

/// The kind of the entry with the order of a table's columns.
const ORDER: &str = "order of columns";

/// A difference between a schema and its reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// The object is missing.
    Missing {
        /// The kind of object, such as `index`.
        object: String,
        /// Its name; `table.name` for a column, constraint or trigger.
        name: String,
        /// Its definition.
        definition: String,
    },
    /// The object is not in the reference.
    Extra {
        /// The kind of object, such as `index`.
        object: String,
        /// Its name; `table.name` for a column, constraint or trigger.
        name: String,
        /// Its definition.
        definition: String,
    },
    /// The object has another definition.
    Changed {
        /// The kind of object, such as `column`.
        object: String,
        /// Its name; `table.name` for a column, constraint or trigger.
        name: String,
        /// The definition in the reference.
        expected: String,
        /// The definition in the schema.
        found: String,
    },
}

/// The differences of `found` from `expected`. For a missing or extra table, only its columns are
/// listed.
pub(super) fn diff(expected: &Structure, found: &Structure) -> Vec<Change> {
    let missing = Side::only_in(expected, found);
    let extra = Side::only_in(found, expected);
    let mut changes = Vec::new();
    for entry in missing.top_level() {
        let (object, name) = (entry.kind.clone(), entry.name.clone());
        changes.push(Change::Missing { object, name, definition: missing.definition(entry) });
    }
    for entry in extra.top_level() {
        let (object, name) = (entry.kind.clone(), entry.name.clone());
        changes.push(Change::Extra { object, name, definition: extra.definition(entry) });
    }
    for (key, entry) in expected.entries() {
        let Some(other) = found.entries().get(key) else { continue };
        if entry.definition != other.definition && !same_order(entry, other) {
            changes.push(Change::Changed {
                object: entry.kind.clone(),
                name: entry.name.clone(),
                expected: entry.definition.clone(),
                found: other.definition.clone(),
            });
        }
    }
    // Grouped by table, then by kind.
    changes.sort_by(|a, b| a.place().cmp(&b.place()));
    changes
}

/// The entries that only one of two structures has.
struct Side<'a> {
    entries: Vec<&'a CatalogEntry>,
    labels: HashSet<String>,
    columns: BTreeMap<String, &'a str>,
}

impl<'a> Side<'a> {
    fn only_in(this: &'a Structure, other: &Structure) -> Self {
        let only = this.entries().iter().filter(|(key, _)| !other.entries().contains_key(*key));
        let entries: Vec<&CatalogEntry> = only.map(|(_, entry)| entry).collect();
        let labels = entries.iter().map(|entry| entry.label()).collect();
        let orders = entries.iter().filter(|entry| entry.kind == ORDER);
        let columns = orders
            .filter_map(|entry| Some((entry.parent.clone()?, entry.definition.as_str())))
            .collect();
        Self { entries, labels, columns }
    }

    /// The entries whose parents are in both structures.
    fn top_level(&self) -> impl Iterator<Item = &'a CatalogEntry> {
        self.entries.iter().copied().filter(|entry| {
            entry.parent.as_ref().is_none_or(|parent| !self.labels.contains(parent))
        })
    }

    fn definition(&self, entry: &CatalogEntry) -> String {
        match self.columns.get(&entry.label()) {
            Some(columns) => format!("({columns}) {}", entry.definition).trim_end().to_owned(),
            None => entry.definition.clone(),
        }
    }
}

/// Whether the common columns of two tables have the same order. Missing and extra columns are
/// differences of their own.
fn same_order(a: &CatalogEntry, b: &CatalogEntry) -> bool {
    if a.kind != ORDER {
        return false;
    }
    let names = |entry: &'_ CatalogEntry| {
        entry.definition.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let (a, b) = (names(a), names(b));
    let both = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| others.contains(name)).cloned().collect()
    };
    both(&a, &b) == both(&b, &a)
}

impl Change {
    /// Kind and name of the object.
    #[must_use]
    pub fn about(&self) -> (&str, &str) {
        match self {
            Self::Missing { object, name, .. }
            | Self::Extra { object, name, .. }
            | Self::Changed { object, name, .. } => (object, name),
        }
    }

    fn place(&self) -> (&str, u8, &str) {
        let (object, name) = self.about();
        let rank = match object {
            "table" => 0,
            "column" => 1,
            _ => 2,
        };
        let table = if rank < 2 { name.split('.').next().unwrap_or(name) } else { object };
        (table, rank, name)
    }
}
