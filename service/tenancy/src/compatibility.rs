//! Compatibility of this build with a tenant's schema.
//!
//! During a rolling release, programs of two releases serve one fleet, part of which is migrated. A
//! program serves a tenant if all of the program's migrations are applied to its schema, and no
//! breaking migration that the program does not know.

use tenantry_migrate::DynMigrator;
use tenantry_registry::tenant;

use super::availability::Availability;

/// The tenant migrations of this build.
#[derive(Debug)]
pub(super) struct KnownMigrations {
    /// Oldest first.
    names: Vec<String>,
}

/// A tenant's availability and the migrations that explain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compatibility {
    pub(super) availability: Availability,
    /// See [`TenantUnavailable::applied`](super::TenantUnavailable::applied).
    pub(super) applied: Option<String>,
    /// See [`TenantUnavailable::newest`](super::TenantUnavailable::newest).
    pub(super) newest: Option<String>,
    /// See [`TenantUnavailable::unknown`](super::TenantUnavailable::unknown).
    pub(super) unknown: Option<String>,
}

/// The migrations of a schema as recorded in its registry row.
#[derive(Debug, Clone, Copy)]
struct Applied<'a> {
    version: Option<&'a str>,
    migrations: &'a [String],
    breaking: &'a [String],
}

impl From<Availability> for Compatibility {
    fn from(availability: Availability) -> Self {
        Self { availability, applied: None, newest: None, unknown: None }
    }
}

impl KnownMigrations {
    pub(super) fn new(migrator: &DynMigrator) -> Self {
        Self { names: migrator.names() }
    }

    pub(super) fn compatibility(&self, row: &tenant::Model) -> Compatibility {
        let (migrations, breaking) = (&row.migrations, &row.breaking);
        let version = row.schema_version.as_deref();
        self.compatibility_of(row.status, Applied { version, migrations, breaking })
    }

    /// The status of a tenant takes precedence over its migrations.
    fn compatibility_of(&self, status: tenant::Status, row: Applied<'_>) -> Compatibility {
        let availability = match status.into() {
            Availability::Active => self.compare(row),
            other => other,
        };
        let (applied, unknown) = match availability {
            Availability::Behind => (self.newest_in_order(row), self.newest_unknown(row)),
            Availability::Ahead => (row.breaking.iter().rfind(|it| !self.knows(it)).cloned(), None),
            _ => return availability.into(),
        };
        Compatibility { availability, applied, newest: self.names.last().cloned(), unknown }
    }

    fn compare(&self, row: Applied<'_>) -> Availability {
        if row.breaking.iter().any(|name| !self.knows(name)) {
            // First, since migrating with this build would not help.
            return Availability::Ahead;
        }
        let newest = self.names.last().map(String::as_str);
        let newer = |version: &str| !self.knows(version) && Some(version) > newest;
        let fits = match row.set() {
            Some(set) => {
                let whole = self.names.iter().all(|name| set.contains(name));
                whole && (row.version == newest || row.version.is_some_and(|it| !self.knows(it)))
            }
            None => row.version == newest || row.version.is_some_and(newer),
        };
        if fits { Availability::Active } else { Availability::Behind }
    }

    /// The newest applied migration up to which none of this build's is missing.
    fn newest_in_order(&self, row: Applied<'_>) -> Option<String> {
        match row.set() {
            Some(set) => self.names.iter().take_while(|name| set.contains(name)).last().cloned(),
            None => row.version.map(str::to_owned),
        }
    }

    fn newest_unknown(&self, row: Applied<'_>) -> Option<String> {
        row.set()?.iter().rfind(|name| !self.knows(name)).cloned()
    }

