//! Failures put together by what caused them.

use std::io::{self, Write};

use super::format::{MAX_LISTED, format_count, join_truncated};

/// A right is missing.
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

/// The failures of a run, grouped by cause.
#[derive(Default)]
pub(super) struct FailureGroups(Vec<FailureGroup>);

struct FailureGroup {
    migration: Option<String>,
    sqlstate: Option<String>,
    /// With `…` for the tenant's own names.
    common: String,
    /// As the first one had it.
    first: String,
    /// The first of them.
    tenants: Vec<String>,
    number: usize,
}

impl FailureGroups {
    /// Counts a failure, and returns how many there are by now of the same cause.
    pub(super) fn add(&mut self, failure: &Failure<'_>) -> usize {
        let common = mask_tenant_names(failure);
        let same = |cause: &&mut FailureGroup| {
            cause.migration.as_deref() == failure.migration
                && cause.sqlstate.as_deref() == failure.sqlstate
                // Only the first one's message says whose right it is.
                && (cause.common == common || failure.sqlstate == Some(PRIVILEGE))
        };
        if let Some(cause) = self.0.iter_mut().find(same) {
            cause.number += 1;
            if cause.tenants.len() < MAX_LISTED {
                cause.tenants.push(failure.tenant.to_owned());
            }
            return cause.number;
        }
        self.0.push(FailureGroup {
            migration: failure.migration.map(str::to_owned),
            sqlstate: failure.sqlstate.map(str::to_owned),
            common,
            first: failure.message.to_owned(),
            tenants: vec![failure.tenant.to_owned()],
            number: 1,
        });
        1
    }

    /// Writes what caused most first, each with some of its tenants below it.
    pub(super) fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.0.sort_by_key(|cause| std::cmp::Reverse(cause.number));
        for cause in self.0.iter().take(MAX_LISTED) {
            let what = [cause.migration.clone(), cause.sqlstate_text()];
            let what = what.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let colon = if what.is_empty() { "" } else { ": " };
            writeln!(
                out,
                "{} failed: {what}{colon}{}",
                format_count(cause.number),
                cause.message()
            )?;
            let tenants = cause.tenants.iter().map(String::as_str);
            writeln!(out, "  {}", join_truncated(tenants, cause.number))?;
        }
        let rest = self.0.iter().skip(MAX_LISTED);
        match rest.map(|cause| cause.number).sum() {
            0 => Ok(()),
            more => writeln!(out, "{} failed otherwise", format_count(more)),
        }
    }
}

impl FailureGroup {
    fn sqlstate_text(&self) -> Option<String> {
        self.sqlstate.as_ref().map(|code| format!("SQLSTATE {code}"))
    }

    /// On one line.
    fn message(&self) -> String {
        let message = if self.number == 1 { &self.first } else { &self.common };
        message.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The message with `…` where it has a name of the tenant as a whole word.
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
    fn what_differs_only_in_the_tenants_names_is_one_cause() {
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
    fn a_name_inside_another_is_kept() {
        let text = report([("a", "1", "a: table a_b"), ("b", "1", "b: table a_b")]);
        assert!(text.starts_with("2 failed: m1, SQLSTATE 1: …: table a_b\n"), "{text}");
    }
}
