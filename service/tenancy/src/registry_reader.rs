//! The connection that reads tenants from the registry, independent of the pool.

use std::{collections::HashMap, time::Duration};

use sea_orm::{
    ColumnTrait, Condition, ConnAcquireErr, DbBackend, DbErr, EntityTrait, FromQueryResult,
    Iterable, JoinType, QueryFilter, QueryResult, QuerySelect, QueryTrait, RelationTrait,
    RuntimeErr, Statement, Values,
    sqlx::{
        self, AssertSqlSafe, PgConnection,
        postgres::{PgDatabaseError, PgSeverity},
    },
};
use sea_query_sqlx::SqlxValues;
use tenantry_migrate::connect::{Opening, SessionOptions};
use tenantry_registry::{Hostname, Slug, alias, domain, tenant};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use tenantry_registry::notify::CHANNEL;

use super::{
    api_keys::{Prefix, StoredKey, find_all},
    registry_view::{Request, TenantKey},
};

/// Maximum number of tenants in one query.
const MAX_BATCH: usize = 1000;

/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer may take before the connection is closed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Shorter than [`ANSWER_TIMEOUT`], so that a query that waits for a lock does not cost the
/// connection.
const SETTINGS: &str = "SET statement_timeout = 1500";

/// Answers requests until all senders are gone.
pub(super) async fn run(mut requests: mpsc::UnboundedReceiver<Request>, options: SessionOptions) {
    let mut reader = Reader { options, connection: None };
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, MAX_BATCH).await > 0 {
        reader.answer(std::mem::take(&mut batch)).await;
    }
}

/// Name of the column with the earlier slug.
const ALIAS: &str = "alias";

struct Reader {
    options: SessionOptions,
    connection: Option<PgConnection>,
}

/// A request for an API key.
type WaitingForKey = (Prefix, oneshot::Sender<Result<Option<StoredKey>, DbErr>>);

/// The rows that were found, and the error of one that could not be read.
#[derive(Default)]
struct Found {
    rows: HashMap<TenantKey, tenant::Model>,
    unreadable: Option<DbErr>,
}

impl Reader {
    async fn answer(&mut self, batch: Vec<Request>) {
        let (mut keys, mut waiting) = (Vec::new(), Vec::new());
        let (mut prefixes, mut waiting_for_keys) = (Vec::new(), Vec::new());
        for request in batch {
            match request {
                Request::Tenant(key, answer) if !answer.is_closed() => {
                    keys.push(key.clone());
                    waiting.push((key, answer));
                }
                Request::Key(prefix, answer) if !answer.is_closed() => {
                    prefixes.push(prefix.clone());
                    waiting_for_keys.push((prefix, answer));
                }
                Request::Tenant(..) | Request::Key(..) => {}
                Request::Reopen => self.connection = None,
                Request::Heartbeat(payload, sent) => match self.notify(&payload).await {
                    // The listener may be gone.
                    Ok(_) => drop(sent.send(())),
                    Err(error) => {
                        debug!(%error, "the heartbeat was not sent; reconnecting");
                        // The server may be a standby, which sends no notifications.
                        self.connection = None;
                    }
                },
            }
        }
        if !prefixes.is_empty() {
            self.answer_keys(&prefixes, waiting_for_keys).await;
        }
        if waiting.is_empty() {
            return;
        }
        let found = self.find(&keys).await;
        for (key, answer) in waiting {
            let row = match &found {
                Ok(Found { rows, unreadable }) => match (rows.get(&key), unreadable) {
                    (Some(row), _) => Ok(Some(row.clone())),
                    (None, Some(error)) => Err(error.clone()),
                    (None, None) => Ok(None),
                },
                Err(error) => Err(error.clone()),
            };
            // The caller may be gone.
            let _ = answer.send(row);
        }
    }

    async fn answer_keys(&mut self, prefixes: &[Prefix], waiting: Vec<WaitingForKey>) {
        let found = self.find_keys(prefixes).await;
        for (prefix, answer) in waiting {
            let key = match &found {
                Ok(found) => found.get(prefix.as_str()).cloned().transpose(),
                Err(error) => Err(error.clone()),
            };
            // The caller may be gone.
            let _ = answer.send(key);
        }
    }

    /// The keys that were found, each with its own error if it cannot be read.
    async fn find_keys(
        &mut self,
        prefixes: &[Prefix],
    ) -> Result<HashMap<String, Result<StoredKey, DbErr>>, DbErr> {
        let rows = self.query(&find_all(prefixes)).await?;
        let key = |row: &QueryResult| {
            Ok((row.try_get("", "prefix")?, StoredKey::from_query_result(row, "")))
        };
        rows.iter().map(key).collect()
    }

