//! The first entry of an export.

use std::{collections::BTreeSet, num::NonZeroU32};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tenantry_migrate::DynMigrator;

use super::{
    TransferError,
    archive::confirm_length,
    tables::{Contents, Sequence, Table},
};
use crate::{Error, HttpSettings, Limits, Metadata, NewTenant, Slug, hex, settings::Settings};

/// Format of the exports that this program writes and reads.
const FORMAT: u32 = 1;

pub(super) const MANIFEST: &str = "manifest.json";

/// The first entry: everything but the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Name and version of the program that wrote it.
    pub(super) product: String,
    /// Version of PostgreSQL.
    pub(super) server: String,
    pub(super) application: String,
    pub(super) exported_at: DateTime<Utc>,
    pub(super) tenant: ExportedTenant,
    pub(super) migrations: Vec<String>,
    /// In the order of the entries.
    pub(super) tables: Vec<Table>,
    pub(super) sequences: Vec<Sequence>,
    /// Cycles of foreign keys.
    pub(super) cycles: Vec<Vec<String>>,
}

/// The registry entry of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportedTenant {
    pub(super) slug: String,
    pub(super) schema: String,
    pub(super) status: String,
    pub(super) name: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) metadata: Metadata,
    pub(super) max_connections: Option<NonZeroU32>,
    pub(super) max_waiting: Option<u32>,
    pub(super) domains: Vec<String>,
    pub(super) cors_origins: Vec<String>,
    pub(super) max_body_bytes: Option<NonZeroU32>,
}

impl Manifest {
    pub(super) fn new(
        application: &str,
        server: String,
        tenant: ExportedTenant,
        (migrations, tables): (Vec<String>, Vec<Table>),
        (sequences, cycles): (Vec<Sequence>, Vec<Vec<String>>),
    ) -> Self {
        let product = concat!("tenantry ", env!("CARGO_PKG_VERSION")).to_owned();
        let (application, exported_at) = (application.to_owned(), tenantry_registry::now());
        Self {
            format: FORMAT,
            product,
            server,
            application,
            exported_at,
            tenant,
            migrations,
            tables,
            sequences,
            cycles,
        }
    }

    /// Parses a manifest and checks that it contradicts itself nowhere.
    pub(super) fn parse(text: &[u8]) -> Result<Self, TransferError> {
        #[derive(Deserialize)]
        struct AnyFormat {
            format: u64,
        }
        let AnyFormat { format } = parse(MANIFEST, text)?;
        if format != u64::from(FORMAT) {
            return Err(TransferError::Format { found: format, known: FORMAT });
        }
        let manifest: Self = parse(MANIFEST, text)?;
        let unique = |names: Vec<&str>, kind| {
            let mut seen = BTreeSet::new();
            match names.into_iter().find(|name| !seen.insert(*name)) {
                Some(name) => Err(TransferError::Malformed {
                    entry: MANIFEST.to_owned(),
                    reason: format!("{kind} {name:?} is there twice"),
                }),
                None => Ok(()),
            }
        };
        unique(manifest.migrations.iter().map(String::as_str).collect(), "migration")?;
        unique(manifest.tables.iter().map(|it| it.name.as_str()).collect(), "table")?;
        unique(manifest.sequences.iter().map(|it| it.name.as_str()).collect(), "sequence")?;
        for table in &manifest.tables {
            unique(table.columns.iter().map(|it| it.name.as_str()).collect(), "column")?;
        }
        Ok(manifest)
    }

    /// Checks that the program can create a tenant like this one.
    pub(super) fn confirm(&self, program: &DynMigrator) -> Result<(), TransferError> {
        let (export, own) = (&self.application, program.application());
        if !export.is_empty() && !own.is_empty() && export != own {
            let (export, program) = (export.clone(), own.to_owned());
            return Err(TransferError::OtherApplication { export, program });
        }
        confirm_known(&self.migrations, program)
    }

    pub(super) fn contents(&self) -> Contents {
        let sequences = self.sequences.iter().map(|it| it.name.clone()).collect();
        Contents { tables: self.tables.clone(), sequences }
    }

