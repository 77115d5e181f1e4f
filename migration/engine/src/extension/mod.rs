//! PostgreSQL extensions that tenants' migrations and statements use.
//!
//! An extension exists once in a database, so it has a separate schema, which belongs to no tenant
//! and contains no tables. It follows the tenant's schema in every `search_path`.

mod confirm;
mod error;
mod install;
mod refuse;

use std::{fmt, sync::Arc};

use tenantry_registry::SchemaName;

pub use confirm::confirm_extensions;
pub(crate) use confirm::{confirm_installed, tables_in_extension_schemas};
pub use error::ExtensionError;
pub use install::{extension_sql, make_extensions};

/// Default schema of extensions.
const SCHEMA: &str = "extensions";

/// Extension that tenants' migrations need.
///
/// ```
/// use tenantry_migrate::Extension;
/// assert_eq!(Extension::new("citext").schema(), "extensions");
/// assert_eq!(Extension::new("hstore").in_schema("public").schema(), "public");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    name: String,
    schema: String,
}

impl Extension {
    /// An extension in the schema `extensions`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), schema: SCHEMA.to_owned() }
    }

    /// Sets another schema, in which an administrator or a managed service has installed it. The
    /// schema must contain no tables, because every tenant's statements would find them.
    #[must_use]
    pub fn in_schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Name of the extension.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Why the declaration is invalid. (The names become part of statements.) `shared` is the schema
    /// of the tables that exist once.
    fn invalid_reason(&self, shared: Option<&str>) -> Option<String> {
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let (length, longest) = (self.name.len(), SchemaName::MAX_LEN);
        if !(1..=longest).contains(&length) || !self.name.bytes().all(letter) {
            return Some(format!("{:?} is not the name of an extension", self.name));
        }
        if shared == Some(self.schema()) {
            return Some(format!("{:?} is the schema of the tables that exist once", self.schema));
        }
        match SchemaName::new(&self.schema) {
            _ if self.schema == "public" => None,
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// The statement that installs it.
    fn create_sql(&self) -> String {
        let Self { name, schema } = self;
        format!("CREATE EXTENSION IF NOT EXISTS \"{name}\" SCHEMA \"{schema}\"")
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The extensions of a migrator.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extensions {
    all: Arc<[Extension]>,
    /// Their schemas for a `search_path`, each preceded by a comma. Without invalid names.
    path: Arc<str>,
}

impl Extensions {
    pub(crate) fn new(all: Vec<Extension>) -> Self {
        let usable = all.iter().filter(|it| it.invalid_reason(None).is_none());
        let mut schemas: Vec<&str> = Vec::new();
        for extension in usable {
            if !schemas.contains(&extension.schema()) {
                schemas.push(extension.schema());
            }
        }
        let path: String = schemas.iter().map(|schema| format!(",\"{schema}\"")).collect();
        Self { path: path.into(), all: all.into() }
    }

    pub(crate) fn all(&self) -> &[Extension] {
        &self.all
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::{Extension, Extensions};

    #[test]
    fn path_has_each_valid_schema_once() {
        let path = |all: &[(&'static str, &'static str)]| {
            let all = all.iter().map(|(name, schema)| Extension::new(*name).in_schema(*schema));
            Extensions::new(all.collect()).path().to_owned()
        };
        assert_eq!(path(&[]), "");
        assert_eq!(path(&[("citext", "b"), ("hstore", "a"), ("uuid-ossp", "b")]), ",\"b\",\"a\"");
        assert_eq!(path(&[("citext", "public")]), ",\"public\"");
        for bad in ["", "A", "a\"b", "a,b", "pg_catalog", "registry", "user"] {
            assert_eq!(path(&[("citext", bad)]), "", "{bad}");
        }
        assert_eq!(path(&[("a'b", "a"), ("", "a"), ("a\"b", "a")]), "");
    }
}
