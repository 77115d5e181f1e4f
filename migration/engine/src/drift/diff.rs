use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::structure::{CatalogEntry, Structure};

/// The kind of the line that tells in which order the columns of a table are.
const ORDER: &str = "order of columns";

/// One difference between a schema and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// The schema should have it and has not.
    Missing {
        /// What it is, such as `index`.
        object: String,
        /// Its name; that of a column, constraint or trigger with its table before it.
        name: String,
        /// The rest of its definition.
        definition: String,
    },
    /// The schema has it and should not.
    Extra {
        /// What it is, such as `index`.
        object: String,
        /// Its name; that of a column, constraint or trigger with its table before it.
        name: String,
        /// The rest of its definition.
        definition: String,
    },
    /// The schema has it, but it is not as it should be.
    Changed {
        /// What it is, such as `column`.
        object: String,
        /// Its name; that of a column, constraint or trigger with its table before it.
        name: String,
        /// How it should be.
        expected: String,
        /// How it is.
        found: String,
    },
}

/// How `found` differs from `expected`. Of a table that is missing or extra as a whole, its
/// columns are named and the rest of what it consists of is not.
pub(super) fn diff(expected: &Structure, found: &Structure) -> Vec<Change> {
    let missing = Side::only_in(expected, found);
    let extra = Side::only_in(found, expected);
    let mut changes = Vec::new();
    for line in missing.top_level() {
        let (object, name) = (line.kind.clone(), line.name.clone());
        changes.push(Change::Missing { object, name, definition: missing.definition(line) });
    }
    for line in extra.top_level() {
        let (object, name) = (line.kind.clone(), line.name.clone());
        changes.push(Change::Extra { object, name, definition: extra.definition(line) });
    }
    for (key, line) in expected.lines() {
        let Some(other) = found.lines().get(key) else { continue };
        if line.definition != other.definition && !same_order(line, other) {
            changes.push(Change::Changed {
                object: line.kind.clone(),
                name: line.name.clone(),
                expected: line.definition.clone(),
                found: other.definition.clone(),
            });
        }
    }
    // A table's columns stand together, and so do all changes of one kind.
    changes.sort_by(|a, b| a.place().cmp(&b.place()));
    changes
}

/// The lines that only one of two structures has.
struct Side<'a> {
    lines: Vec<&'a CatalogEntry>,
    labels: HashSet<String>,
    columns: BTreeMap<String, &'a str>,
}

impl<'a> Side<'a> {
    fn only_in(this: &'a Structure, other: &Structure) -> Self {
        let only = this.lines().iter().filter(|(key, _)| !other.lines().contains_key(*key));
        let lines: Vec<&CatalogEntry> = only.map(|(_, line)| line).collect();
        let labels = lines.iter().map(|line| line.label()).collect();
        let orders = lines.iter().filter(|line| line.kind == ORDER);
        let columns = orders
            .filter_map(|line| Some((line.parent.clone()?, line.definition.as_str())))
            .collect();
        Self { lines, labels, columns }
    }

    /// Those that do not follow from another one.
    fn top_level(&self) -> impl Iterator<Item = &'a CatalogEntry> {
        self.lines
            .iter()
            .copied()
            .filter(|line| line.parent.as_ref().is_none_or(|parent| !self.labels.contains(parent)))
    }

    fn definition(&self, line: &CatalogEntry) -> String {
        match self.columns.get(&line.label()) {
            Some(columns) => format!("({columns}) {}", line.definition).trim_end().to_owned(),
            None => line.definition.clone(),
        }
    }
}

/// Whether the columns that both tables have stand in the same order. That a column is missing or
/// extra is told by itself.
fn same_order(a: &CatalogEntry, b: &CatalogEntry) -> bool {
    if a.kind != ORDER {
        return false;
    }
    let names =
        |line: &'_ CatalogEntry| line.definition.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (names(a), names(b));
    let both = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| others.contains(name)).cloned().collect()
    };
    both(&a, &b) == both(&b, &a)
}

impl Change {
    /// What it is about: object and name.
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
