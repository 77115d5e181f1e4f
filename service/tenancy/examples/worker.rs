//! A worker: takes jobs from a shared table, and does each in the tables of its tenant, in one
//! transaction. Any number of workers may run. Ends when no job is waiting.
//!
//! ```sh
//! cargo run --package tenantry --example worker
//! ```

use std::error::Error as StdError;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Set, TransactionTrait,
    sea_query::{LockBehavior, LockType},
};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::{
    Config, Error, NewTenant, SharedTransaction, Tenancy, TenantScope, TenantTransaction,
};
use tenantry_migrate::{SharedMigrator, TenantMigrator};
use uuid::Uuid;

mod database;

/// `shared.jobs`: one table for the jobs of all tenants.
pub(crate) mod job {
    use sea_orm::entity::prelude::*;
    use tenantry::TenantId;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "shared", table_name = "jobs")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub tenant_id: TenantId,
        pub recipient: String,
        /// `waiting`, `done` or `failed`.
        pub state: String,
        pub error: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `letters` of each tenant.
pub(crate) mod letter {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "letters")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub recipient: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Adds a job to the queue. In a transaction of the tenant, it exists if that commits.
pub(crate) async fn enqueue(
    tenant: &impl TenantScope,
    recipient: &str,
) -> Result<job::Model, DbErr> {
    let job = job::ActiveModel {
        id: Set(Uuid::now_v7()),
        tenant_id: Set(tenant.tenant_id()),
        recipient: Set(recipient.to_owned()),
        state: Set("waiting".to_owned()),
        error: Set(None),
    };
    job.insert(tenant).await
}

/// Numbers of jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Worked {
    pub(crate) done: u32,
    pub(crate) failed: u32,
}

/// Works until no job is waiting that another worker has not taken.
pub(crate) async fn work(tenancy: &Tenancy) -> Result<Worked, Error> {
    let mut worked = Worked::default();
    while let Some(done) = work_once(tenancy).await? {
        match done {
            true => worked.done += 1,
            false => worked.failed += 1,
        }
    }
    Ok(worked)
}

/// Takes one job. Returns whether it was done; nothing if none is waiting.
async fn work_once(tenancy: &Tenancy) -> Result<Option<bool>, Error> {
    let txn = tenancy.shared().begin().await?;
    // Other workers skip the row until this transaction ends. If this process dies, it waits again.
    let next = job::Entity::find()
        .filter(job::Column::State.eq("waiting"))
        .order_by_asc(job::Column::Id)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    let Some(job) = next.one(&txn).await? else { return Ok(None) };
    let result = in_tenant(tenancy, &txn, &job).await;
    let mut job = job.into_active_model();
    job.state = Set(if result.is_ok() { "done" } else { "failed" }.to_owned());
    job.error = Set(result.as_ref().err().map(ToString::to_string));
    job.update(&txn).await?;
    txn.commit().await?;
    Ok(Some(result.is_ok()))
}

/// Does a job in the tables of its tenant. If it fails, the tenant's part alone is rolled back.
async fn in_tenant(
    tenancy: &Tenancy,
    txn: &SharedTransaction,
    job: &job::Model,
) -> Result<(), Error> {
    let tenant = tenancy.tenant_by_id(job.tenant_id).await?;
    let work = txn.for_tenant(&tenant).await?;
    write_letter(&work, job).await?;
    Ok(work.commit().await?)
}

async fn write_letter(work: &TenantTransaction, job: &job::Model) -> Result<(), DbErr> {
    let letter = letter::ActiveModel { id: Set(job.id), recipient: Set(job.recipient.clone()) };
    letter.insert(work).await?;
    match job.recipient.contains('@') {
        true => Ok(()),
        false => Err(DbErr::Custom(format!("{:?} is not an address", job.recipient))),
    }
}

/// The migrations of tenants, with those of the shared tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateLetters)]
    }
}

impl TenantMigrator for Migrator {
    fn shared(&self) -> Option<SharedMigrator> {
        Some(SharedMigrator::new(Shared))
    }
}

struct Shared;

impl MigratorTraitSelf for Shared {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateJobs)]
    }
}

struct CreateJobs;

impl MigrationName for CreateJobs {
    fn name(&self) -> &str {
        "m20261129_000001_create_jobs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateJobs {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Without a foreign key: a queue is written all the time.
        let table = Table::create()
            .table("jobs")
            .col(ColumnDef::new("id").uuid().not_null())
            .col(ColumnDef::new("tenant_id").uuid().not_null())
            .col(ColumnDef::new("recipient").text().not_null())
            .col(ColumnDef::new("state").text().not_null())
            .col(ColumnDef::new("error").text())
            .primary_key(Index::create().name("jobs_pkey").col("id"))
            .to_owned();
        manager.create_table(table).await?;
        let waiting = Index::create()
            .name("jobs_waiting_idx")
            .table("jobs")
            .col("id")
            .and_where(Expr::cust("state = 'waiting'"))
            .to_owned();
        manager.create_index(waiting).await
    }
}

struct CreateLetters;

impl MigrationName for CreateLetters {
    fn name(&self) -> &str {
        "m20261129_000001_create_letters"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateLetters {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("letters")
            .col(ColumnDef::new("id").uuid().not_null())
            .col(ColumnDef::new("recipient").text().not_null())
            .primary_key(Index::create().name("letters_pkey").col("id"))
            .to_owned();
        manager.create_table(table).await
    }
}

/// Connects, after everything is migrated.
pub(crate) async fn connect(url: &str) -> Result<Tenancy, Error> {
    let config = Config::new(url, Migrator);
    Tenancy::migrate_all(&config).await?;
    Tenancy::connect(&config).await
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the result of the example")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let (url, _server) = database::locate()?;
    let tenancy = connect(&url).await?;
    let slug = "acme".parse()?;
    if let Err(Error::UnknownTenant(slug)) = tenancy.tenant(&slug).await {
        tenancy.create(NewTenant::new(slug)).await?;
    }
    let txn = tenancy.tenant(&slug).await?.begin().await?;
    for recipient in ["abu@example.org", "abu", "jasmine@example.org"] {
        enqueue(&txn, recipient).await?;
    }
    txn.commit().await?;
    let Worked { done, failed } = work(&tenancy).await?;
    println!("{done} jobs done, {failed} failed");
    Ok(())
}
