//! The last entry of an export.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TransferError, manifest::parse};

pub(super) const END: &str = "end.json";

/// The last entry. An export without it is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// SHA-256 of the manifest.
    pub(super) manifest: String,
    pub(super) tables: Vec<TableEnd>,
}

/// Rows of a table, as text of `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableEnd {
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl End {
    pub(super) fn parse(text: &[u8]) -> Result<Self, TransferError> {
        parse(END, text)
    }

    /// Checks that everything was read as it was written.
    pub(super) fn confirm(&self, read: &Self) -> Result<(), TransferError> {
        if self.manifest != read.manifest {
            return Err(TransferError::ManifestChanged);
        }
        if self.tables.len() != read.tables.len() {
            let reason =
                format!("it has {} tables, and not {}", self.tables.len(), read.tables.len());
            return Err(TransferError::Malformed { entry: END.to_owned(), reason });
        }
        let mut pairs = self.tables.iter().zip(&read.tables);
        match pairs.find(|(written, read)| written != read) {
            Some((written, read)) => Err(TransferError::Damaged {
                table: read.name.clone(),
                reason: format!("{written} were written, and {read} are there"),
            }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TableEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rows, bytes, sha256 } = self;
        write!(f, "{rows} rows of {name:?} ({bytes} bytes, SHA-256 {sha256})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(text in any::<Vec<u8>>()) {
            prop_assert!(End::parse(&text).is_err());
        }
    }

    #[test]
    fn an_end_that_differs_anywhere_is_refused() {
        let row = TableEnd { name: "a".into(), rows: 1, bytes: 2, sha256: "00".into() };
        let end = End { manifest: "11".into(), tables: vec![row.clone()] };
        end.confirm(&end.clone()).unwrap();
        for other in [
            End { manifest: "12".into(), ..end.clone() },
            End { tables: Vec::new(), ..end.clone() },
            End { tables: vec![TableEnd { rows: 2, ..row.clone() }], ..end.clone() },
            End { tables: vec![TableEnd { bytes: 3, ..row.clone() }], ..end.clone() },
            End { tables: vec![TableEnd { sha256: "01".into(), ..row.clone() }], ..end.clone() },
            End { tables: vec![TableEnd { name: "b".into(), ..row }], ..end.clone() },
        ] {
            end.confirm(&other).unwrap_err();
        }
    }
}
