use super::{
    Error,
    text::{
        TRANSACTION_ENDED, control_reason, message, outside_reason, placeholder_hint, rights,
        unqualified_names, waited,
    },
};

impl Error {
    /// The cause, without [`migration`](Self::migration), [`sqlstate`](Self::sqlstate) and the
    /// tenant's name.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::TransactionControl { statement, .. } => control_reason(statement),
            Self::TransactionEnded { .. } => TRANSACTION_ENDED.to_owned(),
            Self::CreatedOutside { objects, rolled_back, .. } => {
                outside_reason(objects, *rolled_back)
            }
            Self::UnqualifiedNames { function, names, callers, .. } => {
                unqualified_names(function, names, callers)
            }
            Self::Panicked { message, .. } => format!("panicked: {message}"),
            Self::Privilege { error, role, owners } => {
                format!("{}. {}", error.reason(), rights(role, owners.as_deref()))
            }
            Self::Waited { error, holders } => format!("{}. {}", error.reason(), waited(holders)),
            Self::Migration { source, .. } => message(source) + placeholder_hint(source),
            _ => self.database().map_or_else(|| self.to_string(), message),
        }
    }
}
