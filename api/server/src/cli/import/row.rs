//! What a line of the file says, and whether a tenant can be made of it.

use std::str::FromStr;

use tenantry::{NameError, NewTenant, Slug};

use super::duplicates::Duplicates;

/// A tenant as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) slug: String,
    pub(super) name: Option<String>,
    pub(super) domains: Vec<String>,
    pub(super) tags: Vec<String>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Row {
    /// Number of the line, of several the first.
    pub(super) line: u64,
    /// How many bytes of the file end with it.
    pub(super) end: u64,
    pub(super) fields: Result<Fields, Unreadable>,
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The slug, if that much is clear.
    pub(super) slug: Option<String>,
    pub(super) reason: String,
}

/// Which line it is.
#[derive(Debug)]
pub(super) struct LineRef {
    pub(super) line: u64,
    pub(super) end: u64,
    /// The slug as it was written.
    pub(super) slug: Option<String>,
}

/// Several values in one text.
pub(super) fn split(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| c == ';' || c.is_whitespace());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl Row {
    /// Checks everything that can be checked without asking the database: gives the tenant to be
    /// made, or every reason not to.
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
                if let Some(first) = duplicates.slug(&slug, line) {
                    reasons.push(format!("line {first} has this slug already"));
                }
                Some(slug)
            }
            // The slug itself stands before the reason.
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
        let mut tenant = NewTenant { slug, name, domains, tags };
        if let Err(error) = tenant.normalize() {
            reasons.push(error.to_string());
        }
        if reasons.is_empty() {
            for hostname in &tenant.domains {
                if let Some(first) = duplicates.hostname(hostname, line) {
                    reasons.push(format!("line {first} has the host name {hostname} already"));
                }
            }
        }
        if reasons.is_empty() { Ok(tenant) } else { Err(reasons.join("; ")) }
    }
}

fn parse<T: FromStr<Err = NameError>>(text: &str, reasons: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error: NameError| reasons.push(error.to_string())).ok()
}
