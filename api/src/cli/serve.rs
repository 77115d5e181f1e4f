use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use migration::postgres::Role;
use service::{
    page::PageRequest,
    tenancy::{NewTenant, Tenancy},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tracing::{info, warn};

use super::{
    args::{ServeArgs, TenancyArgs},
    boot::boot,
    error::Error,
    welcome::Welcome,
};
use crate::{AdminToken, State, router};

/// How long requests that are under way may take once the server has been told to stop.
const GRACE: Duration = Duration::from_secs(25);

/// Serves until it is told to stop, then finishes the requests that are under way.
pub(super) async fn serve(tenancy: &TenancyArgs, args: ServeArgs) -> Result<(), Error> {
    // Both before anything is started: a bad token, and a taken port, the most common mistake.
    let given = args.admin_token.map(AdminToken::new).transpose()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|source| Error::Listen { address: args.listen, source })?;
    let address = listener.local_addr()?;
    let booted = boot(tenancy, Role::Own).await?;
    let own = booted.located.server.is_some();
    let made = match given {
        None if own => Some(kept_token(&tenancy.database.data_dir)?),
        _ => None,
    };
    if own {
        first_tenant(&booted.tenancy).await?;
    }
    let token = match &made {
        Some(made) => Some(AdminToken::new(made)?),
        None => given,
    };
    // Before anybody is told that the server is there, and may stop it.
    let (stopping, stopped) = oneshot::channel();
    let stop = stop_signal(stopping)?;
    Welcome {
        address,
        base_domain: &tenancy.base_domain,
        token: made.as_deref(),
        located: &booted.located,
    }
    .print()?;
    if token.is_none() {
        warn!("the routes under /admin refuse: set TENANTRY_ADMIN_TOKEN to open them");
    }
    let app = router(State::new(booted.tenancy.clone(), token));
    let server = axum::serve(listener, app).with_graceful_shutdown(stop).into_future();
    tokio::pin!(server);
    tokio::select! {
        result = &mut server => result?,
        _ = stopped => {
            if timeout(GRACE, &mut server).await.is_err() {
                warn!("requests still under way after {} s were given up", GRACE.as_secs());
            }
        }
    }
    // A pool whose connections are open would keep the machine's own server waiting.
    let _ = timeout(Duration::from_secs(5), booted.tenancy.close()).await;
    info!("stopped");
    Ok(())
}

/// Ends with the first SIGINT or SIGTERM, and tells `stopping`.
fn stop_signal(stopping: oneshot::Sender<()>) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping: finishing the requests that are under way");
        // The receiver is gone only when the server has ended already.
        let _ = stopping.send(());
    })
}

/// Something to look at where nothing is yet.
async fn first_tenant(tenancy: &Tenancy) -> Result<(), Error> {
    let page = tenancy.list(PageRequest { limit: 1, ..PageRequest::default() }).await?;
    if page.items.is_empty() {
        let slug = "tenant-1".parse().map_err(service::tenancy::Error::from)?;
        tenancy.create(NewTenant::new(slug)).await?;
    }
    Ok(())
}

/// The operator's token of a data folder: made once, readable by its owner alone.
fn kept_token(data_dir: &Path) -> Result<String, Error> {
    let path = data_dir.join("admin-token");
    let failed = |source| Error::File { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(token) => return Ok(token.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    fs::create_dir_all(data_dir).map_err(failed)?;
    // 244 random bits: two UUIDs of version 4, from the system's source of randomness.
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    writeln!(file, "{token}").map_err(failed)?;
    Ok(token)
}
