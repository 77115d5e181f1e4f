//! The JSON form of an entry.

use serde::Deserialize;

use super::{Allowed, AllowlistEntry, Difference, NamePattern, Orphan};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    finding: Option<String>,
    change: Option<String>,
    object: Option<String>,
    #[serde(alias = "table", alias = "schema")]
    name: Option<String>,
    prefix: Option<String>,
    #[serde(default)]
    tenants: Vec<String>,
    reason: Option<String>,
}

impl Entry {
    /// Validates the entry.
    pub(super) fn check(self) -> Result<AllowlistEntry, &'static str> {
        let Self { finding, change, object, name, prefix, tenants, reason } = self;
        let difference = change.as_deref().map(|change| match change {
            "missing" => Ok(Difference::Missing),
            "extra" => Ok(Difference::Extra),
            "changed" => Ok(Difference::Changed),
            _ => Err("has an unknown change; use missing, extra or changed"),
        });
        let kind = match (finding.as_deref(), difference.transpose()?, object) {
            (Some("drift") | None, Some(change), Some(object)) => {
                Allowed::Difference { change, object }
            }
            (Some("drift") | None, Some(_), None) => {
                return Err("has no object; add the kind of object, such as table");
            }
            (Some("table_in_public"), None, None) => {
                Allowed::Orphan { finding: Orphan::TableInPublic }
            }
            (Some("schema_without_row"), None, None) => {
                Allowed::Orphan { finding: Orphan::SchemaWithoutRow }
            }
            _ => {
                return Err("allows nothing; add either change and object, or the finding \
                            table_in_public or schema_without_row");
            }
        };
        let name = match (name, prefix) {
            (Some(name), None) if !name.is_empty() => NamePattern::Name(name),
            (None, Some(prefix)) if !prefix.is_empty() => NamePattern::Prefix(prefix),
            _ => return Err("needs either a name or a prefix, which is not empty"),
        };
        let reason = reason.unwrap_or_default().trim().to_owned();
        if reason.is_empty() {
            return Err("has no reason");
        }
        let entry = AllowlistEntry { kind, name, tenants, reason };
        if !entry.tenants.is_empty() && !entry.is_of_tenants() {
            return Err("belongs to no tenant; remove tenants");
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Allowlist;

    #[test]
    fn rejects_incomplete_and_ambiguous_entries() {
        for (entry, rule) in [
            (r#"{"finding": "table_in_public", "name": "a"}"#, "has no reason"),
            (r#"{"finding": "table_in_public", "name": "a", "reason": " "}"#, "has no reason"),
            (r#"{"finding": "table_in_public", "reason": "b"}"#, "a name or a prefix"),
            (r#"{"change": "extra", "object": "table", "prefix": "", "reason": "b"}"#, "prefix"),
            (r#"{"change": "new", "object": "table", "name": "a", "reason": "b"}"#, "extra or"),
            (r#"{"change": "extra", "name": "a", "reason": "b"}"#, "has no object"),
            (r#"{"finding": "row_without_schema", "name": "a", "reason": "b"}"#, "allows nothing"),
            (
                r#"{"finding": "table_in_public", "name": "a", "reason": "b", "tenants": ["c"]}"#,
                "no tenant",
            ),
        ] {
            let good = r#"{"finding": "schema_without_row", "schema": "a", "reason": "b"}"#;
            let error = format!("[{good}, {entry}]").parse::<Allowlist>().unwrap_err().to_string();
            assert!(error.starts_with("entry 2") && error.contains(rule), "{entry}: {error}");
        }
        for text in ["", "{}", r#"[{"findings": "drift"}]"#] {
            text.parse::<Allowlist>().unwrap_err();
        }
    }
}
