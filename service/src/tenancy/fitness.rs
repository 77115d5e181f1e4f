//! Whether this build and a tenant's schema fit each other.
//!
//! While a release is rolled out, programs of two releases serve one fleet, part of which is
//! migrated. A program serves the tenants that have what it needs: all of its own migrations, and
//! of those it does not know none that is breaking.

use entity::registry::tenant;
use migration::AnyMigrator;

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
}

impl From<Access> for Standing {
    fn from(access: Access) -> Self {
        Self { access, applied: None, newest: None }
    }
}

impl Build {
    pub(super) fn new(migrator: &AnyMigrator) -> Self {
        Self { names: migrator.names() }
    }

    /// What the registry's row of a tenant means for this build.
    pub(super) fn standing_of(&self, row: &tenant::Model) -> Standing {
        self.standing(row.status, row.schema_version.clone(), row.contract_version.clone())
    }

    /// A state that the operator has given the tenant counts before what its schema is.
    fn standing(
        &self,
        status: tenant::Status,
        version: Option<String>,
        contract: Option<String>,
    ) -> Standing {
        let access = match status.into() {
            Access::Active => self.fit(version.as_deref(), contract.as_deref()),
            other => other,
        };
        let applied = match access {
            Access::Behind => version,
            Access::Ahead => contract,
            _ => return access.into(),
        };
        Standing { access, applied, newest: self.names.last().cloned() }
    }

    /// `version` is the newest applied migration before which none is missing, `contract` the
    /// newest applied one that is breaking.
    fn fit(&self, version: Option<&str>, contract: Option<&str>) -> Access {
        let unknown = |name: &str| !self.names.iter().any(|known| known == name);
        let newest = self.names.last().map(String::as_str);
        if contract.is_some_and(unknown) {
            // First, since `migration up` of this build would not help.
            Access::Ahead
        } else if version == newest || version.is_some_and(unknown) && version > newest {
            Access::Active
        } else {
            Access::Behind
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_serves_what_has_its_migrations_and_no_breaking_one_that_it_does_not_know() {
        use Access::{Active, Ahead, Behind};
        let build = Build { names: ["m1", "m2", "m4"].map(str::to_owned).to_vec() };
        for (version, contract, access) in [
            (Some("m4"), None, Active),
            (Some("m4"), Some("m2"), Active),
            (Some("m2"), None, Behind),
            (Some("m1"), Some("m1"), Behind),
            (None, None, Behind),
            // Ahead, by compatible migrations only.
            (Some("m5"), None, Active),
            (Some("m6"), Some("m4"), Active),
            (Some("m5"), Some("m5"), Ahead),
            (Some("m6"), Some("m5"), Ahead),
            // Of another line of development, and lacking what comes after it here.
            (Some("m3"), None, Behind),
            (Some("m0"), None, Behind),
            // Breaking, however old it is, and whatever is missing besides.
            (Some("m4"), Some("m3"), Ahead),
            (Some("m1"), Some("m5"), Ahead),
            (None, Some("m5"), Ahead),
        ] {
            assert_eq!(build.fit(version, contract), access, "{version:?} {contract:?}");
        }
    }

    #[test]
    fn a_build_without_migrations_serves_every_schema_but_a_broken_one() {
        let build = Build { names: Vec::new() };
        assert_eq!(build.fit(None, None), Access::Active);
        assert_eq!(build.fit(Some("m1"), None), Access::Active);
        assert_eq!(build.fit(Some("m1"), Some("m1")), Access::Ahead);
    }

    #[test]
    fn suspended_archived_and_dropped_count_before_behind_and_ahead() {
        let build = Build { names: vec!["m1".to_owned()] };
        let m2 = || Some("m2".to_owned());
        for (status, access) in [
            (tenant::Status::Suspended, Access::Suspended),
            (tenant::Status::Archived, Access::Archived),
            (tenant::Status::Dropping, Access::Dropped),
        ] {
            assert_eq!(build.standing(status, None, None), access.into());
            assert_eq!(build.standing(status, m2(), m2()), access.into());
        }
        let ahead = build.standing(tenant::Status::Active, m2(), m2());
        let newest = Some("m1".to_owned());
        assert_eq!(ahead, Standing { access: Access::Ahead, applied: m2(), newest });
    }
}
