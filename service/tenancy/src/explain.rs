use sea_orm::DbErr;

/// An error and its sources in one line, for a log. Database errors are described as the commands
/// describe them.
#[must_use]
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let database = cause.downcast_ref::<DbErr>();
        let more = database.map_or_else(|| cause.to_string(), tenantry_migrate::describe);
        // Many errors repeat their source in their own message.
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
