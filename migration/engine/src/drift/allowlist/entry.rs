//! One entry of the list, as it is written.

use serde::Deserialize;

use super::{Allowed, AllowlistEntry, Difference, NamePattern, Orphan};

/// An entry as it is written.
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
    /// Refuses an entry that says too little, or too much.
    pub(super) fn check(self) -> Result<AllowlistEntry, &'static str> {
        let Self { finding, change, object, name, prefix, tenants, reason } = self;
        let difference = change.as_deref().map(|change| match change {
            "missing" => Ok(Difference::Missing),
            "extra" => Ok(Difference::Extra),
            "changed" => Ok(Difference::Changed),
            _ => Err("has an unknown change; write missing, extra or changed"),
        });
        let kind = match (finding.as_deref(), difference.transpose()?, object) {
            (Some("drift") | None, Some(change), Some(object)) => {
                Allowed::Difference { change, object }
            }
            (Some("drift") | None, Some(_), None) => {
                return Err("has no object; write which kind of object is meant, such as table");
            }
            (Some("table_in_public"), None, None) => {
                Allowed::Orphan { finding: Orphan::TableInPublic }
            }
            (Some("schema_without_row"), None, None) => {
                Allowed::Orphan { finding: Orphan::SchemaWithoutRow }
            }
            _ => {
                return Err(
                    "names nothing that can be allowed; write either change and object, or \
                            the finding table_in_public or schema_without_row",
                );
            }
        };
        let name = match (name, prefix) {
            (Some(name), None) if !name.is_empty() => NamePattern::Name(name),
            (None, Some(prefix)) if !prefix.is_empty() => NamePattern::Prefix(prefix),
            _ => return Err("needs either a name or a prefix of names, which is not empty"),
        };
        let reason = reason.unwrap_or_default().trim().to_owned();
        if reason.is_empty() {
            return Err("has no reason; write in reason why it is meant");
        }
        let entry = AllowlistEntry { kind, name, tenants, reason };
        if !entry.tenants.is_empty() && !entry.is_of_tenants() {
            return Err("is about no tenant; leave tenants out");
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Allowlist;

    #[test]
    fn an_entry_says_exactly_what_is_meant_and_why() {
        for (entry, rule) in [
            (r#"{"finding": "table_in_public", "name": "a"}"#, "has no reason"),
            (r#"{"finding": "table_in_public", "name": "a", "reason": " "}"#, "has no reason"),
            (r#"{"finding": "table_in_public", "reason": "b"}"#, "a name or a prefix"),
            (r#"{"change": "extra", "object": "table", "prefix": "", "reason": "b"}"#, "prefix"),
            (r#"{"change": "new", "object": "table", "name": "a", "reason": "b"}"#, "extra or"),
            (r#"{"change": "extra", "name": "a", "reason": "b"}"#, "has no object"),
            (r#"{"finding": "row_without_schema", "name": "a", "reason": "b"}"#, "nothing that"),
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
