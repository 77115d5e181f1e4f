use std::{io, time::Duration};

use local_postgres::{Access, Server};
use tenantry::{NewTenant, Slug, Tenancy, page::PageRequest};
use tenantry_migrate::{TenantMigrator, connect::given};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{interval, timeout},
};
use tracing::{info, warn};

use super::{
    App,
    admin_token::{StoredToken, load_or_create},
    args::{ServeArgs, TenancyArgs},
    banner::{Banner, LocalServerInfo, Token},
    connect::connect_tenancy,
    error::Error,
    files::max_client_connections,
};
use crate::{AdminToken, AppState, ServerLimits, app};

/// Serves until a signal, then finishes the requests in progress.
pub(super) async fn serve<M: TenantMigrator + Clone + 'static>(
    tenancy: &TenancyArgs,
    args: ServeArgs,
    application: App<M>,
) -> Result<(), Error> {
    // Before a server is started: an invalid token, or a port in use, the most common mistake.
    let (text, file) = (args.admin_token.as_ref(), args.admin_token_file.as_deref());
    let given = given(text, file, "TENANTRY_ADMIN_TOKEN")?;
    let given = given.map(|secret| AdminToken::new(secret.expose())).transpose()?;
    let mut limits = ServerLimits::default();
    // One for LISTEN/NOTIFY.
    limits.max_connections =
        max_client_connections(limits.max_connections, tenancy.max_connections.saturating_add(1))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|source| Error::Listen { address: args.listen, source })?;
    let address = listener.local_addr()?;
    let mut connected = connect_tenancy(
        tenancy,
        Access::Exclusive,
        "admin token".to_owned(),
        &application.migrator,
    )
    .await?;
    let (mut local, mut stored) = (None, None);
    if let Some(server) = &connected.located.server {
        if given.is_none() {
            stored = Some(load_or_create(&tenancy.database.data_dir)?);
        }
        local = Some(LocalServerInfo {
            data_dir: server.data_dir(),
            version: server.version(),
            inaccessible_dir: connected.located.inaccessible_dir.as_deref(),
            tenant: first_tenant(&connected.tenancy).await?,
            token: match (&stored, file) {
                (Some(StoredToken { token, is_new: true, .. }), _) => Token::New(token),
                (Some(StoredToken { file, .. }), _) => Token::In(file),
                (None, Some(file)) if text.is_none() => Token::In(file),
                (None, _) => Token::Given,
            },
        });
    }
    let token = stored.as_ref().map(|stored| AdminToken::new(&stored.token)).transpose()?.or(given);
    // Before the banner: from then on a user may stop the server.
    let stop = stop_signal()?;
    Banner { address, base_domain: &tenancy.base_domain, local, examples: &application.examples }
        .print()?;
    if token.is_none() {
        warn!("admin API disabled; set TENANTRY_ADMIN_TOKEN to enable it");
    }
    let state = AppState::new(connected.tenancy.clone(), token);
    let app = app(state.max_requests(args.max_requests as usize), application.routes);
    tokio::select! {
        () = crate::serve(listener, app, limits, stop) => {}
        error = wait_for_exit(connected.located.server.as_mut()) => return Err(error),
    }
    // A local server waits for open connections.
    let _ = timeout(Duration::from_secs(5), connected.tenancy.close()).await;
    info!("stopped");
    Ok(())
}

/// Completes at the first SIGINT or SIGTERM. The second one exits the process with status 128 +
/// signal number; the supervisor of a local PostgreSQL server then stops it.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let [mut interrupt, mut terminate] = [signal(kinds[0])?, signal(kinds[1])?];
    let (stopping, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => kinds[0],
                _ = terminate.recv() => kinds[1],
            }
        };
        next().await;
        info!("stopping: finishing the requests in progress; a second signal aborts them");
        // Fails only if the server has ended already.
        let _ = stopping.send(());
        let second = next().await;
        warn!("aborted by a second signal");
        std::process::exit(128 + second.as_raw_value());
    });
    Ok(async { drop(stopped.await) })
}

/// Waits until the local PostgreSQL server exits. Never completes if there is none.
async fn wait_for_exit(server: Option<&mut Server>) -> Error {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    let mut checks = interval(Duration::from_secs(1));
    while !server.has_ended() {
        checks.tick().await;
    }
    Error::ServerEnded { log: server.log_file() }
}

/// A tenant for the examples: `tenant-1`, else the oldest. Creates `tenant-1` if there is none.
async fn first_tenant(tenancy: &Tenancy) -> Result<Slug, Error> {
    let slug: Slug = "tenant-1".parse().map_err(tenantry::Error::from)?;
    if tenancy.get(&slug).await?.is_some() {
        return Ok(slug);
    }
    let page = tenancy.list(PageRequest { limit: 1, ..PageRequest::default() }).await?;
    match page.items.into_iter().next() {
        Some(oldest) => Ok(oldest.slug),
        None => Ok(tenancy.create(NewTenant::new(slug)).await?.slug),
    }
}
