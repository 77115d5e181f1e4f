//! An application with a clap parser and a state of its own, which embeds the commands.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use axum::{
    Router,
    extract::{FromRef, State},
    routing::get,
};
use clap::{CommandFactory, Parser, Subcommand};
use library::Migrator;
use tenantry::Tenancy;
use tenantry_axum::{
    AppState, HostTenant,
    cli::{App, Command, GlobalArgs},
};

/// A shop.
#[derive(Parser)]
#[command(name = "shop", bin_name = "shop")]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ShopCommand,
}

#[derive(Subcommand)]
enum ShopCommand {
    /// Say hello.
    Hello,
    #[command(flatten)]
    Tenancy(Command),
}

#[derive(Clone)]
struct ShopState {
    tenancy: Tenancy,
    greeting: &'static str,
}

impl FromRef<ShopState> for Tenancy {
    fn from_ref(state: &ShopState) -> Self {
        state.tenancy.clone()
    }
}

async fn greet(State(state): State<ShopState>, HostTenant(tenant): HostTenant) -> String {
    format!("{} {}", state.greeting, tenant.slug())
}

async fn routes(state: AppState) -> Result<Router, io::Error> {
    let state = ShopState { tenancy: state.tenancy().clone(), greeting: "Welcome to" };
    Ok(Router::new().route("/greeting", get(greet)).with_state(state))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match command {
        ShopCommand::Hello => match writeln!(io::stdout(), "hello") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        ShopCommand::Tenancy(command) => {
            let app = App::new(Migrator).name("shop").routes_with(routes);
            let app = app.embedded_in(Cli::command());
            app.run(command, &global).await
        }
    }
}
