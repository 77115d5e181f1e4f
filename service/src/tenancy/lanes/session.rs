use sea_orm::{ConnectionTrait, DbErr, StreamTrait, TransactionOptions};

use super::Transaction;

/// What the statements of a tenant can be sent on.
pub trait Session: ConnectionTrait + StreamTrait {
    /// Whether a statement may be sent once more that the server has done nothing for. Not where
    /// that has ended a transaction.
    const RESENDS: bool;

    /// Begins a transaction, or a savepoint in one.
    fn start(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<Transaction, DbErr>> + Send;
}
