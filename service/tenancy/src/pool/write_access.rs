/// Whether a server accepts writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum WriteAccess {
    Allowed,
    /// `default_transaction_read_only` is on.
    ReadOnly,
    Standby,
}

impl WriteAccess {
    pub(in super::super) fn of(standby: bool, read_only: bool) -> Self {
        match (standby, read_only) {
            (true, _) => Self::Standby,
            (false, true) => Self::ReadOnly,
            (false, false) => Self::Allowed,
        }
    }
}