    fn knows(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

impl<'a> Applied<'a> {
    /// The applied migrations, sorted; `None` if the row has only the version, see
    /// [`tenant::Model::migrations`].
    fn set(&self) -> Option<&'a [String]> {
        let version = self.version?;
        self.migrations.iter().any(|name| name == version).then_some(self.migrations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &str) -> Vec<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    fn compare(
        known: &KnownMigrations,
        version: Option<&str>,
        migrations: &str,
        breaking: &str,
    ) -> Availability {
        let (migrations, breaking) = (names(migrations), names(breaking));
        known.compare(Applied { version, migrations: &migrations, breaking: &breaking })
    }

    #[test]
    fn a_build_serves_schemas_with_all_its_migrations_and_no_unknown_breaking_one() {
        use Availability::{Active, Ahead, Behind};
        let known = KnownMigrations { names: names("m1 m2 m4") };
        for (version, migrations, breaking, availability) in [
            (Some("m4"), "m1 m2 m4", "", Active),
            (Some("m4"), "m1 m2 m4", "m2", Active),
            (Some("m2"), "m1 m2", "", Behind),
            (Some("m1"), "m1", "m1", Behind),
            (None, "", "", Behind),
            // Ahead, by compatible migrations only.
            (Some("m5"), "m1 m2 m4 m5", "", Active),
            (Some("m6"), "m1 m2 m4 m6", "m4", Active),
            (Some("m4"), "m1 m2 m3 m4", "", Active),
            (Some("m3"), "m1 m2 m3 m4", "", Active),
            (Some("m5"), "m1 m2 m4 m5", "m5", Ahead),
            (Some("m6"), "m1 m2 m4 m5 m6", "m5", Ahead),
            // One is missing below what was applied.
            (Some("m5"), "m1 m2 m5", "", Behind),
            (Some("m5"), "m2 m4 m5", "", Behind),
            (Some("m4"), "m1 m4", "", Behind),
            (Some("m4"), "m4", "m4", Behind),
            // Of another branch, without the migrations that come after it here.
            (Some("m3"), "m1 m2 m3", "", Behind),
            (Some("m0"), "m0", "", Behind),
            // Breaking, even if it is old or others are missing.
            (Some("m4"), "m1 m2 m3 m4", "m3", Ahead),
            (Some("m4"), "m1 m2 m3 m4", "m3 m4", Ahead),
            (Some("m1"), "m1 m5", "m5", Ahead),
            (None, "m5", "m5", Ahead),
        ] {
            let found = compare(&known, version, migrations, breaking);
            assert_eq!(found, availability, "{version:?} {migrations:?} {breaking:?}");
        }
    }

    #[test]
    fn a_version_outside_the_set_counts_without_it() {
        let known = KnownMigrations { names: names("m1 m2 m4") };
        for (version, availability) in [
            (Some("m4"), Availability::Active),
            (Some("m5"), Availability::Active),
            (Some("m2"), Availability::Behind),
            (Some("m3"), Availability::Behind),
            (None, Availability::Behind),
        ] {
            assert_eq!(compare(&known, version, "m1", ""), availability, "{version:?}");
            assert_eq!(compare(&known, version, "", ""), availability, "{version:?}");
        }
        // Set back by hand.
        assert_eq!(compare(&known, Some("m2"), "m1 m2 m4", ""), Availability::Behind);
    }

    #[test]
    fn a_build_without_migrations_serves_every_schema_without_breaking_ones() {
        let known = KnownMigrations { names: Vec::new() };
        assert_eq!(compare(&known, None, "", ""), Availability::Active);
        assert_eq!(compare(&known, Some("m1"), "m1", ""), Availability::Active);
        assert_eq!(compare(&known, Some("m1"), "m1", "m1"), Availability::Ahead);
    }

    #[test]
    fn suspended_archived_and_dropped_take_precedence_over_behind_and_ahead() {
        let known = KnownMigrations { names: names("m1") };
        let m2 = names("m2");
        let none = Applied { version: None, migrations: &[], breaking: &[] };
        let two = Applied { version: Some("m2"), migrations: &m2, breaking: &m2 };
        for (status, availability) in [
            (tenant::Status::Suspended, Availability::Suspended),
            (tenant::Status::Archived, Availability::Archived),
            (tenant::Status::Dropping, Availability::Dropped),
            (tenant::Status::Dropped, Availability::Dropped),
        ] {
            for row in [none, two] {
                assert_eq!(known.compatibility_of(status, row), availability.into());
            }
        }
        let ahead = known.compatibility_of(tenant::Status::Active, two);
        let (applied, newest) = (Some("m2".to_owned()), Some("m1".to_owned()));
        let unknown = None;
        assert_eq!(
            ahead,
            Compatibility { availability: Availability::Ahead, applied, newest, unknown }
        );
    }

    #[test]
    fn names_the_missing_and_the_unknown_migrations() {
        let known = KnownMigrations { names: names("m1 m2 m4") };
        let set = names("m1 m2 m5");
        let row = Applied { version: Some("m5"), migrations: &set, breaking: &[] };
        let Compatibility { availability, applied, newest, unknown } =
            known.compatibility_of(tenant::Status::Active, row);
        assert_eq!(availability, Availability::Behind);
        assert_eq!(applied.as_deref(), Some("m2"));
        assert_eq!(newest.as_deref(), Some("m4"));
        assert_eq!(unknown.as_deref(), Some("m5"));
    }
}
