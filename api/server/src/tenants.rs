//! `/admin/tenants`.

use std::str::FromStr;

use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use serde::Deserialize;
use tenantry::{
    DisplayName, NameError, NewTenant, Slug, TenantInfo,
    page::{Page, PageRequest},
};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use crate::{
    admin::Admin,
    body::Json,
    extract::{Path, Query},
    problem::{ApiError, Problem, field_errors},
};

/// A tenant to be created.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    slug: Option<String>,
    name: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DropQuery {
    /// Also drop the objects outside the schema that depend on it.
    #[serde(default)]
    cascade: bool,
}

pub(crate) async fn list(
    _: Admin,
    State(state): State<crate::AppState>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<TenantInfo>>, ApiError> {
    Ok(Json(state.tenancy.list(page).await?))
}

pub(crate) async fn create(
    _: Admin,
    State(state): State<crate::AppState>,
    Json(input): Json<Input>,
) -> Result<impl IntoResponse, ApiError> {
    let tenant = state
        .tenancy
        .create(input.parse().map_err(|errors| Problem::invalid(field_errors(&errors)))?)
        .await?;
    let location = format!("/admin/tenants/{}", tenant.slug);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(tenant)))
}

pub(crate) async fn show(
    _: Admin,
    State(state): State<crate::AppState>,
    Path(slug): Path<String>,
) -> Result<Json<TenantInfo>, ApiError> {
    let tenant = state.tenancy.get(&parse_slug(&slug)?).await?;
    Ok(Json(tenant.ok_or_else(|| Problem::unknown_tenant(slug))?))
}

pub(crate) async fn drop(
    _: Admin,
    State(state): State<crate::AppState>,
    Path(slug): Path<String>,
    Query(how): Query<DropQuery>,
) -> Result<StatusCode, ApiError> {
    let slug = parse_slug(&slug)?;
    match how.cascade {
        true => state.tenancy.drop_cascade(&slug).await?,
        false => state.tenancy.drop(&slug).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A path segment that is not a valid slug names no tenant.
fn parse_slug(slug: &str) -> Result<Slug, Problem> {
    slug.parse().map_err(|_| Problem::unknown_tenant(format!("{slug:?}")))
}

impl tenantry::Input for Input {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl Input {
    /// Validates all fields.
    fn parse(&self) -> Result<NewTenant, ValidationErrors> {
        let mut errors = ValidationErrors::new();
        let mut reject = |field: String, code: &'static str, message: String| {
            let error = ValidationError::new(code).with_message(message.into());
            errors.0.insert(field.into(), ValidationErrorsKind::Field(vec![error]));
        };
        let slug = match self.slug.as_deref().map(str::parse::<Slug>) {
            Some(Ok(slug)) => Some(slug),
            Some(Err(error)) => {
                reject("slug".into(), "slug", error.to_string());
                None
            }
            None => {
                reject("slug".into(), "required", "is required".into());
                None
            }
        };
        let name = self.name.as_deref().map(str::parse::<DisplayName>).transpose();
        let name = name.unwrap_or_else(|error| {
            reject("name".into(), "name", error.to_string());
            None
        });
        let domains = parse_all(&self.domains, |index, error| {
            reject(format!("domains[{index}]"), "host_name", error);
        });
        let tags = parse_all(&self.tags, |index, error| {
            reject(format!("tags[{index}]"), "tag", error);
        });
        if self.tags.len() > NewTenant::MAX_TAGS {
            let error = tenantry::Error::TooManyTags(self.tags.len());
            reject("tags".into(), "length", error.to_string());
        }
        match slug {
            Some(slug) if errors.is_empty() => {
                Ok(NewTenant { name, domains, tags, ..NewTenant::new(slug) })
            }
            _ => Err(errors),
        }
    }
}

/// Parses all values and calls `reject` with the index of each invalid one.
fn parse_all<T: FromStr<Err = NameError>>(
    texts: &[String],
    mut reject: impl FnMut(usize, String),
) -> Vec<T> {
    let mut parsed = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<T>() {
            Ok(value) => parsed.push(value),
            Err(error) => reject(index, error.to_string()),
        }
    }
    parsed
}
