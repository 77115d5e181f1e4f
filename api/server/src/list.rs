//! Answers to lists.

use std::{convert::Infallible, future::ready};

use axum::{
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{
        HeaderValue,
        header::{ACCEPT, CONTENT_TYPE, VARY},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tenantry::{
    explain,
    page::{Page, PageRequest},
};
use tracing::{Span, error};

use crate::body::Json;

/// Media type of NDJSON (<https://github.com/ndjson/ndjson-spec>).
const NDJSON: &str = "application/x-ndjson";

/// Query parameter `count`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CountQuery {
    /// Whether to count the rows on all pages.
    pub count: bool,
}

/// A page, with the number of rows on all pages if requested by [`CountQuery`].
#[derive(Debug, Serialize)]
pub struct ListResponse<T> {
    /// The page.
    #[serde(flatten)]
    pub page: Page<T>,
    /// Rows on all pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Format of a list, from the `Accept` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// One page as JSON.
    Page,
    /// All rows as NDJSON.
    Ndjson,
}

impl<S: Sync> FromRequestParts<S> for ListFormat {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let accepted = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = accepted.flat_map(|accepted| accepted.split(','));
        let ndjson = kinds.any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case(NDJSON)
        });
        Ok(if ndjson { Self::Ndjson } else { Self::Page })
    }
}

impl<T: Serialize> IntoResponse for ListResponse<T> {
    fn into_response(self) -> Response {
        ([(VARY, HeaderValue::from_static("accept"))], Json(self)).into_response()
    }
}

/// Answers with all rows as NDJSON.
///
/// Pages are fetched as the client reads, so that a slow client occupies neither memory nor a
/// connection to the database. Rows that are inserted or deleted meanwhile may be included or not.
/// If a later page fails, the answer is aborted, which the client notices as its end is missing.
///
/// # Errors
/// The error of `fetch` for the first page.
pub async fn ndjson<T, E, F>(
    request: PageRequest,
    fetch: impl Fn(PageRequest) -> F + Clone + Send + 'static,
) -> Result<Response, E>
where
    T: Serialize + Send,
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<Page<T>, E>> + Send + 'static,
{
    let limit = PageRequest::MAX_LIMIT;
    let first = fetch(PageRequest { limit, ..request }).await?;
    let later = stream::try_unfold(first.next, move |after| {
        let fetch = fetch.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = fetch(PageRequest { limit, after: Some(after) }).await?;
            Ok::<_, E>(Some((text(&page), page.next)))
        }
    });
    let span = Span::current();
    let pages = stream::once(ready(Ok(text(&first)))).chain(later).inspect_err(move |error| {
        error!(parent: &span, cause = %explain(error), "a list was aborted");
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(NDJSON)),
        (VARY, HeaderValue::from_static("accept")),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

fn text<T: Serialize>(page: &Page<T>) -> Bytes {
    let mut text = Vec::with_capacity(page.items.len() * 256);
    for row in &page.items {
        // Cannot fail: rows are objects with string keys, and the writer is a vector.
        if serde_json::to_writer(&mut text, row).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}
