use std::collections::BTreeMap;

/// The structure of one schema: tables, columns, constraints, indexes, functions, grants and so
/// on, without the name of the schema. Two schemas are alike when their structures are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structure {
    lines: BTreeMap<Key, CatalogEntry>,
}

/// One thing in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatalogEntry {
    /// What it is: `table`, `column`, `index` and so on.
    pub(super) kind: String,
    /// Its name; that of a column, constraint or trigger with its table before it.
    pub(super) name: String,
    /// Kind and name of what it comes and goes with.
    pub(super) parent: Option<String>,
    /// The rest, as PostgreSQL would write it.
    pub(super) definition: String,
}

/// What makes a line the same in two schemas: kind, name, parent. With the parent, a dot in a name
/// does no harm.
type Key = (String, String, Option<String>);

impl Structure {
    /// The lines with their keys, in the order of these.
    pub(super) fn lines(&self) -> &BTreeMap<Key, CatalogEntry> {
        &self.lines
    }

    /// Whether any line contains `text`.
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.lines.values().any(|line| line.name.contains(text) || line.definition.contains(text))
    }

    /// The same with another text wherever `text` stands.
    pub(super) fn replace(&self, text: &str, by: &str) -> Self {
        let lines = self.lines.values().cloned();
        lines
            .map(|line| CatalogEntry {
                name: line.name.replace(text, by),
                definition: line.definition.replace(text, by),
                ..line
            })
            .collect()
    }
}

impl FromIterator<CatalogEntry> for Structure {
    fn from_iter<T: IntoIterator<Item = CatalogEntry>>(lines: T) -> Self {
        let keyed = lines
            .into_iter()
            .map(|line| ((line.kind.clone(), line.name.clone(), line.parent.clone()), line));
        Self { lines: keyed.collect() }
    }
}

impl Extend<CatalogEntry> for Structure {
    fn extend<T: IntoIterator<Item = CatalogEntry>>(&mut self, lines: T) {
        self.lines.extend(Self::from_iter(lines).lines);
    }
}

impl CatalogEntry {
    /// How others name it as their parent.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}
