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

/// What a session reports when it is opened.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct SessionState {
    pub(in super::super) writes: WriteAccess,
    /// See [`EXACT_TEXT`].
    pub(in super::super) has_exact_text: bool,
    /// Whether the role may ask the server process for its memory.
    pub(in super::super) may_ask_memory: bool,
}

/// Whether values have texts from which the driver reads them exactly. It asks for these settings
/// when it connects, which a pooler may ignore.
pub(in super::super) const EXACT_TEXT: &str = "\
    current_setting('client_encoding') = 'UTF8' AND current_setting('TimeZone') = 'UTC' \
    AND current_setting('DateStyle') LIKE 'ISO,%' \
    AND current_setting('extra_float_digits')::int > 0";