    async fn notify(&mut self, payload: &str) -> Result<Vec<QueryResult>, DbErr> {
        let notify = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_notify($1, $2) /* heartbeat */",
            [CHANNEL.into(), payload.into()],
        );
        self.query(&notify).await
    }

    async fn find(&mut self, keys: &[TenantKey]) -> Result<Found, DbErr> {
        let (mut ids, mut slugs, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match key {
                TenantKey::Id(id) => ids.push(*id),
                TenantKey::Slug(slug) => slugs.push(slug.clone()),
                TenantKey::Host(host) => hosts.push(host.clone()),
            }
        }
        let mut found = Found::default();
        if !ids.is_empty() || !slugs.is_empty() {
            let wanted = Condition::any()
                .add(tenant::Column::Id.eq_any(ids))
                .add(tenant::Column::Slug.eq_any(slugs.clone()));
            let select = tenant::Entity::find().filter(wanted);
            for row in self.query(&select.build(DbBackend::Postgres)).await? {
                found.add(&row, |row| {
                    // Another tenant may have the slug of a dropped one.
                    let is_living = row.status != tenant::Status::Dropped;
                    let slug = row.slug.clone().filter(|_| is_living).map(TenantKey::Slug);
                    slug.into_iter().chain([TenantKey::Id(row.id)]).collect()
                });
            }
        }
        slugs.retain(|slug| !found.rows.contains_key(&TenantKey::Slug(slug.clone())));
        if !slugs.is_empty() {
            let select = alias::Entity::find()
                .select_only()
                .column_as(alias::Column::Slug, ALIAS)
                .columns(tenant::Column::iter())
                .join(JoinType::InnerJoin, alias::Relation::Tenant.def())
                .filter(alias::Column::Slug.eq_any(slugs))
                .filter(alias::Column::Redirects.eq(true))
                .filter(alias::Column::ExpiresAt.gt(tenantry_registry::now()))
                .filter(tenant::Column::Status.ne(tenant::Status::Dropped));
            for row in self.query(&select.build(DbBackend::Postgres)).await? {
                let slug: Option<Slug> = row.try_get("", ALIAS).ok();
                found.add(&row, |_| slug.map(TenantKey::Slug).into_iter().collect());
            }
        }
        if !hosts.is_empty() {
            let select = domain::Entity::find()
                .select_only()
                .column(domain::Column::Hostname)
                .columns(tenant::Column::iter())
                .join(JoinType::InnerJoin, domain::Relation::Tenant.def())
                .filter(domain::Column::Hostname.eq_any(hosts));
            for row in self.query(&select.build(DbBackend::Postgres)).await? {
                let host: Option<Hostname> = row.try_get("", "hostname").ok();
                found.add(&row, |_| host.map(TenantKey::Host).into_iter().collect());
            }
        }
        Ok(found)
    }

    /// Sends a statement. If the connection is broken, it is replaced and the statement is sent
    /// again: all statements of the reader can be repeated.
    async fn query(&mut self, statement: &Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Some(connection) = self.connection.take() {
            match self.query_on(connection, statement).await {
                Err(error) if self.connection.is_none() => {
                    debug!(%error, "the connection to the registry is lost; reconnecting");
                }
                other => return other,
            }
        }
        let connection = open(&self.options).await?;
        self.query_on(connection, statement).await
    }

    /// Keeps the connection if it can be used for another statement.
    async fn query_on(
        &mut self,
        mut connection: PgConnection,
        statement: &Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let values = SqlxValues(statement.values.clone().unwrap_or(Values(Vec::new())));
        let query = sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), values);
        let Ok(result) = timeout(ANSWER_TIMEOUT, query.fetch_all(&mut connection)).await else {
            return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        };
        if result.as_ref().err().is_none_or(is_answer) {
            self.connection = Some(connection);
        }
        let rows = result.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

impl Found {
    fn add(&mut self, row: &QueryResult, keys: impl FnOnce(&tenant::Model) -> Vec<TenantKey>) {
        match tenant::Model::from_query_result(row, "") {
            Ok(row) => {
                for key in keys(&row) {
                    self.rows.insert(key, row.clone());
                }
            }
            Err(error) => self.unreadable = Some(error),
        }
    }
}

async fn open(options: &SessionOptions) -> Result<PgConnection, DbErr> {
    let opening = Opening::within(CONNECT_TIMEOUT);
    let (mut connection, _) = options.open(&opening).await?;
    opening
        .first(sqlx::raw_sql(SETTINGS).execute(&mut connection))
        .await
        .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
    Ok(connection)
}

/// Whether the connection can be used for another statement after an error.
fn is_answer(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.is_some_and(|error| !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}
