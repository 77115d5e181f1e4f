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
use crate::{
    AdminToken, AppState, app,
    server::{Limits, accept},
};

/// Serves until it is told to stop, then finishes the requests that are under way.
pub(super) async fn serve<M: TenantMigrator + Clone + 'static>(
    tenancy: &TenancyArgs,
    args: ServeArgs,
    application: App<M>,
) -> Result<(), Error> {
    // All before anything is started: a bad token, and a taken port, the most common mistake.
    let (text, file) = (args.admin_token.as_ref(), args.admin_token_file.as_deref());
    let given = given(text, file, "TENANTRY_ADMIN_TOKEN")?;
    let given = given.map(|secret| AdminToken::new(secret.expose())).transpose()?;
    let mut limits = Limits::default();
    // One for announcements.
    limits.connections =
        max_client_connections(limits.connections, tenancy.max_connections.saturating_add(1))?;
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
    let (mut own, mut kept) = (None, None);
    if let Some(server) = &connected.located.server {
        if given.is_none() {
            kept = Some(load_or_create(&tenancy.database.data_dir)?);
        }
        own = Some(LocalServerInfo {
            data_dir: server.data_dir(),
            version: server.version(),
            inaccessible_dir: connected.located.inaccessible_dir.as_deref(),
            tenant: first_tenant(&connected.tenancy).await?,
            token: match (&kept, file) {
                (Some(StoredToken { token, is_new: true, .. }), _) => Token::New(token),
                (Some(StoredToken { file, .. }), _) => Token::In(file),
                (None, Some(file)) if text.is_none() => Token::In(file),
                (None, _) => Token::Given,
            },
        });
    }
    let token = kept.as_ref().map(|kept| AdminToken::new(&kept.token)).transpose()?.or(given);
    // Before anybody is told that the server is there, and may stop it.
    let stop = stop_signal()?;
    Banner { address, base_domain: &tenancy.base_domain, own, examples: &application.examples }
        .print()?;
    if token.is_none() {
        warn!("the routes under /admin refuse: set TENANTRY_ADMIN_TOKEN to open them");
    }
    let state = AppState::new(connected.tenancy.clone(), token);
    let app = app(state.max_requests(args.max_requests as usize), application.routes);
    tokio::select! {
        () = accept(listener, app, limits, stop) => {}
        error = wait_for_exit(connected.located.server.as_mut()) => return Err(error),
    }
    // A pool whose connections are open would keep the machine's own server waiting.
    let _ = timeout(Duration::from_secs(5), connected.tenancy.close()).await;
    info!("stopped");
    Ok(())
}

/// Ends with the first SIGINT or SIGTERM. The second one ends the program there and then, with
/// the status that a shell gives to who died of it; the machine's own PostgreSQL is stopped all
/// the same, by its watcher.
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
        info!("stopping: finishing the requests that are under way; a second signal gives them up");
        // The receiver is gone only when the server has ended already.
        let _ = stopping.send(());
        let second = next().await;
        warn!("told to stop a second time: ended at once");
        std::process::exit(128 + second.as_raw_value());
    });
    Ok(async { drop(stopped.await) })
}

/// Waits until the machine's own PostgreSQL has ended by itself: for ever where there is none.
async fn wait_for_exit(server: Option<&mut Server>) -> Error {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    let mut looks = interval(Duration::from_secs(1));
    while !server.has_ended() {
        looks.tick().await;
    }
    Error::ServerEnded { log: server.log_file() }
}

/// A tenant to look at: `tenant-1` if it is there, else the oldest. Where there is none yet,
/// `tenant-1` is made.
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