    /// Path of the entry with this part of a table's rows.
    pub(super) fn part(&self, table: usize, part: u64) -> String {
        // The number is what counts; the name helps people.
        let name = self.tables.get(table).map_or("", |table| table.name.as_str());
        let readable = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = name.chars().take(48).map(readable).collect();
        format!("data/{:05}_{name}/{part:09}.copy", table + 1)
    }
}

/// Checks that the program has all of these migrations.
pub(super) fn confirm_known(
    migrations: &[String],
    program: &DynMigrator,
) -> Result<(), TransferError> {
    let known = program.names();
    let names: Vec<String> =
        migrations.iter().filter(|name| !known.contains(name)).cloned().collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(TransferError::UnknownMigrations { names }),
    }
}

impl ExportedTenant {
    /// A new tenant with the same data of the registry.
    pub(super) fn to_new(&self, slug: Option<Slug>, domains: bool) -> Result<NewTenant, Error> {
        let slug = match slug {
            Some(slug) => slug,
            None => self.slug.parse()?,
        };
        Ok(NewTenant {
            slug,
            name: self.name.as_ref().map(|name| name.parse()).transpose()?,
            domains: match domains {
                true => self.domains.iter().map(|it| it.parse()).collect::<Result<_, _>>()?,
                false => Vec::new(),
            },
            tags: self.tags.iter().map(|it| it.parse()).collect::<Result<_, _>>()?,
            metadata: self.metadata.clone(),
        })
    }

    pub(super) fn settings(&self) -> Result<Settings, Error> {
        if self.cors_origins.len() > HttpSettings::MAX_ORIGINS {
            return Err(Error::TooManyOrigins(self.cors_origins.len()));
        }
        let origins = self.cors_origins.iter().map(|it| it.parse());
        let Self { max_connections, max_waiting, max_body_bytes, .. } = *self;
        Ok(Settings {
            limits: Limits { max_connections, max_waiting },
            http: HttpSettings { cors_origins: origins.collect::<Result<_, _>>()?, max_body_bytes },
        })
    }
}

