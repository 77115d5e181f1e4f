//! Settings by which the server notices that a program is gone.

/// How long a transaction of a migration may wait for its next statement, unless the server has a
/// limit of its own: a program that is paused or unreachable must not lock tenants out. A migration
/// that computes for longer between two statements sets it for itself (`SET LOCAL
/// idle_in_transaction_session_timeout`).
pub(crate) const IDLE: &str = "10s";

/// An SQL expression that makes the server notice within a second that its client has closed the
/// connection, and within half a minute that the client is unreachable, and give up what it does
/// for it. Until the transaction ends, or for the session.
///
/// Nothing where the server does not run on Linux, as it may refuse these settings there
/// (PostgreSQL manual, `client_connection_check_interval`, `tcp_user_timeout`).
#[must_use]
pub fn notice_lost_client(local: bool) -> String {
    let settings = [
        ("client_connection_check_interval", "1s"),
        ("tcp_keepalives_idle", "15"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "30s"),
    ];
    let set = settings.map(|(name, value)| format!("set_config('{name}', '{value}', {local})"));
    format!("CASE WHEN version() LIKE '%linux%' THEN concat({}) END", set.join(", "))
}

/// An SQL expression that bounds how long the transaction may be idle.
pub(crate) fn bound_idle_time() -> String {
    let name = "idle_in_transaction_session_timeout";
    format!(
        "set_config('{name}', coalesce(nullif(current_setting('{name}'), '0'), '{IDLE}'), true)"
    )
}
