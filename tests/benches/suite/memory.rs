//! Memory of a server process after it has read the tables of many tenants, with and without
//! recycling.
//!
//! Environment variable: `TENANTS` (10,000).

use std::fmt::Write;

use entity::{guard, shift};
use sea_orm::EntityTrait;
use tenantry::{Config, Tenancy};

use crate::{
    common::page,
    contenders::setup::{Setup, config},
    interleaved::number,
    processes::Memory,
};

pub async fn run() {
    let tenants = number("TENANTS", 10_000);
    let mut setup = Setup::new().await;
    setup.grow(tenants).await;
    let memory = Memory::new(&setup.server).await;
    let mut body = format!(
        "One connection, two statements to each of {tenants} tenants, one tenant after the other; \
         private memory of its server process.\n\n\
         | recycled after | statements kept | at the end | at its most |\n|---|---|---|---|\n"
    );
    for (recycle_after, statement_cache) in
        [(0, 100), (0, 500), (0, 2000), (500, 500), (1000, 500), (2000, 500)]
    {
        let config = config(&setup.server.url("postgres"), "memory", 1);
        let config = Config {
            connection_memory: (recycle_after > 0).then_some(recycle_after),
            statement_cache: Some(statement_cache),
            ..config
        };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let (mut most, mut last) = (0.0_f64, 0.0);
        for tenant in &setup.tenants {
            let handle = tenancy.tenant(&tenant.slug).await.unwrap();
            guard::Entity::find().one(&handle).await.unwrap();
            shift::Entity::find().one(&handle).await.unwrap();
            if tenant.number % 100 == 99 {
                last = memory.of("memory").await;
                most = most.max(last);
            }
        }
        tenancy.close().await;
        let recycled = match recycle_after {
            0 => "never".to_owned(),
            tenants => format!("{tenants} tenants"),
        };
        writeln!(body, "| {recycled} | {statement_cache} | {last:.0} MiB | {most:.0} MiB |")
            .unwrap();
    }
    memory.close().await;
    page::write("memory", "Memory of one server process", setup.server.version(), &body);
    setup.stop().await;
}
