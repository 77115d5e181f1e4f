//! `/admin/keys`.

use axum::{
    extract::State,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, LOCATION},
    },
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry::{
    ApiKeyInfo, KeyOwner, NewApiKey, Scopes, Slug,
    page::{Page, PageRequest},
};
use validator::ValidationErrors;

use crate::{
    api_error::ApiError,
    auth::Admin,
    body::Json,
    extract::{Path, Query},
    tenant_input::Errors,
};

/// A key to be created.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeyInput {
    name: Option<String>,
    tenant: Option<String>,
    #[serde(default)]
    operator: bool,
    #[serde(default)]
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
}

/// Whose keys are listed.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyQuery {
    tenant: Option<String>,
    #[serde(default)]
    operator: bool,
}

impl tenantry::Input for NewKeyInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl NewKeyInput {
    /// Validates all fields.
    fn parse(&self) -> Result<NewApiKey, ValidationErrors> {
        let mut errors = Errors::default();
        let name = match &self.name {
            Some(name) => errors.parse("name", "name", name),
            None => {
                errors.add("name", "required", "is required".to_owned());
                None
            }
        };
        let tenant: Option<Slug> =
            self.tenant.as_ref().and_then(|slug| errors.parse("tenant", "slug", slug));
        if self.tenant.is_some() == self.operator {
            let message = "give either the slug of a tenant, or `\"operator\": true`";
            errors.add("tenant", "owner", message.to_owned());
        }
        let scopes: Scopes =
            errors.parse_all("scopes", "scope", &self.scopes).into_iter().collect();
        match name {
            Some(name) if errors.0.is_empty() => {
                Ok(NewApiKey { name, tenant, scopes, expires_at: self.expires_at })
            }
            _ => Err(errors.0),
        }
    }
}

pub(crate) async fn create(
    admin: Admin,
    State(state): State<crate::AppState>,
    Json(input): Json<NewKeyInput>,
) -> Result<impl IntoResponse, ApiError> {
    let created = admin.acting_on(state.tenancy()).key_create(input.parse()?).await?;
    let location = format!("/admin/keys/{}", created.info.id);
    let location = HeaderValue::try_from(location).map_err(|_| crate::Problem::internal())?;
    let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, Json(created)))
}

pub(crate) async fn list(
    _: Admin,
    State(state): State<crate::AppState>,
    Query(page): Query<PageRequest>,
    Query(query): Query<KeyQuery>,
) -> Result<Json<Page<ApiKeyInfo>>, ApiError> {
    let owner = match query {
        KeyQuery { tenant: Some(slug), operator: false } => KeyOwner::Tenant(slug.parse()?),
        KeyQuery { tenant: None, operator: true } => KeyOwner::Operator,
        KeyQuery { tenant: None, operator: false } => KeyOwner::Any,
        _ => {
            let detail = "the parameters tenant and operator exclude each other; give one";
            return Err(crate::Problem::malformed(detail).into());
        }
    };
    Ok(Json(state.tenancy().key_list(&owner, page).await?))
}

/// By id or prefix.
pub(crate) async fn show(
    _: Admin,
    State(state): State<crate::AppState>,
    Path(key): Path<String>,
) -> Result<Json<ApiKeyInfo>, ApiError> {
    Ok(Json(state.tenancy().key_get(&key).await?))
}

/// By id or prefix.
pub(crate) async fn revoke(
    admin: Admin,
    State(state): State<crate::AppState>,
    Path(key): Path<String>,
) -> Result<StatusCode, ApiError> {
    admin.acting_on(state.tenancy()).key_revoke(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}
