use std::future::ready;

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use sea_orm::{
    DbBackend, DbErr, FromQueryResult, QueryTrait, Statement, StatementBuilder, StreamTrait,
    sea_query::SelectStatement,
};
use tenantry_registry::{Slug, TenantId};
use tokio::sync::mpsc;

use super::{Error, Tenancy, Tenant, all_tenants::is_inactive};
use crate::DbErrorKind;

/// A row of one tenant, see [`Tenancy::query_all`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow<M> {
    /// The id of the tenant.
    pub id: TenantId,
    /// The slug of the tenant.
    pub slug: Slug,
    /// The row.
    pub row: M,
}

type Sender<M> = mpsc::Sender<Result<TenantRow<M>, Error>>;

impl Tenancy {
    /// Sends a query to every [active tenant](Self::tenants), to at most `concurrency` of them at
    /// the same time and to no more than one tenant may have connections, and streams the rows as
    /// they arrive. Rows of different tenants are mixed; those of one tenant keep their order.
    ///
    /// `M` is the type of a row: the entity's model, a partial model, or any other type that
    /// implements [`FromQueryResult`].
    ///
    /// A tenant that fails is one item, an [`Error::OfTenant`], after which no row of it follows;
    /// the other tenants are not affected. Any other error is one of the registry, after which no
    /// further tenant is queried. Few rows are kept in memory: while the caller does not read, the
    /// tenants' statements wait, and keep their connections. Each of them has to end within
    /// [`Config::statement_timeout`](super::Config::statement_timeout).
    ///
    /// ```no_run
    /// # mod guard {
    /// #     use sea_orm::entity::prelude::*;
    /// #     #[sea_orm::model]
    /// #     #[derive(Clone, Debug, DeriveEntityModel)]
    /// #     #[sea_orm(schema_name = "@tenant", table_name = "guards")]
    /// #     pub struct Model {
    /// #         #[sea_orm(primary_key)]
    /// #         pub id: i32,
    /// #     }
    /// #     impl ActiveModelBehavior for ActiveModel {}
    /// # }
    /// # async fn example(tenancy: tenantry::Tenancy) {
    /// use futures_util::StreamExt;
    /// use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QuerySelect};
    ///
    /// #[derive(FromQueryResult)]
    /// struct Guards {
    ///     count: i64,
    /// }
    ///
    /// let select = guard::Entity::find().select_only().column_as(guard::Column::Id.count(), "count");
    /// let mut counts = tenancy.query_all::<Guards>(select, 4);
    /// while let Some(count) = counts.next().await {
    ///     match count {
    ///         Ok(tenant) => println!("{}: {}", tenant.slug, tenant.row.count),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn query_all<M>(
        &self,
        select: impl QueryTrait<QueryStatement = SelectStatement>,
        concurrency: usize,
    ) -> BoxStream<'static, Result<TenantRow<M>, Error>>
    where
        M: FromQueryResult + Send + 'static,
    {
        let statement = StatementBuilder::build(&select.into_query(), &DbBackend::Postgres);
        let concurrency = self.background_concurrency(concurrency);
        let (sender, mut receiver) = mpsc::channel(concurrency);
        let querying = self.tenants().for_each_concurrent(concurrency, move |tenant| {
            let (statement, sender) = (statement.clone(), sender.clone());
            async move {
                let ended = match tenant {
                    Ok(tenant) => send_rows(&tenant, &statement, &sender).await,
                    Err(Error::Unavailable(it)) => Err(of_tenant(&it.slug.clone(), it.into())),
                    Err(error) => Err(error),
                };
                if let Err(error) = ended {
                    // Fails only if the stream is being dropped.
                    let _ = sender.send(Err(error)).await;
                }
            }
        });
        let rows = stream::poll_fn(move |context| receiver.poll_recv(context));
        let nothing = stream::once(querying).filter_map(|()| ready(None));
        stream::select(rows, nothing).boxed()
    }
}

/// Sends the rows of one tenant.
async fn send_rows<M: FromQueryResult>(
    tenant: &Tenant,
    statement: &Statement,
    sender: &Sender<M>,
) -> Result<(), Error> {
    let mut sent = 0_u64;
    let mut result = send_rows_once(tenant, statement, sender, &mut sent).await;
    if let Err(error) = &result
        && DbErrorKind::of(error) == DbErrorKind::StaleStatement
        && sent == 0
    {
        result = send_rows_once(tenant, statement, sender, &mut sent).await;
    }
    match result.map_err(Error::from) {
        // It is no longer among the active tenants, and none of its rows was sent.
        Err(error) if sent == 0 && is_inactive(&error) => Ok(()),
        other => other.map_err(|error| of_tenant(tenant.slug(), error)),
    }
}

async fn send_rows_once<M: FromQueryResult>(
    tenant: &Tenant,
    statement: &Statement,
    sender: &Sender<M>,
    sent: &mut u64,
) -> Result<(), DbErr> {
    let mut rows = tenant.stream_raw(statement.clone()).await?;
    while let Some(row) = rows.next().await {
        let row = M::from_query_result(&row?, "")?;
        let row = TenantRow { id: tenant.id(), slug: tenant.slug().clone(), row };
        *sent += 1;
        if sender.send(Ok(row)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn of_tenant(slug: &Slug, error: Error) -> Error {
    Error::OfTenant { slug: slug.clone(), source: Box::new(error) }
}
