use std::collections::BTreeMap;

/// The structure of a schema: tables, columns, constraints, indexes, functions, grants and so on,
/// without the schema's name. Equal structures mean equal schemas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structure {
    entries: BTreeMap<Key, CatalogEntry>,
}

/// An object of a schema, or a property of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatalogEntry {
    /// `table`, `column`, `index` and so on.
    pub(super) kind: String,
    /// Its name; `table.name` for a column, constraint or trigger.
    pub(super) name: String,
    /// Kind and name of the object that it belongs to.
    pub(super) parent: Option<String>,
    /// Its definition in SQL.
    pub(super) definition: String,
}

/// Kind, name and parent. The parent distinguishes names that contain dots.
type Key = (String, String, Option<String>);

impl Structure {
    /// The entries, ordered by key.
    pub(super) fn entries(&self) -> &BTreeMap<Key, CatalogEntry> {
        &self.entries
    }

    /// Whether an entry contains `text`.
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.entries
            .values()
            .any(|entry| entry.name.contains(text) || entry.definition.contains(text))
    }

    /// The structure with `text` replaced.
    pub(super) fn replace(&self, text: &str, by: &str) -> Self {
        let entries = self.entries.values().cloned();
        entries
            .map(|entry| CatalogEntry {
                name: entry.name.replace(text, by),
                definition: entry.definition.replace(text, by),
                ..entry
            })
            .collect()
    }
}

impl FromIterator<CatalogEntry> for Structure {
    fn from_iter<T: IntoIterator<Item = CatalogEntry>>(entries: T) -> Self {
        let keyed = entries
            .into_iter()
            .map(|entry| ((entry.kind.clone(), entry.name.clone(), entry.parent.clone()), entry));
        Self { entries: keyed.collect() }
    }
}

impl Extend<CatalogEntry> for Structure {
    fn extend<T: IntoIterator<Item = CatalogEntry>>(&mut self, entries: T) {
        self.entries.extend(Self::from_iter(entries).entries);
    }
}

impl CatalogEntry {
    /// Its name as a parent.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}
