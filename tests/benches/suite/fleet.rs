//! Creations and fleet runs, compared with the limit: the same statements as one prepared batch per
//! tenant, sent by raw clients. Writes its section of `docs/BENCHMARKS.md`.
//!
//! Environment variable: `TENANTS` (10,000).

mod command;
mod migrators;
mod raw;

use std::{
    fmt::Write,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use crate::common::{median, page, pool, quantile, rate, server, stop};
use local_postgres::Server;
use migrators::Public;
use raw::Raw;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Event, FleetOptions, TenantMigrator, TenantSelection, Timeouts, run_fleet,
};

const ROUNDS: usize = 9;
/// Connections of a fleet run and of the limit.
const JOBS: usize = 8;

pub async fn run() {
    let tenants = std::env::var("TENANTS").map_or(10_000, |number| number.parse().unwrap());
    let server = server().await;
    let mut body = String::from(
        "The limit is the same work – registry row, schema, tables, rows, records – as one batch per \
         tenant, prepared in advance and sent by raw clients over as many connections. The \
         reads of migrations are not part of it.\n\n\
         | work | limit | ours | ratio | goal |\n|---|---|---|---|---|\n",
    );
    let mut made = 0;
    for connections in [1, 8] {
        let name = format!("create a tenant, {connections} at a time");
        let migrator = migration::Migrator;
        body += &provisioning(&server, migrator, &name, (connections, 48), &mut made).await;
    }
    body += &public().await;
    let raw = Arc::new(Raw::new(&server, JOBS, migration::Migrator).await);
    rate(JOBS, (tenants - made) / JOBS, |number| Raw::provision(raw.clone(), made + number)).await;
    // Before there are columns that the command does not know.
    let commands = command::table(&server);
    body += &add_column(&server, &raw, tenants).await;
    body += &spares(&server).await;
    writeln!(body, "\nThe `migration` command, whole processes, {tenants} tenants:\n").unwrap();
    body += &commands;
    raw.close().await;
    page::write("fleet", "Provisioning and fleet runs", server.version(), &body);
    stop(server).await;
}

/// The same with migrations as in public projects.
async fn public() -> String {
    let server = server().await;
    let (mut rows, mut made) = (String::new(), 0);
    for (migrations, tenants) in [(25, 24), (143, 8)] {
        let name = format!("the same, {migrations} migrations that read and insert");
        let migrator = Public(migrations);
        rows += &provisioning(&server, migrator, &name, (1, tenants), &mut made).await;
    }
    stop(server).await;
    rows
}

/// Creations per second, by `Tenancy::create` and by the limit, in alternating rounds.
async fn provisioning<M: TenantMigrator + Copy + 'static>(
    server: &Server,
    migrator: M,
    name: &str,
    (connections, tenants): (usize, usize),
    made: &mut usize,
) -> String {
    let each = tenants / connections;
    let tenancy = tenancy(server, migrator, connections, 0).await;
    let raw = Arc::new(Raw::new(server, connections, migrator).await);
    let (mut limit, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let first = *made;
        limit.push(rate(connections, each, |n| Raw::provision(raw.clone(), first + n)).await);
        let first = first + connections * each;
        ours.push(rate(connections, each, |n| create(tenancy.clone(), first + n)).await);
        *made = first + connections * each;
        ratios.push(ours[ours.len() - 1] / limit[limit.len() - 1]);
    }
    tenancy.close().await;
    raw.close().await;
    row(name, median(&limit), median(&ours), median(&ratios), "≥ 0.8")
}

fn row(name: &str, limit: f64, ours: f64, ratio: f64, goal: &str) -> String {
    format!("| {name} | {limit:.0}/s | {ours:.0}/s | {ratio:.2} | {goal} |\n")
}

