//! Rows as they arrive, on a connection that is held while they are read.

use std::{future::ready, ops::DerefMut};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use sea_orm::{DbErr, QueryResult};
use tokio::sync::mpsc;

use super::{
    super::statement::{Effect, QualifiedStatement},
    checkout::Checkout,
};

/// The rows of a statement. Reading them and yielding them alternate in the caller's task, so that
/// the stream can own the connection from which the rows are borrowed.
pub(super) fn row_stream<'a>(
    mut checkout: impl DerefMut<Target = Checkout> + Send + 'a,
    statement: QualifiedStatement,
    effect: Effect,
) -> BoxStream<'a, Result<QueryResult, DbErr>> {
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = async move {
        let result = read(&mut checkout, statement, effect, &sender).await;
        let result = checkout.finish(result);
        // The connection is released before the end of the stream is reported.
        drop(checkout);
        if let Err(error) = result {
            // Fails only if the stream is being dropped.
            let _ = sender.send(Err(error)).await;
        }
    };
    let rows = stream::poll_fn(move |context| receiver.poll_recv(context));
    let nothing = stream::once(reading).filter_map(|()| ready(None));
    stream::select(rows, nothing).boxed()
}

async fn read(
    checkout: &mut Checkout,
    statement: QualifiedStatement,
    effect: Effect,
    sender: &mpsc::Sender<Result<QueryResult, DbErr>>,
) -> Result<(), DbErr> {
    let mut rows = checkout.start(effect)?.stream(statement.statement);
    while let Some(row) = rows.next().await {
        // The receiver is part of the same stream.
        let _ = sender.send(Ok(row?)).await;
    }
    Ok(())
}
