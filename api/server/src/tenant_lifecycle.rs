//! Changes of a tenant's status and slug, below `/admin/tenants/{slug}`.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_LOCATION},
    response::IntoResponse,
    routing::post,
};
use serde::Deserialize;
use tenantry::{Input, Reason, RenameOptions, Slug, TenantInfo};
use validator::{Validate, ValidationErrors};

use crate::{
    AppState, api_error::ApiError, auth::Admin, body::Json, extract::Path, tenant_input::Errors,
    tenants::parse_slug,
};

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/admin/tenants/{slug}/suspend", post(suspend))
        .route("/admin/tenants/{slug}/resume", post(resume))
        .route("/admin/tenants/{slug}/archive", post(archive))
        .route("/admin/tenants/{slug}/restore", post(restore))
        .route("/admin/tenants/{slug}/purge", post(purge))
        .route("/admin/tenants/{slug}/read-only", post(set_read_only))
        .route("/admin/tenants/{slug}/rename", post(rename))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuspendInput {
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchiveInput {
    grace_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeInput {
    /// Also before the end of the grace.
    #[serde(default)]
    force: bool,
    /// Also drop the objects outside the schema that depend on it.
    #[serde(default)]
    cascade: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameInput {
    slug: Option<String>,
    #[serde(default)]
    alias: bool,
    reserve_seconds: Option<u64>,
}

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct ReadOnlyInput {
    #[validate(required(code = "required", message = "is required"))]
    read_only: Option<bool>,
}

/// The body of an action that needs none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoInput {}

async fn suspend(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    input: Option<Json<SuspendInput>>,
) -> Result<Json<TenantInfo>, ApiError> {
    let reason = input.map(|Json(input)| input.parse()).transpose()?.flatten();
    Ok(Json(admin.acting_on(&state.tenancy).suspend(&parse_slug(&slug)?, reason).await?))
}

async fn resume(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    _: Option<Json<NoInput>>,
) -> Result<Json<TenantInfo>, ApiError> {
    Ok(Json(admin.acting_on(&state.tenancy).resume(&parse_slug(&slug)?).await?))
}

async fn archive(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    input: Option<Json<ArchiveInput>>,
) -> Result<Json<TenantInfo>, ApiError> {
    let seconds = input.and_then(|Json(input)| input.grace_seconds);
    let grace = seconds.map(Duration::from_secs);
    Ok(Json(admin.acting_on(&state.tenancy).archive(&parse_slug(&slug)?, grace).await?))
}

async fn restore(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    _: Option<Json<NoInput>>,
) -> Result<Json<TenantInfo>, ApiError> {
    Ok(Json(admin.acting_on(&state.tenancy).restore(&parse_slug(&slug)?).await?))
}

async fn purge(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    input: Option<Json<PurgeInput>>,
) -> Result<StatusCode, ApiError> {
    let slug = parse_slug(&slug)?;
    let PurgeInput { force, cascade } = input.map(|Json(input)| input).unwrap_or_default();
    match cascade {
        true => admin.acting_on(&state.tenancy).purge_cascade(&slug, force).await?,
        false => admin.acting_on(&state.tenancy).purge(&slug, force).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn set_read_only(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    Json(input): Json<ReadOnlyInput>,
) -> Result<Json<TenantInfo>, ApiError> {
    let read_only = input.read_only.unwrap_or_default();
    let tenancy = admin.acting_on(&state.tenancy);
    Ok(Json(tenancy.set_read_only(&parse_slug(&slug)?, read_only).await?))
}

async fn rename(
    admin: Admin,
    State(state): State<AppState>,
    Path(slug): Path<String>,
    Json(input): Json<RenameInput>,
) -> Result<impl IntoResponse, ApiError> {
    let (new, options) = input.parse()?;
    let tenant = admin.acting_on(&state.tenancy).rename(&parse_slug(&slug)?, &new, options).await?;
    let location = format!("/admin/tenants/{}", tenant.slug);
    Ok(([(CONTENT_LOCATION, location)], Json(tenant)))
}

impl SuspendInput {
    fn parse(&self) -> Result<Option<Reason>, ValidationErrors> {
        let mut errors = Errors::default();
        let reason =
            self.reason.as_ref().and_then(|reason| errors.parse("reason", "reason", reason));
        if errors.0.is_empty() { Ok(reason) } else { Err(errors.0) }
    }
}

impl RenameInput {
    fn parse(&self) -> Result<(Slug, RenameOptions), ValidationErrors> {
        let mut errors = Errors::default();
        let slug = errors.slug(self.slug.as_deref());
        let mut options = RenameOptions::default();
        options.alias = self.alias;
        if let Some(seconds) = self.reserve_seconds {
            options.reserve_for = Duration::from_secs(seconds);
        }
        slug.map(|slug| (slug, options)).ok_or(errors.0)
    }
}

impl Input for SuspendInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl Input for RenameInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl Input for ReadOnlyInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.validate()
    }
}

impl Input for ArchiveInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        Ok(())
    }
}

impl Input for PurgeInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        Ok(())
    }
}

impl Input for NoInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        Ok(())
    }
}
