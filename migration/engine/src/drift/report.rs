//! Findings as text.

use std::fmt::{self, Display, Formatter};

use super::{Change, Finding, Verification, finding::SchemaRef};

/// How many tenants a finding names.
const NAMED: usize = 10;

/// Maximum length of a definition, in characters.
const SHOWN: usize = 160;

/// The findings and a summary line.
impl Display for Verification {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self { schemas, drifted, .. } = *self;
        let not_compared = self.not_compared();
        let good = schemas - drifted - not_compared;
        write!(f, "{} checked: {good} match", count(schemas, "schema"))?;
        let kinds = self.number(|it| matches!(it, Finding::Drift { .. }));
        let plural = if kinds == 1 { "" } else { "s" };
        if drifted > 0 {
            write!(f, ", {drifted} drifted ({kinds} kind{plural} of difference)")?;
        }
        if not_compared > 0 {
            write!(f, ", {not_compared} not compared")?;
        }
        let unreachable = self.unreachable();
        if unreachable > 0 {
            write!(f, ", {} not reached", count(unreachable, "schema"))?;
        }
        let others = [
            (self.number(|it| matches!(it, Finding::Dropping { .. })), "tenant", " being dropped"),
            (
                self.number(|it| matches!(it, Finding::SchemaWithoutRow { .. })),
                "schema",
                " without a registry row",
            ),
            (
                self.number(|it| matches!(it, Finding::RowWithoutSchema { .. })),
                "registry row",
                " without a schema",
            ),
            (self.number(|it| matches!(it, Finding::TableInPublic { .. })), "table", " in public"),
            (
                self.number(|it| matches!(it, Finding::UnusedAllowlistEntry { .. })),
                "allowed finding",
                " not found",
            ),
            (
                self.number(|it| matches!(it, Finding::TableInExtensionSchema { .. })),
                "table",
                " beside extensions",
            ),
        ];
        for (number, noun, rest) in others.into_iter().filter(|(number, ..)| *number > 0) {
            write!(f, ", {}{rest}", count(number, noun))?;
        }
        Ok(())
    }
}

impl Verification {
    /// Number of schemas that could not be compared.
    fn not_compared(&self) -> usize {
        let tenants = self.findings.iter().map(|it| match it {
            Finding::NotCompared { tenants, .. } => tenants.len(),
            _ => 0,
        });
        tenants.sum()
    }

    /// Number of schemas on nodes that cannot be reached.
    fn unreachable(&self) -> usize {
        let tenants = self.findings.iter().map(|it| match it {
            Finding::Unreachable { tenants, .. } => tenants.len(),
            _ => 0,
        });
        tenants.sum()
    }

    fn number(&self, which: impl Fn(&Finding) -> bool) -> usize {
        self.findings.iter().filter(|it| which(it)).count()
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drift { tenants, difference, suspect_migration } => {
                let number = count(tenants.len(), "tenant");
                match suspect_migration {
                    None => write!(f, "{number} drifted: {}", names(tenants))?,
                    Some(migration) => write!(
                        f,
                        "{number} differ from a new schema: {} (the result of migration \
                         {migration} depends on other schemas of the database, so the new schema \
                         may be wrong instead; fix that migration first)",
                        names(tenants)
                    )?,
                }
                difference.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
            Self::NotCompared { tenants, version, migration, reason } => {
                write!(
                    f,
                    "{} at {} not compared: {}\n  {}{reason}",
                    count(tenants.len(), "tenant"),
                    version.as_deref().unwrap_or("no migration"),
                    names(tenants),
                    migration.as_ref().map(|it| format!("{it}: ")).unwrap_or_default()
                )
            }
            Self::Unreachable { tenants, node, reason } => {
                let node = node.as_ref().map(|node| format!(" {node}")).unwrap_or_default();
                write!(
                    f,
                    "{} not verified, since their node{node} cannot be reached: {}\n  {}",
                    count(tenants.len(), "tenant"),
                    names(tenants),
                    shown(reason, 0)
                )
            }
            Self::Dropping { tenant } => write!(
                f,
                "being dropped: {tenant} (schema {}); if the drop was interrupted, dropping the \
                 tenant again finishes it",
                tenant.schema
            ),
            Self::UnusedAllowlistEntry { entry } => write!(
                f,
                "allowed, but not found: {entry} ({}); remove it from the list",
                entry.reason
            ),
            Self::SchemaWithoutRow { schema } => {
                write!(f, "schema without a registry row: {schema}")
            }
            Self::RowWithoutSchema { tenant } => {
                write!(f, "registry row without a schema: {tenant} (schema {})", tenant.schema)
            }
            Self::TableInPublic { table } => write!(f, "table in public: {table}"),
            Self::TableInExtensionSchema { schema, table } => {
                write!(f, "table in {schema}, a schema of extensions: {table}")
            }
        }
    }
}

/// One line: `+` for an extra object, `-` for a missing object, `~` for a changed object.
impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { object, name, definition } => {
                write!(f, "{}", shown(format!("- {object} {name} {definition}").trim_end(), 0))
            }
            Self::Extra { object, name, definition } => {
                write!(f, "{}", shown(format!("+ {object} {name} {definition}").trim_end(), 0))
            }
            Self::Changed { object, name, expected, found } => {
                let same = common_prefix_len(expected, found);
                let (expected, found) = (shown(expected, same), shown(found, same));
                write!(f, "~ {object} {name}: {expected} → {found}")
            }
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn names(tenants: &[SchemaRef]) -> String {
    let named: Vec<String> = tenants.iter().take(NAMED).map(ToString::to_string).collect();
    match tenants.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Length of the common prefix, in characters.
fn common_prefix_len(a: &str, b: &str) -> usize {
    one_line(a).chars().zip(one_line(b).chars()).take_while(|(a, b)| a == b).count()
}

/// One truncated line. If the common prefix of `same` characters would fill it, most of the prefix
/// is left out.
fn shown(text: &str, same: usize) -> String {
    let line = one_line(text);
    let skip = if same > SHOWN / 2 { same - SHOWN / 8 } else { 0 };
    let mut shown: String = line.chars().skip(skip).take(SHOWN).collect();
    if skip > 0 {
        shown.insert(0, '…');
    }
    if line.chars().count() > skip + SHOWN {
        shown.push('…');
    }
    if shown.is_empty() { "nothing".to_owned() } else { shown }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(expected: &str, found: &str) -> String {
        Change::Changed {
            object: "function".to_owned(),
            name: "f()".to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
        .to_string()
    }

    #[test]
    fn shows_a_change_late_in_a_long_definition() {
        let long = "x ".repeat(300);
        let text = change(&format!("{long}old{long}"), &format!("{long}new{long}"));
        assert!(text.contains("old") && text.contains("new"), "{text}");
        assert!(text.chars().count() < 400, "{text}");
    }

    #[test]
    fn formats_a_change_as_one_line() {
        assert_eq!(change("a\n  b", ""), "~ function f(): a b → nothing");
    }

    #[test]
    fn names_the_first_ten_tenants() {
        let tenants: Vec<SchemaRef> = (0..12)
            .filter_map(|n| format!("t_{n}").parse().ok())
            .map(|schema| SchemaRef { slug: None, schema })
            .collect();
        assert!(names(&tenants).ends_with("t_9 and 2 more"), "{}", names(&tenants));
        assert_eq!(names(&tenants[..2]), "t_0, t_1");
    }
}
