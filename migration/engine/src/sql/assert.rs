/// SQLSTATE of a failed [`assert_sql`]. No SQLSTATE of PostgreSQL begins with `T`.
pub(crate) const ASSERTION_FAILED: &str = "TN001";

/// A statement that fails with [`ASSERTION_FAILED`] unless `condition` is true.
pub(crate) fn assert_sql(condition: &str, message: &str) -> String {
    let mut quote = "$tenantry$".to_owned();
    while condition.contains(&quote) {
        quote.insert(1, '_');
    }
    format!(
        "DO {quote} BEGIN IF ({condition}) IS NOT TRUE THEN
    RAISE EXCEPTION 'tenantry: {message}' USING ERRCODE = '{ASSERTION_FAILED}'; END IF; END {quote};\n"
    )
}

/// A query that fails with this message, in a cast to integer, unless `condition` is true. For
/// connections that are closed after a `DO` statement because its effects are unknown.
pub(crate) fn assert_query(condition: &str, message: &str) -> String {
    // Not a constant, which would be cast when the query is planned. The function needs no table and
    // no setting: a query of a tenant's table may be executed on another node.
    let message = format!("concat('tenantry: {message}')");
    format!("SELECT CASE WHEN {condition} THEN 1 ELSE ({message})::int END;\n")
}

#[cfg(test)]
mod tests {
    use super::assert_sql;

    #[test]
    fn quote_does_not_occur_in_condition() {
        assert!(assert_sql("a = '$tenantry$'", "b").starts_with("DO $_tenantry$ BEGIN IF (a"));
    }
}
