//! Tenants whose rows have the tenant's name, and clients that read and write them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use entity::guard::{self, Column};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, Set, Statement, TransactionTrait, sea_query::Expr,
};
use tenantry::{Config, DbErrorKind, NewTenant, Tenancy, Tenant};
use tokio::{task::JoinSet, time::sleep};

use crate::support::{TestDb, route::Route, slug};

/// Clients of each server.
const CLIENTS: usize = 6;

/// The rows that every tenant keeps.
const ROWS: u64 = 3;

/// How long the load may take to succeed again after a fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Answers {
    pub right: usize,
    /// Rows of another tenant.
    pub foreign: Vec<String>,
    pub failed: Vec<String>,
}

/// Servers, each with a pool, on one database.
pub struct Load {
    pub servers: Vec<Tenancy>,
    pub tenants: usize,
    pub db: TestDb,
}

/// Why an operation has not done what it should.
enum Fault {
    Foreign(String),
    Failed(DbErr),
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Failed(error)
    }
}

impl Load {
    /// This many servers behind the route.
    pub async fn new(
        db: TestDb,
        route: &Route,
        servers: usize,
        tenants: usize,
        change: impl Fn(Config) -> Config,
    ) -> Self {
        let direct = db.tenancy().await;
        for number in 0..tenants {
            let name = format!("tenant-{number}");
            direct.create(NewTenant::new(slug(&name))).await.unwrap();
            let tenant = direct.tenant(&slug(&name)).await.unwrap();
            for _ in 0..ROWS {
                row(&tenant).insert(&tenant).await.unwrap();
            }
        }
        direct.close().await;
        let mut opened = Vec::new();
        for _ in 0..servers {
            opened.push(Tenancy::connect(&change(route.config(&db))).await.unwrap());
        }
        Self { servers: opened, tenants, db }
    }

    /// Runs the clients while `meanwhile` does.
    pub async fn during(&self, meanwhile: impl Future<Output = ()>) -> Answers {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for server in &self.servers {
            for client in 0..CLIENTS {
                let (server, over, tenants) = (server.clone(), Arc::clone(&over), self.tenants);
                clients.spawn(async move {
                    let mut answers = Answers::default();
                    let mut number = client;
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        let name = format!("tenant-{}", number % tenants);
                        answers.add(once(&server, &name, number / tenants).await);
                    }
                    answers
                });
            }
        }
        meanwhile.await;
        over.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        while let Some(answers) = clients.join_next().await {
            let Answers { right, foreign, failed } = answers.unwrap();
            all.right += right;
            all.foreign.extend(foreign);
            all.failed.extend(failed);
        }
        all
    }

    /// Asserts that every server serves every tenant within a bounded time, and that each tenant has
    /// its own rows only.
    pub async fn assert_recovered(&self) {
        let started = Instant::now();
        for server in &self.servers {
            for number in 0..self.tenants {
                let name = format!("tenant-{number}");
                for kind in 0..KINDS {
                    loop {
                        match once(server, &name, kind).await {
                            Ok(()) => break,
                            Err(Fault::Failed(_)) if started.elapsed() < PATIENCE => {
                                sleep(Duration::from_millis(50)).await;
                            }
                            Err(fault) => panic!("{fault:?}"),
                        }
                    }
                }
            }
        }
        let plain = self.db.plain().await;
        for number in 0..self.tenants {
            let sql = format!(
                "SELECT count(*) FROM tenant_{number}.guards WHERE name <> 'tenant-{number}'"
            );
            let row = plain.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
            let foreign: i64 = row.unwrap().unwrap().try_get_by_index(0).unwrap();
            assert_eq!(foreign, 0, "rows of others in tenant_{number}");
        }
    }

    pub async fn close(self) {
        for server in &self.servers {
            server.close().await;
        }
    }
}

impl Answers {
    fn add(&mut self, answer: Result<(), Fault>) {
        match answer {
            Ok(()) => self.right += 1,
            Err(Fault::Foreign(text)) => self.foreign.push(text),
            Err(Fault::Failed(error)) => self.failed.push(error.to_string()),
        }
    }

