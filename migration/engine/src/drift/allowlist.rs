//! Findings of [`verify`](fn@super::verify) that are intended, with reasons.

mod entry;

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tenantry_registry::{SchemaName, Slug};
use thiserror::Error;

use super::{Change, SchemaRef};
use entry::Entry;

/// Separates the default from the rest of a column's definition.
const DEFAULT: &str = " default ";

/// Allowed findings, as JSON: an array of objects in the form of the findings.
///
/// ```
/// use tenantry_migrate::drift::Allowlist;
///
/// let allowed: Allowlist = r#"[
///     { "change": "extra", "object": "table", "prefix": "visits_20", "reason": "one a month" },
///     { "change": "changed", "object": "default", "name": "guards.hired_on", "reason": "a day" },
///     { "finding": "table_in_public", "name": "spatial_ref_sys", "reason": "of PostGIS" },
///     { "finding": "schema_without_row", "name": "metabase", "reason": "of another tool" }
/// ]"#.parse()?;
/// assert_eq!(allowed.iter().len(), 4);
/// # Ok::<(), tenantry_migrate::drift::AllowlistError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist(Vec<AllowlistEntry>);

/// An allowed finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowlistEntry {
    /// The kind of finding.
    #[serde(flatten)]
    pub kind: Allowed,
    /// The name of the object.
    #[serde(flatten)]
    pub name: NamePattern,
    /// The tenants (slugs or schemas) in which it is allowed; all tenants if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Why it is allowed.
    pub reason: String,
}

/// Kinds of findings that can be allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Allowed {
    /// A difference in a tenant's schema.
    Difference {
        /// The kind of difference.
        change: Difference,
        /// The kind of object, such as `table`; `default` is only the default of a column.
        object: String,
    },
    /// An object that belongs to no tenant.
    Orphan {
        /// The kind of object.
        finding: Orphan,
    },
}

/// How a schema may differ from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// An object is missing.
    Missing,
    /// An additional object exists.
    Extra,
    /// An object has another definition.
    Changed,
}

/// Kinds of objects that belong to no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Orphan {
    /// A table in `public`.
    TableInPublic,
    /// A schema with a migrations table and without a registry row.
    SchemaWithoutRow,
}

/// The name of an object, as in the finding: `table.name` for a column, constraint or trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamePattern {
    /// The exact name.
    Name(String),
    /// A prefix of the name.
    Prefix(String),
}

/// Why an allowlist is invalid.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AllowlistError {
    /// It is not JSON, or has unknown keys.
    #[error(
        "invalid allowlist: {0}; use an array of objects such as \
         {{\"finding\": \"table_in_public\", \"name\": \"notes\", \"reason\": \"…\"}}"
    )]
    Malformed(#[from] serde_json::Error),
    /// An entry is invalid.
    #[error("entry {number} of the allowlist {rule}")]
    Entry {
        /// Position of the entry, from 1.
        number: usize,
        /// What is wrong, and how to fix it.
        rule: &'static str,
    },
}

impl std::str::FromStr for Allowlist {
    type Err = AllowlistError;

    fn from_str(json: &str) -> Result<Self, AllowlistError> {
        let entries: Vec<Entry> = serde_json::from_str(json)?;
        let entries = entries.into_iter().zip(1..).map(|(entry, number)| {
            entry.check().map_err(|rule| AllowlistError::Entry { number, rule })
        });
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }
}

impl Allowlist {
    /// The entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, AllowlistEntry> {
        self.0.iter()
    }

    /// Whether an entry allows a difference in the schema of a tenant.
    #[must_use]
    pub fn allows(&self, slug: &Slug, schema: &SchemaName, change: &Change) -> bool {
        let subject = SchemaRef { slug: Some(slug.clone()), schema: schema.clone() };
        self.of_change(&subject, change).next().is_some()
    }

    /// The entries that allow a difference in a schema.
    pub(super) fn of_change<'a>(
        &'a self,
        subject: &'a SchemaRef,
        change: &'a Change,
    ) -> impl Iterator<Item = usize> {
        self.matching(move |it| it.is_in(subject) && it.kind.covers(change, &it.name))
    }

    pub(super) fn of_table(&self, table: &str) -> impl Iterator<Item = usize> {
        self.matching(move |it| it.kind.is(Orphan::TableInPublic) && it.name.is(table))
    }

    pub(super) fn of_schema(&self, schema: &str) -> impl Iterator<Item = usize> {
        self.matching(move |it| it.kind.is(Orphan::SchemaWithoutRow) && it.name.is(schema))
    }

    fn matching(&self, is: impl Fn(&AllowlistEntry) -> bool) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter_map(move |(number, it)| is(it).then_some(number))
    }
}

impl AllowlistEntry {
    /// Whether it allows a difference in tenants' schemas.
    pub(super) fn is_of_tenants(&self) -> bool {
        matches!(self.kind, Allowed::Difference { .. })
    }

    fn is_in(&self, subject: &SchemaRef) -> bool {
        let is = |name: &String| {
            subject.schema.as_str() == name
                || subject.slug.as_ref().is_some_and(|slug| slug.as_str() == name)
        };
        self.tenants.is_empty() || self.tenants.iter().any(is)
    }
}

impl Allowed {
    fn is(&self, orphan: Orphan) -> bool {
        *self == Self::Orphan { finding: orphan }
    }

    fn covers(&self, change: &Change, names: &NamePattern) -> bool {
        let Self::Difference { change: difference, object: part } = self else { return false };
        let (object, name) = change.about();
        match (difference, change) {
            (Difference::Changed, Change::Changed { expected, found, .. })
                if part == "default" && object == "column" =>
            {
                names.is(name) && differ_in_default(expected, found)
            }
            (Difference::Missing, Change::Missing { .. })
            | (Difference::Extra, Change::Extra { .. })
            | (Difference::Changed, Change::Changed { .. }) => part == object && names.is(name),
            _ => false,
        }
    }
}

impl NamePattern {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Name(it) => it == name,
            Self::Prefix(it) => name.starts_with(it.as_str()),
        }
    }
}

impl Display for AllowlistEntry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Allowed::Difference { change, object } => {
                let change = match change {
                    Difference::Missing => "missing",
                    Difference::Extra => "extra",
                    Difference::Changed => "changed",
                };
                write!(f, "{change} {object} {}", self.name)?;
            }
            Allowed::Orphan { finding: Orphan::TableInPublic } => {
                write!(f, "table in public {}", self.name)?;
            }
            Allowed::Orphan { finding: Orphan::SchemaWithoutRow } => {
                write!(f, "schema without a registry row {}", self.name)?;
            }
        }
        match self.tenants.is_empty() {
            true => Ok(()),
            false => write!(f, " of {}", self.tenants.join(", ")),
        }
    }
}

impl Display for NamePattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}…"),
        }
    }
}

/// Whether two columns have defaults and differ only in them.
fn differ_in_default(expected: &str, found: &str) -> bool {
    let before = |text: &'_ str| text.split_once(DEFAULT).map(|(before, _)| before.to_owned());
    before(expected).is_some_and(|expected| before(found) == Some(expected))
}

#[cfg(test)]
mod tests {
    use super::differ_in_default;

    #[test]
    fn separates_a_default_from_the_rest_of_its_column() {
        for (expected, found, same) in [
            (
                "date not null default '2026-01-01'::date",
                "date not null default '2026-01-02'",
                true,
            ),
            ("date not null default '2026-01-01'::date", "date default '2026-01-02'", false),
            ("date default '2026-01-01'::date", "date", false),
        ] {
            assert_eq!(differ_in_default(expected, found), same, "{expected} / {found}");
        }
    }
}
