//! Finds what is half done or stray in the registry and the schemas of tenants.

mod checks;
mod finding;
mod fix;

use std::time::Duration;

use serde::Serialize;

pub use finding::{Finding, FindingKind, Remedy};

use super::{Error, Tenancy};

/// Most findings of one kind of a [`Diagnosis`].
const MAX_FINDINGS: u64 = 500;

/// Options of [`Tenancy::doctor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorOptions {
    /// A drop that was started less long ago may be in progress, and is not reported. The default is one
    /// minute.
    pub min_age: Duration,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self { min_age: Duration::from_secs(60) }
    }
}

/// The result of [`Tenancy::doctor`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether that is all. At most 500 findings of one kind are listed.
    pub complete: bool,
}

/// A finding that [`Tenancy::fix`] was to fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fixed {
    /// The finding.
    pub finding: Finding,
    /// Why it could not be fixed.
    pub error: Option<String>,
}

impl Tenancy {
    /// Looks for what is half done or stray: drops and creations that were interrupted, schemas
    /// without a tenant and tenants without a schema, invalid indexes, tenants that are behind or
    /// newer than this program, and so on. Changes nothing.
    ///
    /// Every check is one query; none reads a tenant's rows. Differences between a schema and its
    /// migrations are found by [`verify`](fn@tenantry_migrate::drift::verify).
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// let diagnosis = tenancy.doctor(&Default::default()).await?;
    /// for finding in &diagnosis.findings {
    ///     println!("{}", finding.message);
    /// }
    /// tenancy.fix(&diagnosis).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn doctor(&self, options: &DoctorOptions) -> Result<Diagnosis, Error> {
        let mut all = Diagnosis { findings: Vec::new(), complete: true };
        for found in [
            self.unfinished_drops(options.min_age).await?,
            self.missing_schemas().await?,
            self.unregistered_schemas().await?,
            self.versions().await?,
            self.invalid_indexes().await?,
            self.missing_rights().await?,
            self.stray_rows().await?,
            self.expired_archives().await?,
        ] {
            all.complete &= (found.len() as u64) < MAX_FINDINGS;
            all.findings.extend(found);
        }
        Ok(all)
    }

    /// Applies the [safe](Remedy::is_safe) remedies of a diagnosis, one after another, each after
    /// checking again that it is needed. Returns what was fixed and what could not be; the other
    /// findings are left to a person.
    pub async fn fix(&self, diagnosis: &Diagnosis) -> Vec<Fixed> {
        let mut fixed = Vec::new();
        for finding in diagnosis.findings.iter().filter(|it| it.remedy.is_safe()) {
            let error = self.apply(&finding.remedy).await.err().map(|error| error.to_string());
            fixed.push(Fixed { finding: finding.clone(), error });
        }
        fixed
    }
}
