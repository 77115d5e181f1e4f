//! Errors as text for a log.

use sea_orm::DbErr;

/// An error and everything it comes from, in one line; an error of the database is described as
/// the commands describe it.
#[must_use]
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let database = cause.downcast_ref::<DbErr>();
        let more = database.map_or_else(|| cause.to_string(), tenantry_migrate::describe);
        // Many errors repeat their source in their own text.
        if !text.contains(&more) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&more);
        }
        if database.is_some() {
            break;
        }
    }
    text
}
