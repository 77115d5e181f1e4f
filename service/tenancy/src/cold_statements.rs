/// How a statement is sent that a connection does not keep prepared
/// ([`Config::statement_cache`](super::Config::statement_cache)), such as those of a tenant that is
/// rarely used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColdStatements {
    /// With its values as typed literals in the SQL, in one round trip, if that is exact; otherwise
    /// as [`Prepared`](Self::Prepared). It is exact for booleans, integers, floating-point numbers,
    /// texts, UUIDs, JSON, dates and times, up to 8 KiB for each value, and for byte strings of up to
    /// 4,095 bytes as parameters; and for statements that only read, or whose rows are ignored: not
    /// for `INSERT … RETURNING`. The first execution of a statement by a process is prepared, and its
    /// types are remembered for all tenants.
    ///
    /// **The values can appear in the log of the server**, where those of prepared statements appear
    /// as parameters, if at all: with `log_statement` and `log_min_duration_statement`, and by
    /// default if the statement fails (`log_min_error_statement`); and in `pg_stat_activity`. They
    /// do not appear in the log of this process: where the driver logs statements, which it does
    /// unless `sqlx_logging` of SeaORM's options is off, all are prepared.
    ///
    /// A statement that reads is **executed a second time**, prepared, if a value of its rows has no
    /// exact text, such as `infinity`. Only its SQL is examined: a view that calls a function that
    /// writes may write twice. `current_query()` in such a function or a trigger shows the literals.
    /// An expression of literals only, such as `1 / $1`, is computed at planning, also with
    /// [`ForceGeneric`](super::PlanCacheMode::ForceGeneric): it can fail where it is not reached.
    ///
    /// Rows have the text format then, which makes a difference only for code that takes
    /// [`try_as_pg_row`](sea_orm::QueryResult::try_as_pg_row) and reads raw bytes.
    Literal,
    /// Prepared for one execution, which takes two round trips.
    #[default]
    Prepared,
    /// With literals without a first execution that proves the statement to be one. For tests of
    /// this crate, whose statements are rarely executed twice.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    LiteralAtOnce,
}
