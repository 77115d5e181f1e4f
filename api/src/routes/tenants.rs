//! `/admin/tenants`: the tenants, for the operator.

use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use serde::Deserialize;
use service::{
    Slug,
    page::{Page, PageRequest},
    tenancy::{NewTenant, TenantRecord},
};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use crate::{
    body::Json,
    extract::{Path, Query},
    operator::Operator,
    problem::{Failure, Problem},
};

/// A tenant as the operator asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    slug: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
}

pub(super) async fn list(
    _: Operator,
    State(state): State<crate::State>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<TenantRecord>>, Failure> {
    Ok(Json(state.tenancy.list(page).await?))
}

pub(super) async fn create(
    _: Operator,
    State(state): State<crate::State>,
    Json(input): Json<Input>,
) -> Result<impl IntoResponse, Failure> {
    let tenant = state.tenancy.create(input.parse().map_err(service::Error::from)?).await?;
    let location = format!("/admin/tenants/{}", tenant.slug);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(tenant)))
}

pub(super) async fn show(
    _: Operator,
    State(state): State<crate::State>,
    Path(slug): Path<String>,
) -> Result<Json<TenantRecord>, Failure> {
    let tenant = state.tenancy.get(&existing(&slug)?).await?;
    Ok(Json(tenant.ok_or_else(|| Problem::unknown_tenant(slug))?))
}

pub(super) async fn drop(
    _: Operator,
    State(state): State<crate::State>,
    Path(slug): Path<String>,
) -> Result<StatusCode, Failure> {
    state.tenancy.drop(&existing(&slug)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A text in a path that is no slug names no tenant.
fn existing(slug: &str) -> Result<Slug, Problem> {
    slug.parse().map_err(|_| Problem::unknown_tenant(format!("{slug:?}")))
}

impl service::Input for Input {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl Input {
    /// All fields are looked at before any is refused.
    fn parse(&self) -> Result<NewTenant, ValidationErrors> {
        let mut errors = ValidationErrors::new();
        let mut refuse = |field: String, code: &'static str, message: String| {
            let error = ValidationError::new(code).with_message(message.into());
            errors.0.insert(field.into(), ValidationErrorsKind::Field(vec![error]));
        };
        let slug = match self.slug.as_deref().map(str::parse::<Slug>) {
            Some(Ok(slug)) => Some(slug),
            Some(Err(error)) => {
                refuse("slug".into(), "slug", error.to_string());
                None
            }
            None => {
                refuse("slug".into(), "required", "is required".into());
                None
            }
        };
        let mut domains = Vec::new();
        for (index, text) in self.domains.iter().enumerate() {
            match text.parse::<service::Hostname>() {
                Ok(hostname) => domains.push(hostname),
                Err(error) => refuse(format!("domains[{index}]"), "host_name", error.to_string()),
            }
        }
        match slug {
            Some(slug) if errors.is_empty() => Ok(NewTenant { slug, domains }),
            _ => Err(errors),
        }
    }
}