async fn tenancy(
    server: &Server,
    migrator: impl TenantMigrator + 'static,
    connections: usize,
    spares: u32,
) -> Tenancy {
    let config = Config::new(server.url("postgres"), migrator);
    let max_connections = connections as u32;
    // Creations may use all connections, as the limit does.
    let (tenant_share, reserved_connections) = (100, 0);
    let config = Config { max_connections, tenant_share, reserved_connections, spares, ..config };
    Tenancy::connect(&config).await.unwrap()
}

fn create(tenancy: Tenancy, number: usize) -> impl Future<Output = ()> + Send + 'static {
    let slug = raw::slug(number).parse().unwrap();
    async move {
        tenancy.create(NewTenant::new(slug)).await.unwrap();
    }
}

/// Adds a column to all tenants, by a fleet run and by the limit, alternately.
async fn add_column(server: &Server, raw: &Arc<Raw>, tenants: usize) -> String {
    let db = pool(server, JOBS as u32).await;
    let (mut limit, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let schemas = raw.schemas().await;
        assert_eq!(schemas.len(), tenants);
        let column = Columns::name(2 * round);
        let each = tenants.div_ceil(JOBS);
        let work = |n| Raw::add_column(raw.clone(), schemas.get(n).cloned(), column.clone());
        limit.push(rate(JOBS, each, work).await);
        let started = Instant::now();
        let migrator = DynMigrator::new(Columns(2 * round + 2));
        let fleet = FleetOptions {
            jobs: JOBS,
            timeouts: Timeouts { lock: Some(Duration::from_secs(2)), ..Timeouts::default() },
            max_attempts: 3,
            outage_timeout: Duration::ZERO,
            max_failures: Some(tenantry_migrate::FailureLimit::Number(1)),
            canary: None,
        };
        let (action, stop) = (Action::Up(None), AtomicBool::new(false));
        let progress = |_: &Event<'_>| {};
        let run =
            run_fleet(&db, &migrator, &TenantSelection::All, &action, &fleet, &stop, progress)
                .await;
        assert_eq!(run.unwrap().done, tenants);
        ours.push(tenants as f64 / started.elapsed().as_secs_f64());
        ratios.push(ours[round] / limit[round]);
    }
    db.close().await.unwrap();
    let name = format!("`up --all`, `ADD COLUMN` for {tenants} tenants, {JOBS} at a time");
    row(&name, median(&limit), median(&ours), median(&ratios), "≥ 0.6")
}

/// This workspace's migrations and a number of columns.
#[derive(Clone, Copy)]
struct Columns(usize);

struct Column(String);

impl Columns {
    fn name(number: usize) -> String {
        format!("m99999999_{number:06}_column")
    }
}

impl MigrationName for Column {
    fn name(&self) -> &str {
        &self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Column {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new(self.0.clone()).text().take();
        manager.alter_table(Table::alter().table("guards").add_column(column).take()).await
    }
}

impl MigratorTraitSelf for Columns {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = migration::Migrator.migrations();
        for number in 0..self.0 {
            migrations.push(Box::new(Column(Self::name(number))));
        }
        migrations
    }
}

/// The time to create a tenant of a spare, in sequence and on an otherwise idle server.
async fn spares(server: &Server) -> String {
    const SPARES: usize = 200;
    let making = tenancy(server, migration::Migrator, 2, SPARES as u32).await;
    let db = pool(server, 1).await;
    while raw::count(&db, "\"status\" = 'spare'").await < SPARES {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    making.close().await;
    db.close().await.unwrap();
    // With a lower target no new ones are created meanwhile.
    let taking = tenancy(server, migration::Migrator, 2, 1).await;
    let mut took = Vec::new();
    for number in 0..SPARES - 1 {
        let started = Instant::now();
        create(taking.clone(), 1_000_000 + number).await;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    taking.close().await;
    let below = took.iter().filter(|ms| **ms < 5.0).count() as f64 / took.len() as f64;
    format!(
        "| create a tenant from a spare | | p50 {:.1} ms, p99 {:.1} ms | {below:.2} under 5 ms | ≥ 0.9 |\n",
        median(&took),
        quantile(&took, 0.99),
    )
}
