//! Whether this build and a tenant's schema fit each other.
//!
//! While a release is rolled out, programs of two releases serve one fleet, part of which is
//! migrated. A program serves the tenants that have what it needs: all of its own migrations, and
//! of those it does not know none that is breaking.

use tenantry_migrate::AnyMigrator;
use tenantry_registry::tenant;

use super::access::Access;

/// The migrations of tenants' schemas that this build knows.
#[derive(Debug)]
pub(super) struct Build {
    /// Oldest first.
    names: Vec<String>,
}

/// What a process knows about the use of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) access: Access,
    /// See [`Refused::applied`](super::Refused::applied).
    pub(super) applied: Option<String>,
    /// See [`Refused::newest`](super::Refused::newest).
    pub(super) newest: Option<String>,
    /// See [`Refused::unknown`](super::Refused::unknown).
    pub(super) unknown: Option<String>,
}

/// What the registry's row says about a schema.
#[derive(Debug, Clone, Copy)]
struct Applied<'a> {
    version: Option<&'a str>,
    migrations: &'a [String],
    breaking: &'a [String],
}

impl From<Access> for Standing {
    fn from(access: Access) -> Self {
        Self { access, applied: None, newest: None, unknown: None }
    }
}

impl Build {
    pub(super) fn new(migrator: &AnyMigrator) -> Self {
        Self { names: migrator.names() }
    }

    /// What the registry's row of a tenant means for this build.
    pub(super) fn standing(&self, row: &tenant::Model) -> Standing {
        let (migrations, breaking) = (&row.migrations, &row.breaking);
        let version = row.schema_version.as_deref();
        self.standing_of(row.status, Applied { version, migrations, breaking })
    }

    /// A state that the operator has given a tenant counts before what its schema is.
    fn standing_of(&self, status: tenant::Status, row: Applied<'_>) -> Standing {
        let access = match status.into() {
            Access::Active => self.fit(row),
            other => other,
        };
        let (applied, unknown) = match access {
            Access::Behind => (self.newest_in_order(row), self.newest_unknown(row)),
            Access::Ahead => (row.breaking.iter().rfind(|it| !self.knows(it)).cloned(), None),
            _ => return access.into(),
        };
        Standing { access, applied, newest: self.names.last().cloned(), unknown }
    }

    fn fit(&self, row: Applied<'_>) -> Access {
        if row.breaking.iter().any(|name| !self.knows(name)) {
            // First, since `migration up` of this build would not help.
            return Access::Ahead;
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
        if fits { Access::Active } else { Access::Behind }
    }

    /// The newest applied migration before which none of this build's is missing.
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
    /// The applied migrations, sorted; none where only the version is known, see
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

    fn fit(build: &Build, version: Option<&str>, migrations: &str, breaking: &str) -> Access {
        let (migrations, breaking) = (names(migrations), names(breaking));
        build.fit(Applied { version, migrations: &migrations, breaking: &breaking })
    }

    #[test]
    fn a_build_serves_what_has_its_migrations_and_no_breaking_one_that_it_does_not_know() {
        use Access::{Active, Ahead, Behind};
        let build = Build { names: names("m1 m2 m4") };
        for (version, migrations, breaking, access) in [
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
            // Of another line of development, and lacking what comes after it here.
            (Some("m3"), "m1 m2 m3", "", Behind),
            (Some("m0"), "m0", "", Behind),
            // Breaking, however old it is, and whatever is missing besides.
            (Some("m4"), "m1 m2 m3 m4", "m3", Ahead),
            (Some("m4"), "m1 m2 m3 m4", "m3 m4", Ahead),
            (Some("m1"), "m1 m5", "m5", Ahead),
            (None, "m5", "m5", Ahead),
        ] {
            let found = fit(&build, version, migrations, breaking);
            assert_eq!(found, access, "{version:?} {migrations:?} {breaking:?}");
        }
    }

    #[test]
    fn a_version_that_is_none_of_the_set_is_believed_by_itself() {
        let build = Build { names: names("m1 m2 m4") };
        for (version, access) in [
            (Some("m4"), Access::Active),
            (Some("m5"), Access::Active),
            (Some("m2"), Access::Behind),
            (Some("m3"), Access::Behind),
            (None, Access::Behind),
        ] {
            assert_eq!(fit(&build, version, "m1", ""), access, "{version:?}");
            assert_eq!(fit(&build, version, "", ""), access, "{version:?}");
        }
        // Set back by hand.
        assert_eq!(fit(&build, Some("m2"), "m1 m2 m4", ""), Access::Behind);
    }

    #[test]
    fn a_build_without_migrations_serves_every_schema_but_a_broken_one() {
        let build = Build { names: Vec::new() };
        assert_eq!(fit(&build, None, "", ""), Access::Active);
        assert_eq!(fit(&build, Some("m1"), "m1", ""), Access::Active);
        assert_eq!(fit(&build, Some("m1"), "m1", "m1"), Access::Ahead);
    }

    #[test]
    fn suspended_archived_and_dropped_count_before_behind_and_ahead() {
        let build = Build { names: names("m1") };
        let m2 = names("m2");
        let none = Applied { version: None, migrations: &[], breaking: &[] };
        let two = Applied { version: Some("m2"), migrations: &m2, breaking: &m2 };
        for (status, access) in [
            (tenant::Status::Suspended, Access::Suspended),
            (tenant::Status::Archived, Access::Archived),
            (tenant::Status::Dropping, Access::Dropped),
            (tenant::Status::Dropped, Access::Dropped),
        ] {
            for row in [none, two] {
                assert_eq!(build.standing_of(status, row), access.into());
            }
        }
        let ahead = build.standing_of(tenant::Status::Active, two);
        let (applied, newest) = (Some("m2".to_owned()), Some("m1".to_owned()));
        let unknown = None;
        assert_eq!(ahead, Standing { access: Access::Ahead, applied, newest, unknown });
    }

    #[test]
    fn a_refusal_names_what_is_missing_and_what_this_build_does_not_know() {
        let build = Build { names: names("m1 m2 m4") };
        let set = names("m1 m2 m5");
        let row = Applied { version: Some("m5"), migrations: &set, breaking: &[] };
        let Standing { access, applied, newest, unknown } =
            build.standing_of(tenant::Status::Active, row);
        assert_eq!(access, Access::Behind);
        assert_eq!(applied.as_deref(), Some("m2"));
        assert_eq!(newest.as_deref(), Some("m4"));
        assert_eq!(unknown.as_deref(), Some("m5"));
    }
}
