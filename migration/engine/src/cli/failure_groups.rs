//! Failures of a run, grouped by group.

use std::io::{self, Write};

use super::format::{MAX_LISTED, format_count, join_truncated};

/// SQLSTATE `insufficient_privilege`.
const PRIVILEGE: &str = "42501";

/// One failure.
pub(super) struct Failure<'a> {
    /// Name of the tenant.
    pub(super) tenant: &'a str,
    pub(super) schema: &'a str,
    pub(super) migration: Option<&'a str>,
    pub(super) sqlstate: Option<&'a str>,
    pub(super) message: &'a str,
}

/// The failures of a run, grouped by group.
#[derive(Default)]
pub(super) struct FailureGroups(Vec<FailureGroup>);

struct FailureGroup {
    migration: Option<String>,
    sqlstate: Option<String>,
    /// The message with `…` instead of the tenant's names.
    masked: String,
    /// The first message.
    first: String,
    /// The first tenants.
    tenants: Vec<String>,
    number: usize,
}

impl FailureGroups {
    /// Adds a failure and returns the number of failures with the same cause so far.
    pub(super) fn add(&mut self, failure: &Failure<'_>) -> usize {
        let masked = mask_tenant_names(failure);
        let same = |group: &&mut FailureGroup| {
            group.migration.as_deref() == failure.migration
                && group.sqlstate.as_deref() == failure.sqlstate
                // Only the first message names the role and the owner.
                && (group.masked == masked || failure.sqlstate == Some(PRIVILEGE))
        };
        if let Some(group) = self.0.iter_mut().find(same) {
            group.number += 1;
            if group.tenants.len() < MAX_LISTED {
                group.tenants.push(failure.tenant.to_owned());
            }
            return group.number;
        }
        self.0.push(FailureGroup {
            migration: failure.migration.map(str::to_owned),
            sqlstate: failure.sqlstate.map(str::to_owned),
            masked,
            first: failure.message.to_owned(),
            tenants: vec![failure.tenant.to_owned()],
            number: 1,
        });
        1
    }

    /// Writes the largest group first, each with some of its tenants.
    pub(super) fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.0.sort_by_key(|group| std::cmp::Reverse(group.number));
        for group in self.0.iter().take(MAX_LISTED) {
            let what = [group.migration.clone(), group.sqlstate_text()];
            let what = what.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let colon = if what.is_empty() { "" } else { ": " };
            writeln!(
                out,
                "{} failed: {what}{colon}{}",
                format_count(group.number),
                group.message()
            )?;
            let tenants = group.tenants.iter().map(String::as_str);
            writeln!(out, "  {}", join_truncated(tenants, group.number))?;
        }
        let rest = self.0.iter().skip(MAX_LISTED);
        match rest.map(|group| group.number).sum() {
            0 => Ok(()),
            more => writeln!(out, "{} failed for other causes", format_count(more)),
        }
    }
}

impl FailureGroup {
    fn sqlstate_text(&self) -> Option<String> {
        self.sqlstate.as_ref().map(|code| format!("SQLSTATE {code}"))
    }

    /// The message on one line.
    fn message(&self) -> String {
        let message = if self.number == 1 { &self.first } else { &self.masked };
        message.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The message with `…` instead of the tenant's slug and schema, where they are whole words.
fn mask_tenant_names(failure: &Failure<'_>) -> String {
    let mut text = failure.message.to_owned();
    for name in [failure.schema, failure.tenant] {
        let mut kept = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(name) {
            let (before, after) = (&rest[..at], &rest[at + name.len()..]);
            let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
            let whole = !before.ends_with(part) && !after.starts_with(part);
            kept.push_str(before);
            kept.push_str(if whole { "…" } else { name });
            rest = after;
        }
        text = kept + rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Failure, FailureGroups};

    fn report<const N: usize>(failures: [(&str, &str, &str); N]) -> String {
        let mut groups = FailureGroups::default();
        for (tenant, sqlstate, message) in failures {
            let schema = tenant.replace('-', "_");
            let (migration, sqlstate) = (Some("m1"), Some(sqlstate));
            groups.add(&Failure { tenant, schema: &schema, migration, sqlstate, message });
        }
        let mut out = Vec::new();
        groups.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn groups_messages_that_differ_only_in_tenant_names() {
        let text = report([
            ("tenant-7", "42501", "permission denied for schema tenant_7"),
            ("tenant-1", "42P01", "relation \"tenant_1.guards\" of tenant-1 does not exist"),
            ("tenant-12", "42P01", "relation \"tenant_12.guards\" of tenant-12 does not exist"),
        ]);
        assert_eq!(
            text,
            "2 failed: m1, SQLSTATE 42P01: relation \"….guards\" of … does not exist\n  \
             tenant-1, tenant-12\n\
             1 failed: m1, SQLSTATE 42501: permission denied for schema tenant_7\n  tenant-7\n"
        );
    }

    #[test]
    fn keeps_a_name_inside_a_longer_one() {
        let text = report([("a", "1", "a: table a_b"), ("b", "1", "b: table a_b")]);
        assert!(text.starts_with("2 failed: m1, SQLSTATE 1: …: table a_b\n"), "{text}");
    }
}
