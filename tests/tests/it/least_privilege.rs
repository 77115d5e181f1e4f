//! A role that owns schemas, and a role that serves.

mod command;
mod copies;
mod lives;
mod memberships;
mod served;
mod service;
mod setup;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{Config, Error, NewTenant, OwnerError, Tenancy};
use tenantry_migrate::{
    DynMigrator,
    drift::{VerifyTarget, verify},
    setup::{SetupError, SetupOptions, SetupPlan, apply, plan},
};

use crate::support::{
    TestDb,
    database::{admin, admin_in_thread, connect, server},
};

/// A database with an owner and an application role of its own.
struct Site {
    // Before the roles, which have privileges in it.
    db: TestDb,
    roles: Vec<DropRole>,
}

/// A role that is dropped at the end.
struct DropRole(String);

impl Drop for DropRole {
    fn drop(&mut self) {
        // A second panic would abort all tests.
        if std::thread::panicking() {
            return;
        }
        admin_in_thread(&format!("DROP ROLE IF EXISTS \"{}\"", self.0.replace('"', "\"\"")));
    }
}

impl Site {
    /// A database with a registry, which belongs to the superuser, and no roles yet.
    async fn new() -> Self {
        let db = TestDb::new().await;
        let roles = ["owner", "app"].map(|suffix| DropRole(format!("{}_{suffix}", db.name())));
        Self { db, roles: roles.into() }
    }

    /// Creates another role, with these attributes, that is dropped after the database.
    async fn add_role(&mut self, suffix: &str, attributes: &str) -> String {
        let name = format!("{}_{suffix}", self.db.name());
        admin(&format!("CREATE ROLE {name} {attributes}")).await;
        self.roles.push(DropRole(name.clone()));
        name
    }

    /// The same after the setup, with the registry given to the owner.
    async fn set_up() -> Self {
        let site = Self::new().await;
        let done = site.apply(&taking()).await.unwrap();
        assert!(done.is_empty(), "{done}");
        site
    }

    async fn apply(&self, options: &SetupOptions) -> Result<SetupPlan, SetupError> {
        apply(&self.db.plain().await, &migrator(), options, |_| {}).await
    }

    async fn plan(&self, options: &SetupOptions) -> Result<SetupPlan, SetupError> {
        plan(&self.db.plain().await, &migrator(), options).await
    }

    fn url(&self, role: &str) -> String {
        self.db.url().replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
    }

    fn owner_url(&self) -> String {
        self.url(&self.roles[0].0)
    }

    fn app_url(&self) -> String {
        self.url(&self.roles[1].0)
    }

    async fn app(&self) -> DatabaseConnection {
        connect(&self.app_url()).await
    }

    /// Serving with the application's role, and with the owner's URL.
    async fn with_owner(&self) -> Tenancy {
        Tenancy::connect(&self.config().owner_url(self.owner_url())).await.unwrap()
    }

    /// Serving with the application's role alone.
    async fn without_owner(&self) -> Tenancy {
        Tenancy::connect(&self.config()).await.unwrap()
    }

    fn config(&self) -> Config {
        Config::new(self.app_url(), migration::Migrator)
    }
}

fn migrator() -> DynMigrator {
    DynMigrator::tenant(migration::Migrator)
}

/// Options that give what exists to the owner.
fn taking() -> SetupOptions {
    let mut options = SetupOptions::default();
    options.take_ownership = true;
    options
}

async fn create(tenancy: &Tenancy, name: &str) -> Result<(), Error> {
    tenancy.create(NewTenant::new(name.parse().unwrap())).await.map(drop)
}

/// The SQLSTATE of a statement that is refused.
async fn refused(db: &DatabaseConnection, sql: &str) -> String {
    let Err(error) = db.execute_unprepared(sql).await else { panic!("not refused: {sql}") };
    tenantry_migrate::DbErrorKind::sqlstate(&error).unwrap_or_else(|| panic!("{sql}: {error}"))
}

async fn assert_clean(db: &DatabaseConnection) {
    let found = verify(db, &migrator(), &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
}

fn is_refused(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::Owner(OwnerError::Required { .. })))
}

fn cluster() -> String {
    server().url("postgres")
}
