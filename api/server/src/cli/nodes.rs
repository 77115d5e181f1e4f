//! `nodes` and `tenant move`: the nodes of a Citus cluster.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Args;
use indicatif::HumanBytes;
use local_postgres::Access;
use tenantry::{NodeInfo, Slug, Tenancy};
use tenantry_migrate::cli::{
    table,
    terminal::{bytes_bar, print_json, show_progress},
};

use super::{
    args::Output,
    connect::{Connector, user},
    error::Error,
    options::TenancyArgs,
};

/// Options of `nodes`.
#[derive(Debug, Args)]
pub struct NodesArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) tenancy: TenancyArgs,
}

pub(super) async fn run(args: NodesArgs, connector: Connector) -> Result<ExitCode, Error> {
    let options = TenancyArgs { spares: 0, ..args.tenancy.clone() };
    let connected = connector.connect(&options, Access::Shared, user()).await?;
    let nodes = connected.tenancy.nodes().await;
    connected.tenancy.close().await;
    let nodes = nodes?;
    match args.json {
        true => print_json(&nodes)?,
        false => writeln!(io::stdout(), "{}", shown(&nodes))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(nodes: &[NodeInfo]) -> String {
    let rows = nodes.iter().map(|node| {
        let kind = match (node.coordinator, node.takes_tenants) {
            (true, true) => "coordinator, takes tenants",
            (true, false) => "coordinator",
            (false, true) => "takes tenants",
            (false, false) => "takes no tenants",
        };
        vec![
            node.address.to_string(),
            kind.to_owned(),
            node.tenants.to_string(),
            node.bytes.map(|bytes| HumanBytes(bytes).to_string()).unwrap_or_default(),
            node.busy.map(|busy| busy.to_string()).unwrap_or_default(),
        ]
    });
    table(vec!["NODE", "KIND", "TENANTS", "SIZE", "BUSY"], rows)
}

/// Moves a tenant. The bar is shown on a terminal.
pub(super) async fn move_tenant(
    tenancy: &Tenancy,
    slug: &Slug,
    node: &str,
    output: Output,
) -> Result<(), Error> {
    let shows = !output.json && io::stderr().is_terminal();
    let bar = shows.then(|| show_progress(bytes_bar(None)));
    let on_progress = |progress: tenantry::MoveProgress| {
        if let Some(bar) = &bar {
            bar.set_message(format!("of {}", HumanBytes(progress.total)));
            bar.set_position(progress.copied);
        }
    };
    let moved = tenancy.move_tenant(slug, node, on_progress).await;
    drop(bar);
    let moved = moved?;
    if output.json {
        return Ok(print_json(&moved)?);
    }
    match moved.moved {
        true => writeln!(io::stdout(), "moved {slug} from {} to {}", moved.from, moved.node)?,
        false => writeln!(io::stdout(), "{slug} is on {} already", moved.node)?,
    }
    Ok(())
}