/// The text of an entry, which must not be longer than an import accepts.
pub(super) fn to_json(entry: &str, value: &impl Serialize) -> Result<Vec<u8>, TransferError> {
    let text = serde_json::to_vec(value).map_err(|error| TransferError::Write(error.into()))?;
    confirm_length(entry, text.len() as u64)?;
    Ok(text)
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(data: &[u8]) -> String {
    hex::encode(&Sha256::digest(data))
}

/// A fuzz target: a manifest that is accepted is accepted again, as the same, as it would be written.
#[cfg(fuzzing)]
pub fn fuzz_manifest(text: &[u8]) {
    if let Ok(manifest) = Manifest::parse(text) {
        let again = to_json(MANIFEST, &manifest).and_then(|text| Manifest::parse(&text));
        assert_eq!(again.ok().as_ref(), Some(&manifest));
        let _ = manifest.tenant.to_new(None, true);
        let _ = manifest.tenant.settings();
        let _ = manifest.part(0, 0);
    }
}

pub(super) fn parse<T: DeserializeOwned>(entry: &str, text: &[u8]) -> Result<T, TransferError> {
    serde_json::from_slice(text).map_err(|error| TransferError::Malformed {
        entry: entry.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tables::Column, *};

    fn table(name: &str, columns: &[(String, String)]) -> Table {
        let columns = columns
            .iter()
            .map(|(name, kind)| Column { name: name.clone(), kind: kind.clone() })
            .collect();
        Table::plain(name, columns)
    }

    fn manifest(names: &[String], columns: &[(String, String)], text: &str) -> Manifest {
        let tenant = ExportedTenant {
            slug: "acme".to_owned(),
            schema: text.to_owned(),
            status: "active".to_owned(),
            name: Some(text.to_owned()),
            tags: names.to_vec(),
            metadata: Metadata::new(&serde_json::json!({ "text": text })).unwrap(),
            max_connections: NonZeroU32::new(3),
            max_waiting: None,
            domains: Vec::new(),
            cors_origins: names.to_vec(),
            max_body_bytes: NonZeroU32::new(5),
        };
        let tables = names.iter().map(|name| table(name, columns)).collect();
        let sequences = names
            .iter()
            .map(|name| Sequence { name: name.clone(), last_value: i64::MIN, is_called: true })
            .collect();
        let cycles = vec![names.to_vec()];
        Manifest::new("app", "15.1".into(), tenant, (names.to_vec(), tables), (sequences, cycles))
    }

    fn columns() -> impl Strategy<Value = Vec<(String, String)>> {
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)
            .prop_map(|columns| columns.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_manifest_reads_as_it_was_written(
            names in prop::collection::btree_set(any::<String>(), 0..5),
            columns in columns(),
            text in "[^\0]{0,20}",
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let manifest = manifest(&names, &columns, &text);
            let json = to_json(MANIFEST, &manifest).unwrap();
            prop_assert_eq!(Manifest::parse(&json).unwrap(), manifest);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in any::<Vec<u8>>()) {
            prop_assert!(Manifest::parse(&text).is_err());
        }

        #[test]
        fn paths_of_parts_fit_whatever_a_table_is_called(name in any::<String>(), part in 0_u64..1 << 29) {
            let path = manifest(&[name], &[], "").part(0, part);
            prop_assert!(path.len() <= 100 && path.is_ascii(), "{}", path);
            prop_assert!(!path.contains("..") && path.starts_with("data/00001_"), "{}", path);
        }
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let valid = serde_json::to_value(manifest(&["a".into()], &[], "x")).unwrap();
        let parse = |value: &serde_json::Value| Manifest::parse(value.to_string().as_bytes());
        parse(&valid).unwrap();
        let changed = |path: &str, value: serde_json::Value| {
            let mut changed = valid.clone();
            *changed.pointer_mut(path).unwrap() = value;
            parse(&changed).unwrap_err().to_string()
        };
        let table = valid["tables"][0].clone();
        assert!(changed("/format", 2.into()).contains("has format 2"));
        assert!(changed("/format", (-1).into()).contains("manifest.json"));
        assert!(
            changed("/tables", vec![table.clone(), table].into()).contains("\"a\" is there twice")
        );
        assert!(changed("/migrations", serde_json::json!(["x", "x"])).contains("twice"));
        assert!(changed("/sequences/0/last_value", 1e30.into()).contains("manifest.json"));
        assert!(changed("/tenant/metadata", serde_json::json!({ "tags": [] })).contains("tags"));
        assert!(changed("/tenant/max_connections", 0.into()).contains("nonzero"));
        assert!(changed("/tenant/max_body_bytes", 0.into()).contains("nonzero"));
        let mut more = valid.clone();
        more["tenant"]["admin"] = true.into();
        assert!(parse(&more).unwrap_err().to_string().contains("unknown field `admin`"));
        let deep = format!("{{\"format\":{}", "[".repeat(100_000));
        assert!(Manifest::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn settings_that_a_program_would_not_store_are_refused() {
        let of = |origins: Vec<String>| {
            let mut manifest = manifest(&[], &[], "x");
            manifest.tenant.cors_origins = origins;
            manifest.tenant.settings()
        };
        let origin = |number: usize| format!("https://app-{number}.example.org");
        assert_eq!(of(vec![origin(1)]).unwrap().http.cors_origins[0].to_string(), origin(1));
        assert!(matches!(of(vec!["*".to_owned()]), Err(Error::Name(_))));
        assert!(matches!(of((0..51).map(origin).collect()), Err(Error::TooManyOrigins(51))));
    }

    #[test]
    fn an_entry_that_no_import_would_accept_is_not_written() {
        let names: Vec<String> =
            (0..20).map(|it| format!("{it}{}", "x".repeat(1_000_000))).collect();
        let error = to_json(MANIFEST, &manifest(&names, &[], "x")).unwrap_err().to_string();
        assert!(error.contains("manifest.json") && error.contains("at most 16777216"), "{error}");
    }
}