    /// Asserts that there were many answers and none of another tenant, and prints them.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "shown with --nocapture")]
    pub fn assert_own(&self, what: &str) {
        println!("{what}: {} right, {} failed", self.right, self.failed.len());
        assert!(self.foreign.is_empty(), "{what}: {} {:?}", self.foreign.len(), self.foreign);
        assert!(self.right > 20, "{what}: little was tried: {self:?}");
    }

    #[track_caller]
    pub fn assert_none_failed(&self, what: &str) {
        assert!(self.failed.is_empty(), "{what}: {} {:?}", self.failed.len(), self.failed.first());
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(text) => write!(f, "foreign: {text}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// Number of different operations.
const KINDS: usize = 8;

fn row(tenant: &Tenant) -> guard::ActiveModel {
    let name = Set(tenant.slug().to_string());
    guard::ActiveModel { name, position: Set("Gate".to_owned()), ..Default::default() }
}

/// One operation of a tenant. A transaction that a migration has overtaken is repeated.
async fn once(server: &Tenancy, name: &str, kind: usize) -> Result<(), Fault> {
    let tenant = server.tenant(&slug(name)).await.map_err(|error| {
        Fault::Failed(DbErr::Custom(format!("{name} is not resolved: {error}")))
    })?;
    for _ in 0..10 {
        match operation(&tenant, kind % KINDS).await {
            Err(Fault::Failed(error)) if DbErrorKind::of(&error) == DbErrorKind::StaleStatement => {
            }
            answer => return answer,
        }
    }
    Err(DbErr::Custom("ten times a stale statement".to_owned()).into())
}

async fn operation(tenant: &Tenant, kind: usize) -> Result<(), Fault> {
    let own = |guards: &[guard::Model]| match guards
        .iter()
        .find(|one| one.name != tenant.slug().as_str())
    {
        Some(foreign) => Err(Fault::Foreign(format!("{} in {}", foreign.name, tenant.slug()))),
        None => Ok(()),
    };
    match kind {
        0 => own(&guard::Entity::find().all(tenant).await?),
        1 => {
            let count = guard::Entity::find()
                .filter(Column::Name.ne(tenant.slug().as_str()))
                .count(tenant)
                .await?;
            if count > 0 {
                return Err(Fault::Foreign(format!("{count} counted in {}", tenant.slug())));
            }
            Ok(())
        }
        2 => {
            let new = row(tenant).insert(tenant).await?;
            own(std::slice::from_ref(&new))?;
            let deleted = guard::Entity::delete_by_id(new.id).exec(tenant).await?;
            missing(tenant, deleted.rows_affected)
        }
        3 => {
            let txn = tenant.begin().await?;
            let new = row(tenant).insert(&txn).await?;
            own(&guard::Entity::find().all(&txn).await?)?;
            let deleted = guard::Entity::delete_by_id(new.id).exec(&txn).await?;
            txn.commit().await?;
            missing(tenant, deleted.rows_affected)
        }
        4 => {
            let changed = guard::Entity::update_many()
                .col_expr(Column::Position, Expr::value("Gate"))
                .filter(Column::Name.eq(tenant.slug().as_str()))
                .exec_with_returning(tenant)
                .await?;
            missing(tenant, (changed.len() as u64).min(1))?;
            own(&changed)
        }
        5 => {
            let txn = tenant.begin_with_search_path().await?;
            let sql = "SELECT DISTINCT name FROM guards";
            let found = named(tenant, &txn, sql).await;
            txn.commit().await?;
            found
        }
        _ => {
            let sql = format!(r#"SELECT DISTINCT name FROM "@tenant"."guards" WHERE {kind} > 0"#);
            named(tenant, tenant, &sql).await
        }
    }
}

/// The row that this client has just stored is missing: the statement found another tenant's table.
fn missing(tenant: &Tenant, affected: u64) -> Result<(), Fault> {
    if affected == 1 {
        return Ok(());
    }
    Err(Fault::Foreign(format!("a row of {} is missing", tenant.slug())))
}

/// Asserts that a query finds the tenant's name.
async fn named(tenant: &Tenant, db: &impl ConnectionTrait, sql: &str) -> Result<(), Fault> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let names: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get_by_index(0)).collect();
    let names = names?;
    if names != [tenant.slug().as_str()] {
        return Err(Fault::Foreign(format!("{names:?} in {}", tenant.slug())));
    }
    Ok(())
}
