//! Uses of the session that outlive a transaction, which a pooler in transaction mode does not allow.

use super::Misuse;

/// A statement's use of the session beyond its transaction, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionUse {
    /// `SET`, `RESET`, `DISCARD`.
    Setting,
    /// `LISTEN`, `UNLISTEN`.
    Listen,
    /// `PREPARE`, `EXECUTE`, `DEALLOCATE`.
    Prepared,
    /// Temporary tables, views and sequences.
    Temporary,
    /// Session-level advisory locks.
    Lock,
    /// `DECLARE … WITH HOLD`.
    Cursor,
    /// `LOAD`.
    Library,
}

impl SessionUse {
    /// The refusal through a pooler.
    pub(crate) fn refusal(self) -> Misuse {
        let (what, instead) = match self {
            Self::Setting => (
                "a setting of the session",
                "use SET LOCAL in a transaction, or set it for the role with ALTER ROLE",
            ),
            Self::Listen => ("LISTEN", "listen on a connection past the pooler"),
            Self::Prepared => {
                ("a statement prepared by SQL", "send the statement itself, which is prepared")
            }
            Self::Temporary => ("a temporary object", "use a WITH query, or a table of the tenant"),
            Self::Lock => (
                "a session-level advisory lock",
                "use pg_advisory_xact_lock or pg_try_advisory_xact_lock in a transaction",
            ),
            Self::Cursor => {
                ("a cursor WITH HOLD", "read the cursor in its transaction, or use a stream")
            }
            Self::Library => ("a loaded library", "load it with session_preload_libraries"),
        };
        Misuse::NeedsSession { what, instead }
    }
}

/// The refusal of a statement outside a transaction that may change the session.
pub(crate) fn outside_transaction() -> Misuse {
    Misuse::NeedsSession {
        what: "what a function or procedure of this statement may do to the session",
        instead: "call it in a transaction, at whose end the session is reset",
    }
}
