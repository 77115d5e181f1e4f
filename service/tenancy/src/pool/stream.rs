//! Rows as they come, on a connection that is held for as long as they are read.

use std::{future::ready, ops::DerefMut};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use sea_orm::{DbErr, QueryResult, Statement};
use tokio::sync::mpsc;

use super::{super::statement::Effect, checkout::Lease};

/// The rows of a statement. Reading and handing out take turns in the caller's task, so that the
/// stream can own the connection that the rows are borrowed from.
pub(super) fn of<'a>(
    mut lease: impl DerefMut<Target = Lease> + Send + 'a,
    statement: Statement,
    effect: Effect,
) -> BoxStream<'a, Result<QueryResult, DbErr>> {
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = async move {
        let result = read(&mut lease, statement, effect, &sender).await;
        let result = lease.settle(result);
        // The connection is back before the end is told.
        drop(lease);
        if let Err(error) = result {
            // Nobody listens any more: nobody is to be told.
            let _ = sender.send(Err(error)).await;
        }
    };
    let rows = stream::poll_fn(move |context| receiver.poll_recv(context));
    let nothing = stream::once(reading).filter_map(|()| ready(None));
    stream::select(rows, nothing).boxed()
}

async fn read(
    lease: &mut Lease,
    statement: Statement,
    effect: Effect,
    sender: &mpsc::Sender<Result<QueryResult, DbErr>>,
) -> Result<(), DbErr> {
    let mut rows = lease.begin(effect)?.stream(statement);
    while let Some(row) = rows.next().await {
        // The receiver is in the same stream.
        let _ = sender.send(Ok(row?)).await;
    }
    Ok(())
}
