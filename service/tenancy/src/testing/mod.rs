//! Tests of applications: a database for each test, and tenants without a database.
//!
//! [`TestTenancy`] needs PostgreSQL's programs on the machine, or a server that `DATABASE_URL`
//! names. [`MockTenant`] needs neither.

mod admin;
mod mock;
mod server;
mod template;

use std::ops::Deref;

use tenantry_migrate::TenantMigrator;
use tenantry_registry::Slug;

use super::{Config, Error, NewTenant, Tenancy, Tenant};
use server::TestServer;
use template::Template;

pub use mock::MockTenant;

/// Any error, for the message of a failed test.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A [`Tenancy`] on a database of its own, for one test.
///
/// The database is a copy of a template, which takes tens of milliseconds. The template has the
/// registry and two schemas that are ready for tenants, so that the migrations run once, and not
/// for each tenant. A test binary that was compiled again makes a new template, and so do other
/// migrations.
///
/// The server is that of `DATABASE_URL`, whose user must be allowed to create databases; or else a
/// local one in memory, which the first test starts, all tests of the machine's user share, and
/// which ends ten seconds after the last one. So it makes no difference whether the tests are
/// threads (`cargo test`) or processes (`cargo nextest`).
///
/// The database is dropped with this value, also when the test panics. Those of processes that were
/// killed are dropped by the next run.
///
/// ```no_run
/// # use tenantry_migrate::TenantMigrator;
/// # async fn count(_: &impl tenantry::TenantScope) -> Result<u64, sea_orm::DbErr> { Ok(0) }
/// # async fn example(migrator: impl TenantMigrator + 'static) {
/// use tenantry::testing::TestTenancy;
///
/// // #[tokio::test]
/// // async fn a_new_tenant_has_no_books() {
/// let test = TestTenancy::new(migrator).await;
/// let acme = test.tenant("acme").await;
/// assert_eq!(count(&acme).await, Ok(0));
/// // }
/// # }
/// ```
///
/// It dereferences to the [`Tenancy`]. Its functions fail by panicking, as tests do.
#[derive(Debug)]
pub struct TestTenancy {
    // Dropped in this order.
    tenancy: Tenancy,
    config: Config,
    _database: TestDatabase,
}

/// A database that is dropped with this.
#[derive(Debug)]
struct TestDatabase {
    server: &'static TestServer,
    name: String,
}

impl TestTenancy {
    /// A tenancy without tenants.
    ///
    /// # Panics
    /// If there is no server, or if a migration fails.
    pub async fn new<M: TenantMigrator + 'static>(migrator: M) -> Self {
        Self::with_config(migrator, |config| config).await
    }

    /// A tenancy with another configuration, such as a seed or a base domain.
    ///
    /// ```no_run
    /// # use sea_orm::DbErr;
    /// # async fn first_book(_: &tenantry::TenantTransaction) -> Result<(), DbErr> { Ok(()) }
    /// # async fn example(migrator: impl tenantry_migrate::TenantMigrator + 'static) {
    /// use tenantry::{Config, testing::TestTenancy};
    ///
    /// let test = TestTenancy::with_config(migrator, |config| Config {
    ///     base_domain: "example.com".to_owned(),
    ///     ..config.seed(first_book)
    /// })
    /// .await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub async fn with_config<M: TenantMigrator + 'static>(
        migrator: M,
        change: impl FnOnce(Config) -> Config,
    ) -> Self {
        let opened = Self::open(migrator, change).await;
        opened.unwrap_or_else(|error| panic!("no database for the test: {error}"))
    }

    async fn open<M: TenantMigrator + 'static>(
        migrator: M,
        change: impl FnOnce(Config) -> Config,
    ) -> Result<Self, Failure> {
        // Blocks on processes and files.
        let server = tokio::task::spawn_blocking(TestServer::get).await??;
        let number = server.next_number();
        let name = server.database_name(number);
        let options = tenantry_migrate::connect::options(&server.url(&name)?)?;
        let config = change(Config::new(options, migrator));
        let template = Template::new::<M>(&config)?;
        let has_spares = server.create_database(template, number).await?;
        let database = TestDatabase { server, name };
        let tenancy = Tenancy::connect(&config).await?;
        if has_spares {
            tenancy.inner.spares.set_prepared();
        }
        Ok(Self { tenancy, config, _database: database })
    }

    /// The handle of a tenant, which is created if it does not exist.
    ///
    /// # Panics
    /// If the slug is not valid, if a migration or the seed fails, or if the tenant is not
    /// available.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        let found = self.find_or_create(slug).await;
        found.unwrap_or_else(|error| panic!("no tenant {slug:?}: {error}"))
    }

    async fn find_or_create(&self, slug: &str) -> Result<Tenant, Error> {
        let slug: Slug = slug.parse()?;
        match self.tenancy.tenant(&slug).await {
            Err(Error::UnknownTenant(_)) => {}
            found => return found,
        }
        match self.tenancy.create(NewTenant::new(slug.clone())).await {
            // By another task of the test.
            Ok(_) | Err(Error::SlugTaken(_)) => self.tenancy.tenant(&slug).await,
            Err(error) => Err(error),
        }
    }

    /// The tenancy. [`Tenancy::tenant`] is hidden by [`TestTenancy::tenant`] otherwise.
    #[must_use]
    pub fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    /// The configuration of the tenancy, for a second one on the same database.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The URL of the database, for a child process or another client.
    #[must_use]
    pub fn url(&self) -> &str {
        self.config.connect_options.get_url()
    }
}

impl Deref for TestTenancy {
    type Target = Tenancy;

    fn deref(&self) -> &Tenancy {
        &self.tenancy
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.server.drop_database(&self.name);
    }
}
