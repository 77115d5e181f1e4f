//! `/admin/audit`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de::Error};
use tenantry::{
    Action, AuditEntry, AuditFilter, Slug,
    page::{Page, PageRequest},
};
use uuid::Uuid;

use crate::{api_error::ApiError, auth::Admin, body::Json, extract::Query};

/// The entries to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    #[serde(default, deserialize_with = "parsed")]
    tenant: Option<Slug>,
    #[serde(default, deserialize_with = "parsed")]
    action: Option<Action>,
    since: Option<DateTime<Utc>>,
    #[serde(default)]
    newest_first: bool,
    after: Option<Uuid>,
    limit: Option<u64>,
}

fn parsed<'de, T, D>(field: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    String::deserialize(field)?.parse().map(Some).map_err(D::Error::custom)
}

pub(crate) async fn list(
    _: Admin,
    State(state): State<crate::AppState>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    let AuditQuery { tenant, action, since, newest_first, after, limit } = query;
    let filter = AuditFilter { tenant, action, since, newest_first };
    let limit = limit.unwrap_or(PageRequest::default().limit);
    Ok(Json(state.tenancy.audit(&filter, PageRequest { after, limit }).await?))
}
