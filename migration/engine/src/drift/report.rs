//! What was found, for a person to read.

use std::fmt::{self, Display, Formatter};

use super::{Change, Finding, Verification, finding::SchemaRef};

/// How many tenants of a group are named.
const NAMED: usize = 10;

/// How much of a definition is shown, in characters.
const SHOWN: usize = 160;

/// The findings, then one line that sums up.
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
    /// How many schemas could not be compared.
    fn not_compared(&self) -> usize {
        let tenants = self.findings.iter().map(|it| match it {
            Finding::NotCompared { tenants, .. } => tenants.len(),
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
                        "{number} differ from a schema that is made now: {} (the outcome of \
                         migration {migration} depends on the other schemas of the database, so \
                         they may be right and others wrong; fix that migration first)",
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

/// One line: `+` for what is there and should not be, `-` for what should be there and is not,
/// `~` for what is not as it should be.
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

/// Number of characters that both begin with.
fn common_prefix_len(a: &str, b: &str) -> usize {
    one_line(a).chars().zip(one_line(b).chars()).take_while(|(a, b)| a == b).count()
}

/// One line of bearable length. When the first `same` characters would be all that is seen, they
/// are left out but for the last few.
fn shown(text: &str, same: usize) -> String {
    let line = one_line(text);
    let skip = if same > SHOWN / 2 { same - SHOWN / 8 } else { 0 };
    let mut seen: String = line.chars().skip(skip).take(SHOWN).collect();
    if skip > 0 {
        seen.insert(0, '…');
    }
    if line.chars().count() > skip + SHOWN {
        seen.push('…');
    }
    if seen.is_empty() { "nothing".to_owned() } else { seen }
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
    fn a_change_far_into_a_long_definition_is_seen() {
        let long = "x ".repeat(300);
        let text = change(&format!("{long}old{long}"), &format!("{long}new{long}"));
        assert!(text.contains("old") && text.contains("new"), "{text}");
        assert!(text.chars().count() < 400, "{text}");
    }

    #[test]
    fn a_change_is_one_line() {
        assert_eq!(change("a\n  b", ""), "~ function f(): a b → nothing");
    }

    #[test]
    fn only_some_of_many_tenants_are_named() {
        let tenants: Vec<SchemaRef> = (0..12)
            .filter_map(|n| format!("t_{n}").parse().ok())
            .map(|schema| SchemaRef { slug: None, schema })
            .collect();
        assert!(names(&tenants).ends_with("t_9 and 2 more"), "{}", names(&tenants));
        assert_eq!(names(&tenants[..2]), "t_0, t_1");
    }
}
