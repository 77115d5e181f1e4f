use std::{io, time::Duration};

use local_postgres::{Access, Server};
use tenantry::{NewTenant, Slug, Tenancy, page::PageRequest};
use tenantry_migrate::connect::given;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{interval, timeout},
};
use tracing::{info, warn};

use super::{
    App,
    admin_token::{StoredToken, load_or_create},
    args::ServeArgs,
    banner::{Banner, LocalServerInfo, TenantAccess, Token},
    connect::user,
    error::Error,
    files::max_client_connections,
    options::GlobalArgs,
};
use crate::{AdminToken, AppState, Jwt, ServerLimits, app};

/// Serves until a signal, then finishes the requests in progress.
pub(super) async fn serve(
    args: ServeArgs,
    global: &GlobalArgs,
    mut application: App,
) -> Result<(), Error> {
    let tenancy = &args.tenancy;
    // Before a server is started: an invalid token, or a port in use, the most common mistake.
    let (text, file) = (args.admin_token.as_ref(), args.admin_token_file.as_deref());
    let given = given(text, file, "TENANTRY_ADMIN_TOKEN")?;
    let given = given.map(|secret| AdminToken::new(secret.expose())).transpose()?;
    let mut limits = ServerLimits::default();
    // One for LISTEN/NOTIFY.
    limits.max_connections =
        max_client_connections(limits.max_connections, tenancy.max_connections.saturating_add(1))?;
    let listener = args.listen.bind().await?;
    let address = listener.local_addr()?;
    let is_loopback = address.ip().to_canonical().is_loopback();
    if args.anonymous == Some(true) && !is_loopback {
        return Err(Error::AnonymousOn { address });
    }
    let authenticate = application.authenticate.take();
    let has_own_users = authenticate.is_some();
    let jwt = args.jwt.config();
    if args.anonymous == Some(true) {
        match (has_own_users, &jwt) {
            (true, _) => return Err(Error::AnonymousWith { other: "the application's users" }),
            (_, Some(_)) => return Err(Error::AnonymousWith { other: "a token (--jwt-jwks)" }),
            (false, None) => {}
        }
    }
    let (name, examples) = (application.name.clone(), application.examples.clone());
    let (routes, mut connector) = application.into_parts(global);
    connector.config.reveal_unavailable |= args.reveal_unavailable;
    connector.serves = true;
    // Of what the server does by itself; requests name their callers.
    let mut connected = connector.connect(tenancy, Access::Exclusive, user()).await?;
    let jwt = match jwt {
        Some(config) => Some(Jwt::connect(connected.tenancy.clone(), config).await?),
        None => None,
    };
    let anonymous = args.anonymous.unwrap_or_else(|| {
        connected.located.server.is_some() && is_loopback && !has_own_users && jwt.is_none()
    });
    let (mut local, mut stored) = (None, None);
    if let Some(server) = &connected.located.server {
        if given.is_none() {
            stored = Some(load_or_create(&global.database.data_dir)?);
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
    let has_token = token.is_some();
    let state = AppState::new(connected.tenancy.clone(), token);
    let mut state = state
        .max_requests(args.max_requests as usize)
        .max_body(args.max_body as usize)
        .allow_hosts(args.allowed_hosts);
    if let Some(seconds) = args.hsts {
        state = state.hsts(Duration::from_secs(seconds.into()));
    }
    if let Some(authenticate) = authenticate {
        state = authenticate(state);
    }
    if let Some(jwt) = jwt {
        state = state.also_authenticate(jwt);
    }
    if anonymous {
        state = state.anonymous();
    }
    if let Some(name) = args.client_address_header {
        state = state.client_address_header(name);
    }
    let app = app(state.clone(), routes(state).await?);
    // Before the banner: from then on a user may stop the server.
    let stop = stop_signal()?;
    let base_domain = connected.tenancy.base_domain();
    let access = match anonymous {
        true => TenantAccess::Anonymous,
        false if has_own_users => TenantAccess::OwnUsers,
        false => TenantAccess::Keys,
    };
    Banner { name: &name, address, base_domain, access, local, examples: &examples }.print()?;
    // The role of the local server is a superuser by design.
    if connected.located.server.is_none() {
        let role = connected.tenancy.serving_role();
        for right in role.excess_rights() {
            warn!(role = role.name, "{right} (`{name} setup`)");
        }
    }
    if !has_token {
        info!(
            "the admin API takes keys of operators only (`{name} key create --operator`); set \
             TENANTRY_ADMIN_TOKEN for a token"
        );
    }
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
