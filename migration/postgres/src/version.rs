use std::fmt;

/// Oldest supported major version: `initdb --no-instructions` needs it, and older ones get no
/// fixes any more.
pub const MIN_VERSION: u32 = 14;

/// A version of PostgreSQL, such as `15.13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major version. A data folder works with one only.
    pub major: u32,
    /// Minor version; 0 for betas.
    pub minor: u32,
}

impl Version {
    /// Parses `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("(PostgreSQL) ")?;
        let number = |text: &str| {
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..digits].parse().ok()
        };
        let minor = rest.split_whitespace().next()?.split_once('.').and_then(|(_, m)| number(m));
        Some(Self { major: number(rest)?, minor: minor.unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn parses_releases_betas_and_packages() {
        let version = |major, minor| Some(Version { major, minor });
        for (line, parsed) in [
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", version(15, 13)),
            ("postgres (PostgreSQL) 17.5\n", version(17, 5)),
            ("postgres (PostgreSQL) 18beta1", version(18, 0)),
            ("postgres (PostgreSQL) 9.6.24", version(9, 6)),
            ("usage: postgres", None),
        ] {
            assert_eq!(Version::parse(line), parsed, "{line}");
        }
    }
}
