//! Copies of tenants: `/admin/tenants/{slug}/clone`, `…/export` and `/admin/imports`.
//!
//! They last as long as the data take: the deadline of requests and the limit of bodies do not
//! apply. Each wait for the client, the database or a connection has a bound of its own.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tenantry::{CloneOptions, Exported, ImportOptions, Scope, Slug};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
};
use tracing::warn;
use validator::ValidationErrors;

use crate::{
    AppState,
    api_error::ApiError,
    auth::Admin,
    body::Json,
    extract::{Path, Query},
    nodes::MOVE,
    problem::Problem,
    tenant_input::required_slug,
    tenants::parse_slug,
};

pub(crate) const CLONE: &str = "/admin/tenants/{slug}/clone";
pub(crate) const EXPORT: &str = "/admin/tenants/{slug}/export";

pub(crate) const IMPORT: &str = "/admin/imports";

/// For the answer to a clone, a move or an import.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes between the client and the database.
const BUFFER: usize = 256 * 1024;

/// The deadline of a request that copies a tenant; `None` for other requests.
pub(crate) fn deadline(request: &Request) -> Option<Duration> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    let copies = route == CLONE || route == MOVE || is_import(request);
    copies.then_some(DEADLINE)
}

/// Whether the body is an archive of any length.
pub(crate) fn is_import(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    route.is_some_and(|route| route.as_str() == IMPORT)
}

/// The tenant to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloneInput {
    slug: Option<String>,
    /// Without rows.
    #[serde(default)]
    structure_only: bool,
}

impl tenantry::Input for CloneInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        required_slug(self.slug.as_deref()).map(drop)
    }
}

pub(crate) async fn clone(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    Json(input): Json<CloneInput>,
) -> Result<impl IntoResponse, ApiError> {
    let new = required_slug(input.slug.as_deref())?;
    let options = CloneOptions { structure_only: input.structure_only, ..Default::default() };
    let tenancy = admin.acting_on(&state.tenancy);
    let cloned = tenancy.clone_tenant(&parse_slug(&slug)?, &new, &options).await;
    let cloned = cloned.map_err(|error| match Problem::of_clone(&error) {
        Some(problem) => problem.into(),
        None => ApiError::from(error),
    })?;
    let location = format!("/admin/tenants/{}", cloned.tenant.slug);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(cloned)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportQuery {
    /// Slug of the new tenant.
    #[serde(rename = "as")]
    slug: Option<String>,
    /// Whether it gets the domains of the exported one.
    #[serde(default)]
    domains: bool,
}

pub(crate) async fn import(
    admin: Admin,
    State(state): State<AppState>,
    Query(query): Query<ImportQuery>,
    body: Body,
) -> Result<Response, ApiError> {
    let slug = query.slug.as_deref().map(|slug| required_slug(Some(slug))).transpose()?;
    let options = ImportOptions { slug, domains: query.domains, ..Default::default() };
    let (mut writer, reader) = duplex(BUFFER);
    let receive = async move {
        let mut body = body.into_data_stream();
        // If the client or the import has gone, the archive ends early, and that is reported.
        while let Some(Ok(part)) = body.next().await {
            if writer.write_all(&part).await.is_err() {
                break;
            }
        }
        drop(writer);
        std::future::pending::<()>().await;
    };
    let tenancy = admin.acting_on(&state.tenancy);
    let imported = tokio::select! {
        biased;
        imported = tenancy.import(reader, &options) => imported?,
        () = receive => return Err(Problem::internal().into()),
    };
    let location = format!("/admin/tenants/{}", imported.tenant.slug);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(imported)).into_response())
}

pub(crate) async fn export(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
) -> Result<Response, ApiError> {
    // It reads nothing but a tenant's data, which is more than `read` allows an operator.
    admin.principal().confirm_scope(Scope::Admin)?;
    let slug = parse_slug(&slug)?;
    let (writer, reader) = duplex(BUFFER);
    let mut running = JoinSet::new();
    let (exported, tenancy) = (slug.clone(), admin.acting_on(&state.tenancy));
    running.spawn(async move { tenancy.export(&exported, writer, &Default::default()).await });
    let mut answer = Answer { slug: slug.clone(), reader, running };
    // An error before the first byte is answered with its status.
    let first = answer.next().await.map_err(Failure::into_error)?.unwrap_or_default();
    let rest = stream::try_unfold(answer, async |mut answer| match answer.next().await {
        Ok(part) => Ok(part.map(|part| (part, answer))),
        Err(failure) => {
            warn!(tenant = %answer.slug, error = %failure, "an export was interrupted");
            // The connection is closed without the end of the answer.
            Err(io::Error::other("the export was interrupted"))
        }
    });
    let parts = stream::once(async { Ok(first) }).chain(rest);
    let name = format!("attachment; filename=\"{slug}.tar\"");
    let headers = [(CONTENT_TYPE, "application/x-tar".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// An export and the bytes that it writes. Ends when it is dropped.
struct Answer {
    slug: Slug,
    reader: DuplexStream,
    running: JoinSet<Result<Exported, tenantry::Error>>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Tenancy(#[from] tenantry::Error),
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    fn into_error(self) -> ApiError {
        match self {
            Self::Tenancy(error) => error.into(),
            other => ApiError::with_cause(Problem::internal(), other),
        }
    }
}

impl Answer {
    /// The next bytes; `None` at the end of a complete export.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut part = Vec::with_capacity(BUFFER / 4);
        if self.reader.read_buf(&mut part).await? > 0 {
            return Ok(Some(part.into()));
        }
        match self.running.join_next().await {
            Some(done) => done?.map(|_| None).map_err(Into::into),
            None => Ok(None),
        }
    }
}
