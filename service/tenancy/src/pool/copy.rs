//! `COPY` in a transaction.

use std::time::Duration;

use futures_util::StreamExt;
use sea_orm::DbErr;

use super::{
    super::statement::Effect,
    Transaction,
    execute::exec_error,
    session::Session,
    slot::PooledConnection,
    timeouts::{COPY_STEP, STALLED, within},
};

/// Receives the data of `COPY … TO STDOUT`.
pub trait CopySink: Send {
    /// Error of the sink.
    type Error: From<DbErr> + Send;

    /// Takes the next part, which is one row or some of them.
    fn receive(&mut self, data: &[u8]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Supplies the data of `COPY … FROM STDIN`.
pub trait CopySource: Send {
    /// Error of the source.
    type Error: From<DbErr> + Send;

    /// The next part; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<&[u8]>, Self::Error>> + Send;
}

impl Transaction {
    /// Sends `COPY … TO STDOUT` and passes the data on as it arrives. If the sink fails, the
    /// transaction cannot be used any more.
    pub(in super::super) async fn copy_out<S: CopySink>(
        &self,
        sql: &str,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let mut checkout = self.checkout().await?;
        let copied = checkout.start(Effect::Replace)?.copy_out(sql, sink).await?;
        Ok(checkout.finish(copied)?)
    }

    /// Sends `COPY … FROM STDIN` and the data. Returns the number of rows. If the source fails, the
    /// transaction cannot be used any more.
    pub(in super::super) async fn copy_in<S: CopySource>(
        &self,
        sql: &str,
        source: &mut S,
    ) -> Result<u64, S::Error> {
        let mut checkout = self.checkout().await?;
        let copied = checkout.start(Effect::Replace)?.copy_in(sql, source).await?;
        Ok(checkout.finish(copied)?)
    }
}

impl PooledConnection {
    /// The outer error is that of the sink.
    async fn copy_out<S: CopySink>(
        &mut self,
        sql: &str,
        sink: &mut S,
    ) -> Result<Result<(), DbErr>, S::Error> {
        let connection = match &mut self.session {
            Session::Postgres(connection) => connection,
            #[cfg(feature = "testing")]
            Session::Mock(_) => return Ok(Err(no_server())),
        };
        let step = Some(COPY_STEP);
        let mut data = match within(step, connection.copy_out_raw(sql)).await {
            Ok(data) => data,
            Err(error) => return Ok(Err(exec_error(error))),
        };
        loop {
            match within(step, async { data.next().await.transpose() }).await {
                Ok(Some(part)) => sink.receive(&part).await?,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(exec_error(error))),
            }
        }
    }

    /// The outer error is that of the source.
    async fn copy_in<S: CopySource>(
        &mut self,
        sql: &str,
        source: &mut S,
    ) -> Result<Result<u64, DbErr>, S::Error> {
        let answer: Option<Duration> = self.answer_timeout;
        let connection = match &mut self.session {
            Session::Postgres(connection) => connection,
            #[cfg(feature = "testing")]
            Session::Mock(_) => return Ok(Err(no_server())),
        };
        let mut copy = match within(Some(COPY_STEP), connection.copy_in_raw(sql)).await {
            Ok(copy) => copy,
            Err(error) => return Ok(Err(exec_error(error))),
        };
        while let Some(part) = source.next().await? {
            // The server reads on after an error, which the end reports.
            if let Err(error) =
                within(Some(STALLED), async { copy.send(part).await.map(drop) }).await
            {
                return Ok(Err(exec_error(error)));
            }
        }
        // The server checks the constraints of all rows now.
        Ok(within(answer, copy.finish()).await.map_err(exec_error))
    }
}

#[cfg(feature = "testing")]
fn no_server() -> DbErr {
    DbErr::Custom("COPY needs a server".to_owned())
}
