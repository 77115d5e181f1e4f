//! Rows of the file, and the tenants made of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    str::FromStr,
};

use tenantry::{Hostname, NameError, NewTenant, Slug};

/// A tenant as written in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) slug: String,
    pub(super) name: Option<String>,
    pub(super) domains: Vec<String>,
    pub(super) tags: Vec<String>,
}

/// One record or object of the file.
#[derive(Debug)]
pub(super) struct Row {
    /// Line number; of a record with several lines, the first one.
    pub(super) line: u64,
    /// Offset of its end in the file, in bytes.
    pub(super) end: u64,
    pub(super) fields: Result<Fields, Unreadable>,
}

/// A row that cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The slug, if it could be parsed.
    pub(super) slug: Option<String>,
    pub(super) reason: String,
}

/// Identifies a row in reports.
#[derive(Debug)]
pub(super) struct LineRef {
    pub(super) line: u64,
    pub(super) end: u64,
    /// The slug as written.
    pub(super) slug: Option<String>,
}

/// Slugs and host names of the rows so far, with their lines.
#[derive(Default)]
pub(super) struct Duplicates {
    slugs: HashMap<Slug, u64>,
    hostnames: HashMap<Hostname, u64>,
}

/// The line that had this key first, if another one had it.
fn first_line<K: Eq + Hash + Clone>(
    lines: &mut HashMap<K, u64>,
    key: &K,
    line: u64,
) -> Option<u64> {
    match lines.entry(key.clone()) {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(entry) => {
            entry.insert(line);
            None
        }
    }
}

/// Several values in one string, separated by semicolons or white space.
pub(super) fn split(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| c == ';' || c.is_whitespace());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl Row {
    /// Checks the row as far as that is possible without the database. Returns the tenant to
    /// create, or all reasons not to.
    pub(super) fn check(self, duplicates: &mut Duplicates) -> (LineRef, Result<NewTenant, String>) {
        let (slug, tenant) = match self.fields {
            Ok(fields) => {
                let slug = fields.slug.trim().to_owned();
                let tenant = fields.tenant(&slug, self.line, duplicates);
                (Some(slug), tenant)
            }
            Err(unreadable) => (unreadable.slug, Err(unreadable.reason)),
        };
        (LineRef { line: self.line, end: self.end, slug }, tenant)
    }
}

impl Fields {
    fn tenant(
        self,
        slug: &str,
        line: u64,
        duplicates: &mut Duplicates,
    ) -> Result<NewTenant, String> {
        let mut reasons = Vec::new();
        let slug = match slug.parse::<Slug>() {
            Ok(slug) => {
                if let Some(first) = first_line(&mut duplicates.slugs, &slug, line) {
                    reasons.push(format!("this slug is on line {first} already"));
                }
                Some(slug)
            }
            // The report prints the slug before the reason.
            Err(error) => {
                reasons.push(error.rule().to_owned());
                None
            }
        };
        let name = self.name.and_then(|name| parse(&name, &mut reasons));
        let domains: Vec<_> =
            self.domains.iter().filter_map(|it| parse(it, &mut reasons)).collect();
        let tags = self.tags.iter().filter_map(|it| parse(it, &mut reasons)).collect();
        let Some(slug) = slug else { return Err(reasons.join("; ")) };
        let mut tenant = NewTenant { name, domains, tags, ..NewTenant::new(slug) };
        if let Err(error) = tenant.normalize() {
            reasons.push(error.to_string());
        }
        if reasons.is_empty() {
            for hostname in &tenant.domains {
                if let Some(first) = first_line(&mut duplicates.hostnames, hostname, line) {
                    reasons.push(format!("the host name {hostname} is on line {first} already"));
                }
            }
        }
        if reasons.is_empty() { Ok(tenant) } else { Err(reasons.join("; ")) }
    }
}

fn parse<T: FromStr<Err = NameError>>(text: &str, reasons: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error: NameError| reasons.push(error.to_string())).ok()
}
